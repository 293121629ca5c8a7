//! `annotations`: free text for hooks and the state, and what peers read in it. What rootlet does not follow of theirs is said.

use super::{Planner, Property, Scope};
use crate::error::{Error, Result};
use crate::plan::Phase;
use crate::spec::Spec;

/// The version is checked by whoever loads a config.
pub const PROPERTY: Property =
    Property { paths: &["ociVersion", "annotations"], phase: Phase::Host, scope: Scope::Create, plan };

/// runc's: a file of options for CRIU.
pub const CRIU_CONFIG: &str = "org.criu.config";
/// crun's, which podman writes for `--group-add keep-groups`: the caller's groups stay.
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
/// crun's: an agent's socket, where linux.seccomp has none.
pub const SECCOMP_RECEIVER: &str = "run.oci.seccomp.receiver";
/// crun's: a whole filter, as base64 of its instructions, in the place of linux.seccomp.
pub const SECCOMP_PROGRAM: &str = "run.oci.seccomp_bpf_data";
/// crun's: a socket for the pidfd of the first process.
pub const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
/// crun's: the name of the option for linux.mountLabel.
pub const MOUNT_CONTEXT: &str = "run.oci.mount_context_type";
/// crun's: the name of the cgroup with the container's limits, below its scope.
pub const SUBGROUP: &str = "run.oci.systemd.subgroup";
/// crun's: a cgroup below the container's, without limits, where the container's processes are.
pub const DELEGATED: &str = "run.oci.delegate-cgroup";
/// crun's: a file for what hooks write to their standard output.
pub const HOOKS_OUTPUT: &str = "run.oci.hooks.stdout";
/// crun's: a file for what hooks write to their standard error.
pub const HOOKS_ERROR: &str = "run.oci.hooks.stderr";

/// runc's: in front of a property of the scope.
pub const UNIT_PROPERTY: &str = "org.systemd.property.";

/// rootlet's own: root is faked ([`crate::fake_root`]).
pub const FAKE_ROOT: &str = "org.rootlet.fake-root";

/// rootlet's own: the program is not the first process of the pid namespace, but a child of one that reaps.
pub const INIT: &str = "org.rootlet.init";

/// rootlet's own: rules of Landlock, as JSON: `{"read": [PATH...], "write": [PATH...]}`.
pub const LANDLOCK: &str = "org.rootlet.landlock";

/// rootlet's own: files that the first process has a shared lock on (fcntl(2)) as long as it lives, divided by colons.
pub const LOCKS: &str = "org.rootlet.lock-files";

/// rootlet's own: `false` where /dev is to have nothing but what the config says.
pub const DEVICES: &str = "org.rootlet.default-devices";

/// rootlet's own: argument 0 of the program, where that is not its name.
pub const ARGUMENT_0: &str = "org.rootlet.argument-0";

/// rootlet's own: `private`, `pasta` or `slirp4netns` leads out of the container's network namespace.
pub const NETWORK: &str = "org.rootlet.network";
/// rootlet's own: ports of the host that lead into it, `[IP:]HOST:CONTAINER[/udp]`, divided by commas.
pub const PUBLISH: &str = "org.rootlet.publish";

/// All that are followed, and who reads them. `features` lists them: each changes what rootlet does.
pub const KNOWN: [(&str, &str); 19] = [
    (CRIU_CONFIG, "container/checkpoint/images.rs"),
    (ARGUMENT_0, "property/args.rs"),
    (DEVICES, "property/devices.rs"),
    (FAKE_ROOT, "property/fake_root.rs"),
    (INIT, "property/init.rs"),
    (LANDLOCK, "property/landlock.rs"),
    (LOCKS, "property/init.rs"),
    (NETWORK, "property/network.rs"),
    (PUBLISH, "property/network.rs"),
    (UNIT_PROPERTY, "property/cgroup.rs"),
    (DELEGATED, "property/delegation.rs"),
    (HOOKS_ERROR, "container/beside/hooks.rs"),
    (HOOKS_OUTPUT, "container/beside/hooks.rs"),
    (KEEP_GROUPS, "property/user.rs"),
    (MOUNT_CONTEXT, "property/selinux.rs"),
    (PIDFD_RECEIVER, "container/create.rs"),
    (SECCOMP_RECEIVER, "property/seccomp.rs"),
    (SECCOMP_PROGRAM, "property/seccomp.rs"),
    (SUBGROUP, "property/delegation.rs"),
];

/// In front of crun's own, and of what its plug-ins look for.
const FOREIGN: [&str; 3] = ["run.oci", "module.wasm", "krun"];

/// What an annotation says, if it says something.
pub fn find<'a>(spec: &'a Spec, name: &str) -> Option<&'a str> {
    spec.annotations.as_ref()?.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// Whether it tells a runtime to do something: what somebody else has written, such as an image's label, must not be one.
pub fn is_order(name: &str) -> bool {
    is_foreign(name) || KNOWN.iter().any(|(known, _)| name.starts_with(known))
}

fn is_foreign(name: &str) -> bool {
    FOREIGN.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')))
}

fn plan(planner: &mut Planner) -> Result<()> {
    for name in planner.spec.annotations.iter().flatten().map(|(name, _)| name) {
        if is_foreign(name) && !KNOWN.iter().any(|(known, _)| *known == name) {
            let warning = Error::in_config("annotations", format!("{name} is not followed"))
                .because("it asks for something that crun does, and rootlet does not")
                .remedy("take it out, if it is not needed");
            planner.plan.warnings.push(warning);
        }
    }
    Ok(())
}
