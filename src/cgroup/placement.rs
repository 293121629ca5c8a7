//! Which cgroup a container gets: chosen by what is writable, not by who the caller is.

use crate::error::{Error, Result};
use crate::host::{Cgroups, Hierarchy, Host};
use crate::plan::{Bus, Place};
use std::path::{Component, Path, PathBuf};

/// Who makes a container's cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// The first manager that may: a directory of one's own, then systemd.
    #[default]
    Any,
    /// systemd.
    Systemd,
    /// Nobody: the container stays in its caller's.
    Disabled,
}

/// What is asked for.
#[derive(Clone, Copy, Default)]
pub struct Wish<'a> {
    /// The container's name.
    pub id: &'a str,
    /// `linux.cgroupsPath`.
    pub path: Option<&'a str>,
    /// Who is to make the cgroup.
    pub manager: CgroupManager,
    /// Controllers that settings need.
    pub controllers: &'a [String],
    /// Whether the container divides its cgroup, and so wants all controllers that there are.
    pub divides: bool,
}

/// What is chosen.
#[derive(Debug, PartialEq)]
pub struct Choice {
    /// Where the cgroup is, if there is one.
    pub place: Place,
    /// Why there.
    pub reason: String,
    /// Controllers that can be had there.
    pub available: Vec<String>,
}

/// Chooses. An error is one in `linux.cgroupsPath`.
pub fn choose(wish: &Wish, host: &Host) -> Result<Choice> {
    let unit = wish.path.filter(|path| path.split(':').count() == 3 && !path.starts_with('/'));
    if wish.manager == CgroupManager::Disabled {
        return Ok(none("--cgroup-manager is disabled".to_owned()));
    }
    let wants_systemd = wish.manager == CgroupManager::Systemd;
    if wants_systemd || unit.is_some() {
        let asked = if wants_systemd { "--systemd-cgroup is given" } else { "linux.cgroupsPath is slice:prefix:name" };
        return scope(wish, host, asked.to_owned());
    }
    if let Some(path) = wish.path.filter(|path| !path.is_empty() && contained(path).as_os_str().is_empty()) {
        return Err(Error::in_config("linux.cgroupsPath", format!("{path:?} names no cgroup of the container's own"))
            .remedy("write a path such as \"/boxes/box\", or leave it out"));
    }
    let Some(hierarchy) = host.hierarchy()? else {
        return Ok(none("no cgroup v2 hierarchy is mounted on /sys/fs/cgroup".to_owned()));
    };
    if let Some(choice) = directory(wish, host, hierarchy)? {
        return Ok(choice);
    }
    let not_yours = format!("your cgroup, {}, is not yours to divide", hierarchy.own.display());
    let wants_scope = !wish.controllers.is_empty() && host.bus()?.is_some();
    match wants_scope.then(|| scope(wish, host, not_yours.clone())).transpose()? {
        Some(choice) => Ok(choice),
        None if wish.controllers.is_empty() => Ok(none(not_yours)),
        None => Ok(none(format!("{not_yours}, and no systemd of yours answers at $XDG_RUNTIME_DIR/bus"))),
    }
}

/// Why these controllers cannot be had, and what mends it.
pub fn explain_missing(host: &Host, controllers: &str) -> Result<(String, &'static str)> {
    Ok(match host.cgroups()? {
        Cgroups::Legacy => (
            format!("this host has its controllers ({controllers}) in cgroup v1, which rootlet does not drive"),
            "boot with systemd.unified_cgroup_hierarchy=1, or cgroup_no_v1=all",
        ),
        Cgroups::Unified => (format!("nobody has passed these controllers on to you: {controllers}"), DELEGATION),
    })
}

/// How a user gets controllers.
const DELEGATION: &str = "as root: mkdir -p /etc/systemd/system/user@.service.d && \
    printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' >/etc/systemd/system/user@.service.d/delegate.conf && \
    systemctl daemon-reload; then `systemctl restart user@UID.service`, which ends what that user runs, or reboot";

fn none(reason: String) -> Choice {
    Choice { place: Place::None, reason, available: Vec::new() }
}

/// A directory in what the caller may divide.
fn directory(wish: &Wish, host: &Host, hierarchy: &Hierarchy) -> Result<Option<Choice>> {
    let own = &hierarchy.own;
    let mut top = None;
    for path in own.ancestors().take_while(|path| path.starts_with(&hierarchy.root)) {
        if !host.may_divide(path)? {
            break;
        }
        top = Some(path.to_owned());
    }
    let Some(top) = top else { return Ok(None) };
    let chosen = |base: PathBuf, path: PathBuf, reason: &str| {
        let available = host.level(&base)?.controllers;
        let is_proposal = wish.path.is_none();
        Ok(Some(Choice { place: Place::Directory { base, path, is_proposal }, reason: reason.to_owned(), available }))
    };
    let name = match wish.path.filter(|path| !path.is_empty()) {
        None => PathBuf::from(format!("rootlet-{}", wish.id)),
        Some(path) if path.starts_with('/') => {
            // As it is where that is the caller's to divide; else, and so never outside of it, below.
            let wanted = hierarchy.root.join(contained(path));
            let path = if wanted.starts_with(&top) { wanted } else { top.join(contained(path)) };
            return chosen(top, path, "linux.cgroupsPath names it");
        }
        Some(path) => contained(path),
    };
    // A cgroup with processes can pass controllers on only if it does already, or is the root of all.
    let passes_on = |path: &Path, controllers: &[String]| {
        let level = host.level(path)?;
        Ok(path == hierarchy.root
            || level.is_empty
            || controllers.iter().all(|controller| level.enabled.contains(controller)))
    };
    // A unit's processes stay in the unit: systemd believes no PID file that names another's.
    let is_unit = own.extension().is_some_and(|suffix| suffix == "service" || suffix == "scope");
    let parent = own.parent().filter(|parent| !is_unit && parent.starts_with(&top));
    let sibling = |parent: &Path| {
        chosen(parent.to_owned(), parent.join(&name), "it is a sibling of your own cgroup, in which processes are")
    };
    if let Some(parent) = parent.filter(|_| wish.divides) {
        let (all, has) = (host.level(parent)?.controllers, host.level(own)?.controllers);
        let is_own_good = all.iter().all(|controller| has.contains(controller)) && passes_on(own, &all)?;
        if !is_own_good && passes_on(parent, &all)? {
            return sibling(parent);
        }
    }
    if passes_on(own, wish.controllers)? {
        return chosen(own.clone(), own.join(name), "it is a child of your own cgroup");
    }
    match parent {
        Some(parent) if passes_on(parent, wish.controllers)? => sibling(parent),
        _ => {
            chosen(own.clone(), own.join(name), "it is a child of your own cgroup, whose processes are moved to a leaf")
        }
    }
}

/// A path without `.` and `..`, relative to the directory that it must not leave.
fn contained(path: &str) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts
}

/// A scope of systemd.
fn scope(wish: &Wish, host: &Host, reason: String) -> Result<Choice> {
    let wrong = |message: String| {
        Err(Error::in_config("linux.cgroupsPath", message)
            .because("systemd makes the cgroup, and it is named as slice:prefix:name")
            .remedy("write \"user.slice:rootlet:NAME\", or leave it out"))
    };
    let wants_systemd = wish.manager == CgroupManager::Systemd;
    let is_user = !host.has_system_manager()?;
    let is_proposal = wish.path.is_none_or(|path| path.split(':').count() != 3);
    // As systemd.unit(5) escapes it; all else of an id may stand in a unit's name.
    let id = wish.id.replace('+', "\\x2b");
    let (slice, prefix, name) = match wish.path.map(|path| path.split(':').collect::<Vec<_>>()).as_deref() {
        None | Some([""]) => ("", "rootlet", id.as_str()),
        Some([slice, prefix, name]) => (*slice, *prefix, *name),
        Some(_) if wants_systemd => {
            return wrong(format!("{:?} is not slice:prefix:name", wish.path.unwrap_or_default()));
        }
        Some(_) => ("", "rootlet", id.as_str()),
    };
    let default = if is_user { "user.slice" } else { "system.slice" };
    let slice = if slice.is_empty() { default } else { slice };
    let is_unit_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_.\\-@".contains(&byte));
    if !slice.ends_with(".slice") || !is_unit_name(slice) {
        return wrong(format!("{slice:?} is not a slice"));
    }
    if name.is_empty() || !is_unit_name(name) || !is_unit_name(prefix) || name.ends_with(".slice") {
        return wrong(format!("{name:?} is not the name of a scope"));
    }
    let name = match (prefix, name.ends_with(".scope")) {
        (_, true) => name.to_owned(),
        ("", false) => format!("{name}.scope"),
        (prefix, false) => format!("{prefix}-{name}.scope"),
    };
    let Some(bus) = host.bus()? else {
        return Err(Error::in_config("linux.cgroupsPath", "systemd cannot be asked for a cgroup")
            .because(format!("{reason}, and there is no bus at $DBUS_SESSION_BUS_ADDRESS or $XDG_RUNTIME_DIR/bus"))
            .remedy("log in through systemd (`loginctl enable-linger USER`, `machinectl shell USER@`), or leave --systemd-cgroup and linux.cgroupsPath out"));
    };
    let available = match host.manager_cgroup()? {
        Some(manager) => host.level(&manager)?.controllers,
        None => Vec::new(),
    };
    let bus = Bus { path: bus, is_user };
    Ok(Choice {
        place: Place::Scope {
            bus,
            slice: slice.to_owned(),
            name,
            subgroup: "container".to_owned(),
            properties: Vec::new(),
            is_proposal,
        },
        reason,
        available,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Level;

    /// A host on which these cgroups are writable; with their controllers, and whether processes are in them.
    fn host(own: &str, levels: &[(&str, &str, bool)]) -> Host {
        let host = Host { uid: 1000, ..Host::default() };
        let root = PathBuf::from("/cg");
        let own = root.join(own.trim_start_matches('/'));
        let _ = host.hierarchy.set(Some(Hierarchy { root, own: own.clone() }));
        let _ = host.in_initial_user_namespace.set(true);
        let _ = host.bus.set(None);
        for path in own.ancestors() {
            host.levels.borrow_mut().insert(path.to_owned(), Level::default());
        }
        for (path, controllers, is_empty) in levels {
            let level = Level {
                is_writable: true,
                controllers: controllers.split_whitespace().map(str::to_owned).collect(),
                enabled: Vec::new(),
                is_empty: *is_empty,
            };
            host.levels.borrow_mut().insert(PathBuf::from(path), level);
        }
        host
    }

    fn path(host: &Host, path: Option<&str>, controllers: &[&str]) -> String {
        let controllers: Vec<_> = controllers.iter().map(|name| (*name).to_owned()).collect();
        place(host, Wish { id: "box", path, controllers: &controllers, ..Wish::default() })
    }

    fn place(host: &Host, wish: Wish) -> String {
        match choose(&wish, host).unwrap().place {
            Place::Directory { path, .. } => path.display().to_string(),
            place => format!("{place:?}"),
        }
    }

    #[test]
    fn a_child_a_sibling_or_a_child_after_making_way() {
        let shell = [("/cg/mine", "memory", true), ("/cg/mine/shell", "memory", false)];
        let own = host("/mine/shell", &shell);
        assert_eq!(path(&own, None, &[]), "/cg/mine/shell/rootlet-box");
        assert_eq!(path(&own, None, &["memory"]), "/cg/mine/rootlet-box");
        let unit = [("/cg/mine", "memory", true), ("/cg/mine/run.scope", "memory", false)];
        assert_eq!(path(&host("/mine/run.scope", &unit), None, &["memory"]), "/cg/mine/run.scope/rootlet-box");
        assert_eq!(path(&host("/others/session.scope", &[]), None, &["memory"]), "None");
    }

    #[test]
    fn who_divides_its_cgroup_is_where_the_controllers_are_but_nobody_makes_way_for_it() {
        let wish = Wish { id: "box", divides: true, ..Wish::default() };
        for enabled in ["memory", ""] {
            let shell = [("/cg/mine", "memory", true), ("/cg/mine/shell", enabled, false)];
            assert_eq!(place(&host("/mine/shell", &shell), wish), "/cg/mine/rootlet-box");
        }
        let crowded = [("/cg/mine", "memory", false), ("/cg/mine/shell", "memory", false)];
        assert_eq!(place(&host("/mine/shell", &crowded), wish), "/cg/mine/shell/rootlet-box");
    }

    #[test]
    fn a_path_never_leaves_what_is_the_callers() {
        let own = host("/mine/shell", &[("/cg/mine", "memory", true), ("/cg/mine/shell", "memory", false)]);
        for (given, expected) in [
            ("/other/box", "/cg/mine/other/box"),
            ("/mine/box", "/cg/mine/box"),
            ("/../../etc", "/cg/mine/etc"),
            ("/mine/../../x", "/cg/mine/x"),
            ("a/../../b", "/cg/mine/shell/b"),
        ] {
            assert_eq!(path(&own, Some(given), &[]), expected, "{given}");
        }
        for path in ["/", "..", "/a/.."] {
            let wish = Wish { id: "box", path: Some(path), ..Wish::default() };
            assert!(choose(&wish, &own).is_err(), "{path} is the user's own cgroup, or another's");
        }
    }
}
