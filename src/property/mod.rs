//! One file per property of config.json, and the order in which they happen.
//!
//! To add a property: write `property/NAME.rs` with its `PROPERTY`, `plan` and tests, and add its row to [`ORDER`].

pub use crate::cgroup::placement::CgroupManager;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::plan::{Origin, Phase, Plan};
use crate::spec::{Resources, Spec};
use std::ffi::OsString;
use std::path::PathBuf;

pub mod annotations;
mod apparmor;
mod args;
mod audit;
mod capabilities;
mod cgroup;
pub mod check;
mod cwd;
mod delegation;
mod devices;
mod domainname;
mod exec_cpu_affinity;
mod fake_root;
pub mod features;
mod hooks;
mod hostname;
mod id_mappings;
mod init;
mod intel_rdt;
mod io_priority;
mod keyring;
mod landlock;
mod masked_paths;
mod memory_policy;
mod mounts;
mod namespaces;
mod net_devices;
mod network;
mod no_new_privileges;
mod notify_socket;
mod number_list;
mod oom_score_adj;
mod personality;
pub mod planner;
mod platforms;
mod propagation;
mod reach;
mod readonly_paths;
mod rlimits;
mod root;
mod scheduler;
mod seccomp;
mod selinux;
mod session;
mod states;
mod sysctl;
mod terminal;
mod time_offsets;
mod user;

pub use args::without_process;
pub use network::FILE as RESOLVER_FILE;
pub use notify_socket::VARIABLE as NOTIFY_VARIABLE;
pub use planner::Planner;

/// Whether a property belongs to the container or to each process in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The container's, when it is created.
    Create,
    /// A process's that is added by `exec`.
    Exec,
    /// Both.
    Both,
}

/// A property of config.json and how it becomes steps.
pub struct Property {
    /// Its paths in config.json. Errors name the first; whatever lies below one of them is this property's business.
    pub paths: &'static [&'static str],
    /// When its steps are run, unless it says otherwise.
    pub phase: Phase,
    /// Whether `exec` has the property, too.
    pub scope: Scope,
    /// Reads the config and writes steps.
    pub plan: fn(&mut Planner) -> Result<()>,
}

/// The container's biography. Phases never run backwards; within one, a row stands where it stands for the reason beside it.
/// Rows without one could stand elsewhere in their phase, as far as the reasons of others let them.
pub const ORDER: &[Property] = &[
    annotations::PROPERTY,
    platforms::PROPERTY,
    intel_rdt::PROPERTY,
    cgroup::RESOURCES,
    cgroup::PATH,
    // Looks at what was chosen for the cgroup.
    delegation::PROPERTY,
    // exec only: what follows writes to files of /proc, and the host's may be out of sight when the namespaces are entered.
    root::PROC,
    // Before the ids change: root of a user namespace may only raise it.
    oom_score_adj::PROPERTY,
    exec_cpu_affinity::PROPERTY,
    // A cgroup namespace begins at the cgroup that the process is in, and it is in its own by now.
    namespaces::PROPERTY,
    // Its file belongs to who makes the namespace, and a change of ids takes that away.
    time_offsets::PROPERTY,
    id_mappings::PROPERTY,
    // The kernel lets a process write its own maps only as long as it may be traced.
    id_mappings::TRACING,
    // A keyring belongs to the ids of who makes it: the container's.
    keyring::PROPERTY,
    // Before the first mount, or the host would get it.
    propagation::PROPERTY,
    // What mounts are mounted in.
    root::PROPERTY,
    // Mounts take it among their options.
    selinux::MOUNT_LABEL,
    mounts::PROPERTY,
    // A mount of the config's on /run would hide it.
    notify_socket::PROPERTY,
    // So would one on /etc/resolv.conf.
    network::RESOLVER,
    // Most are in a /dev that is mounted.
    devices::PROPERTY,
    namespaces::LOOPBACK,
    // Hooks find the network as it will be.
    network::CONNECT,
    // Comes from the container's devpts.
    terminal::PROPERTY,
    // config.md, POSIX-platform Hooks: when the namespaces are there, before pivot_root.
    hooks::RUNTIME,
    // Such a hook may make the device.
    net_devices::PROPERTY,
    // config.md: in the container's namespaces, before pivot_root.
    hooks::CREATE_CONTAINER,
    // From here on, no path of the host's is in sight.
    root::ENTER,
    // As long as the root can be written to.
    cwd::MAKE,
    root::READONLY,
    // When nodes, links and directories have been made in them.
    mounts::READONLY,
    hostname::PROPERTY,
    domainname::PROPERTY,
    // Of what is mounted, nothing is mounted over any more.
    states::PROPERTY,
    // As long as /proc/sys is neither read-only nor masked.
    sysctl::PROPERTY,
    readonly_paths::PROPERTY,
    masked_paths::PROPERTY,
    personality::PROPERTY,
    scheduler::PROPERTY,
    io_priority::PROPERTY,
    memory_policy::PROPERTY,
    // The process is in its cgroup, whose CPUs are meant.
    exec_cpu_affinity::LAST,
    // Standard streams are the container's before its user may look at them.
    session::PROPERTY,
    // Labels are written by paths that begin at /proc/self/fd, the current directory until `cwd::PROPERTY`.
    apparmor::PROPERTY,
    selinux::PROPERTY,
    no_new_privileges::PROPERTY,
    cwd::PROPERTY,
    // A small RLIMIT_NOFILE or RLIMIT_FSIZE would be in the way of what is above.
    rlimits::PROPERTY,
    // Needs the root, and the process is about to let go of it.
    args::HOME,
    // --- Here `init::child` closes all descriptors but the program's and one socket: nothing leads outside any more. ---
    // Without no_new_privs a filter needs CAP_SYS_ADMIN, which the user loses.
    // A filter that was installed before might forbid the next one.
    fake_root::EARLY,
    seccomp::EARLY,
    user::PROPERTY,
    // A change of ids takes capabilities away.
    capabilities::PROPERTY,
    // As the user, who may not be able to execute it; and in `create`, so that a missing program is its error.
    args::FIND,
    // Opens what it allows, in the root.
    landlock::PROPERTY,
    // What is above it asks about ids and files, too.
    fake_root::LATE,
    // --- Here it waits for `start`. ---
    // What stays needs system calls that a filter might forbid, and expects of signals what a program does not.
    init::PROPERTY,
    args::RESET,
    // The config's own filter may forbid to install another one, and what that forbids is not asked about.
    audit::PROPERTY,
    // With no_new_privs a filter needs no privilege, and comes as late as it can: it need not allow what is above.
    // The image's hooks are under it, as with the peers.
    seccomp::LATE,
    hooks::START_CONTAINER,
    // There is nothing after execve.
    args::PROPERTY,
];

/// What a row claims only to refuse it, or to say that it is ignored; and why.
pub const REFUSED: &[(&str, &str)] = &[
    ("linux.intelRdt", "rootlet does not drive resctrl"),
    ("process.commandLine", "for Windows"),
    ("process.user.username", "for Windows"),
    ("windows", "for another platform"),
    ("solaris", "for another platform"),
    ("zos", "for another platform"),
    ("freebsd", "for another platform"),
    ("vm", "for runtimes of virtual machines"),
];

/// The row of ORDER whose business a path is.
pub fn claim(path: &str) -> Option<&'static Property> {
    let is_below =
        |known: &&str| path.strip_prefix(*known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let claims = ORDER.iter().filter_map(|row| {
        Some((row.paths.iter().filter(|known| is_below(known)).map(|known| known.len()).max()?, row))
    });
    claims.max_by_key(|(length, _)| *length).map(|(_, row)| row)
}

impl Property {
    /// What errors call it.
    pub const fn path(&self) -> &'static str {
        match self.paths {
            [first, ..] => first,
            [] => "",
        }
    }
}

/// What the command line, or the library's caller, says besides the config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The container's name.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// The directory of the container's state, if it is to have one.
    pub state: Option<PathBuf>,
    /// `--seccomp-audit`: where the system calls that are used are written.
    pub audit: Option<PathBuf>,
    /// Whether who makes the container has it until it starts, and takes it along.
    pub is_held: bool,
    /// Where states of containers are kept.
    pub states: Vec<PathBuf>,
    /// Whether it is a sandbox, which has the host's own files: states are hidden whoever calls, nothing is said of it, and nothing is
    /// made for process.cwd.
    pub is_sandbox: bool,
    /// Whether a terminal is not standard error, which leads elsewhere.
    pub keeps_error: bool,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on the program inherits, as far as they are open, and not close-on-exec.
    pub preserved_descriptors: u32,
    /// The program and its arguments, in the place of process.args.
    pub arguments: Vec<OsString>,
    /// Additions to process.env, such as LISTEN_FDS.
    pub environment: Vec<OsString>,
    /// The directory with the socket of sd_notify(3), if the caller has one to pass its words on to.
    pub notify: Option<PathBuf>,
    /// `--systemd-cgroup` and `--cgroup-manager`.
    pub cgroup_manager: CgroupManager,
    /// `--strict`: every decision is an error, and so is whatever would be ignored.
    pub strict: bool,
    /// `--fuse`: programs of the host's that may serve file systems, by name or path.
    pub fuse: Vec<PathBuf>,
    /// `--limits try`: a limit that cannot be enforced is a decision and not an error.
    pub try_limits: bool,
}

/// Compiles a config for a host. Pure: the same three give the same plan.
pub fn compile(spec: &Spec, request: &Request, host: &Host) -> Result<Plan> {
    compile_for(None, spec, request, host)
}

/// Compiles `process` of a config for a container that runs in these namespaces (CLONE_NEW*).
pub fn compile_exec(namespaces: i32, spec: &Spec, request: &Request, host: &Host) -> Result<Plan> {
    compile_for(Some(namespaces), spec, request, host)
}

fn compile_for(entered: Option<i32>, spec: &Spec, request: &Request, host: &Host) -> Result<Plan> {
    let mut planner = Planner { entered, ..Planner::new(spec, request, host) };
    follow_order(&mut planner)?;
    // A property may have a step at another time than its own.
    if !planner.plan.entries.is_sorted_by_key(|entry| entry.phase) {
        planner.plan.entries.sort_by_key(|entry| entry.phase);
    }
    Ok(planner.plan)
}

/// Lets each row of ORDER write its steps.
fn follow_order(planner: &mut Planner) -> Result<()> {
    let other = if planner.entered.is_some() { Scope::Create } else { Scope::Exec };
    for property in ORDER.iter().filter(|property| property.scope != other) {
        planner.current = Origin { property: property.path(), index: None };
        planner.phase = property.phase;
        let planned = (property.plan)(planner);
        planner.note(planned)?;
    }
    Ok(())
}

/// Adds what was found while the config was read. Under `--strict`, what would be ignored is an error.
pub fn add_warnings(plan: &mut Plan, found: impl Iterator<Item = Error>, request: &Request) -> Result<()> {
    plan.warnings.extend(found);
    match plan.warnings.first().filter(|_| request.strict) {
        Some(warning) => Err(warning.clone().because("it cannot be followed to the letter, and --strict is given")),
        None => Ok(()),
    }
}

/// What mends a config without a process.
pub const ADD_PROCESS: &str = "add \"process\"; see `rootlet spec`";

/// All that is wrong with a config on a host, and what would be done as far as it is right.
pub fn check_all(spec: &Spec, request: &Request, host: &Host) -> (Vec<Error>, Plan) {
    let mut planner = Planner { problems: Some(Vec::new()), ..Planner::new(spec, request, host) };
    let unexpected = follow_order(&mut planner).err();
    let missing = planner.lacks_process().then(|| without_process().remedy(ADD_PROCESS));
    (planner.problems.into_iter().flatten().chain(unexpected).chain(missing).collect(), planner.plan)
}

/// Refuses wrong values of `linux.resources` that come from elsewhere than config.json.
pub fn check_resources(resources: &Resources) -> Result<()> {
    let (spec, request, host) = (Spec::default(), Request::default(), Host::default());
    cgroup::check(&mut Planner::new(&spec, &request, &host), resources)
}

#[cfg(test)]
mod tests;
