//! `annotations`, org.rootlet.network and org.rootlet.publish: a network namespace with a way out, and ports that lead in.

use super::mounts::options;
use super::{Planner, Property, Scope, annotations, reach};
use crate::error::{Error, Result};
use crate::network::{HELPERS, Helper, Port};
use crate::plan::step::trees::Bind;
use crate::plan::step::{MountStep, NamespaceStep};
use crate::plan::{Network, Phase};
use crate::sys::Errno;
use std::path::PathBuf;

/// When the mounts of the config are there, one of which may be the host's own file.
pub const RESOLVER: Property =
    Property { paths: &["annotations"], phase: Phase::Inside, scope: Scope::Create, plan: plan_resolver };
pub const CONNECT: Property =
    Property { paths: &["annotations"], phase: Phase::Inside, scope: Scope::Create, plan: plan_connect };

/// The container's resolv.conf, in the directory of its state.
pub const FILE: &str = "resolv.conf";

fn wrong(name: &str, what: String) -> Error {
    Error::in_config("annotations", format!("{name}: {what}"))
}

/// Who passes packets on: one that is named, or the first that there is.
fn find(planner: &Planner) -> Result<Option<(Helper, PathBuf)>> {
    let Some(asked) = annotations::find(planner.spec, annotations::NETWORK) else { return Ok(None) };
    let mut wanted = HELPERS.into_iter().filter(|helper| asked == "private" || helper.name() == asked).peekable();
    if wanted.peek().is_none() {
        return Err(
            wrong(annotations::NETWORK, format!("{asked:?}")).remedy("write \"private\", \"pasta\" or \"slirp4netns\"")
        );
    }
    let found = wanted.find_map(|helper| Some((helper, planner.host.find_program(helper.name())?)));
    found.map(Some).ok_or_else(|| {
        let missing = if asked == "private" { "pasta and slirp4netns are" } else { &format!("{asked} is") };
        wrong(annotations::NETWORK, format!("{missing} missing on this host"))
            .because("one of them passes packets on, without privileges, and none of the directories of PATH has it")
            .remedy("install passt (for pasta) or slirp4netns (Debian: apt install passt)")
    })
}

fn plan_resolver(planner: &mut Planner) -> Result<()> {
    let Some((helper, _)) = find(planner)? else {
        return match annotations::find(planner.spec, annotations::PUBLISH) {
            None => Ok(()),
            Some(_) => Err(wrong(annotations::PUBLISH, "without a network that ports could lead to".to_owned())
                .because(format!("{} is missing", annotations::NETWORK))
                .remedy("give --net private, or leave --publish out")),
        };
    };
    // Whoever only looks at the config has none.
    let Some(state) = &planner.request.state else { return Ok(()) };
    let source = planner.c_string(state.join(FILE))?;
    let options = ["ro", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec();
    let attributes = options::parse(&options).attributes();
    let target = planner.c_string("/etc/resolv.conf")?;
    let bind = MountStep::Bind(Bind { source, target, attributes, ..Bind::default() });
    planner.plan.resolver = Some(helper);
    // An image that has no such file, in a root that is somebody else's.
    planner.step_tolerating(bind, &[Errno::EACCES, Errno::EROFS, Errno::ENOTDIR]);
    Ok(())
}

fn plan_connect(planner: &mut Planner) -> Result<()> {
    let Some((helper, program)) = find(planner)? else { return Ok(()) };
    if !planner.spec.has_new_namespace("network") {
        return Err(wrong(annotations::NETWORK, "given without a network namespace of the container's own".to_owned())
            .because("there is nothing to lead out of")
            .remedy("add {\"type\": \"network\"} to linux.namespaces, as --net private does"));
    }
    reach::check(planner, "a private network", "the program that passes its packets on")?;
    let published = annotations::find(planner.spec, annotations::PUBLISH).unwrap_or_default();
    let ports = published.split(',').filter(|text| !text.is_empty()).map(|text| {
        Port::parse(text).ok_or_else(|| {
            wrong(annotations::PUBLISH, format!("{text:?}"))
                .remedy("write [IP:]HOST:CONTAINER[/udp], such as 8080:80 or 127.0.0.1:5353:53/udp")
        })
    });
    let ports = ports.collect::<Result<_>>()?;
    planner.step(NamespaceStep::Connect(Box::new(Network { helper, program, ports })));
    Ok(())
}
