//! config.json from an image's configuration (image-spec, conversion.md).

use super::manifest::{Config, Process};
use crate::container::users::{Root, resolve};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::log::Log;
use crate::property::annotations::is_order;
use crate::spec::default::{self, Kind};
use crate::spec::{self, User};
use serde_json::{Value, json};
use std::os::fd::OwnedFd;

/// The variables that a program needs at the least.
const USUAL: [&str; 2] = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"];

const RESOLVER: &str = "/etc/resolv.conf";

/// The text of config.json; `root` is the image's root file system, which names its users.
pub fn text(image: &Config, root: OwnedFd, kind: Kind, host: &Host, log: &Log) -> Result<String> {
    let mut config = default::config(kind, host)?;
    config["root"]["readonly"] = json!(false);
    let none = Process::default();
    let process = image.config.as_ref().unwrap_or(&none);
    let arguments: Vec<&String> = process.entrypoint.iter().chain(&process.cmd).flatten().collect();
    if !arguments.is_empty() {
        config["process"]["args"] = json!(arguments);
    }
    if let Some(directory) = process.working_dir.as_ref().filter(|directory| !directory.is_empty()) {
        config["process"]["cwd"] = json!(format!("/{}", directory.trim_start_matches('/')));
    }
    config["process"]["env"] = json!(environment(process.env.as_deref().unwrap_or_default(), log));
    if let Some(user) = process.user.as_ref().filter(|user| !user.is_empty()) {
        set_user(&mut config, user, root, kind, log)?;
    }
    for volume in process.volumes.iter().flatten().map(|(path, _)| path) {
        add_volume(&mut config, volume, log);
    }
    // Its network is the host's, and so is who knows names there.
    if kind != Kind::Rootful && std::fs::metadata(RESOLVER).is_ok_and(|file| file.is_file()) {
        let options = ["bind", "ro", "nosuid", "nodev", "noexec"];
        let mount = json!({ "destination": RESOLVER, "type": "none", "source": RESOLVER, "options": options });
        config["mounts"].as_array_mut().into_iter().for_each(|mounts| mounts.push(mount.clone()));
    }
    let annotations = annotations(image, process, log);
    if annotations.as_object().is_some_and(|all| !all.is_empty()) {
        config["annotations"] = annotations;
    }
    let text = default::text(&config)?;
    // What could not be read again is not written.
    spec::load::parse(&text)?;
    Ok(text)
}

/// The image's variables, and behind them what it does not set.
fn environment<'a>(own: &'a [String], log: &Log) -> Vec<&'a str> {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let is_variable = |variable: &&String| variable.find('=').is_some_and(|at| at > 0);
    for other in own.iter().filter(|variable| !is_variable(variable)) {
        log.warn(&Error::new(format!("the image's Env {other:?} is left out")).because("it is no NAME=VALUE"));
    }
    let own: Vec<&String> = own.iter().filter(is_variable).collect();
    let is_set = |usual: &&str| !own.iter().any(|variable| name(variable) == name(usual));
    own.iter().map(|variable| variable.as_str()).chain(USUAL.into_iter().filter(is_set)).collect()
}

fn set_user(config: &mut Value, text: &str, root: OwnedFd, kind: Kind, log: &Log) -> Result<()> {
    let mut user = User::default();
    if let Err(error) = resolve(text, &Root { process: 0, opened: Some(root) }, &mut user) {
        let message = format!("the image's User: {}: its program is root's", error.message);
        log.warn(&Error { message, ..error }.remedy("give another with `rootlet run --user UID:GID`"));
        return Ok(());
    }
    config["process"]["user"] = match user.additional_gids.0.is_empty() || kind != Kind::Rootful {
        true => json!({ "uid": user.uid, "gid": user.gid }),
        false => json!({ "uid": user.uid, "gid": user.gid, "additionalGids": user.additional_gids.0 }),
    };
    if kind != Kind::Rootful {
        // The one id that an ordinary user can map is that user in the container, as with `spec --user`.
        config["linux"]["uidMappings"][0]["containerID"] = json!(user.uid);
        config["linux"]["gidMappings"][0]["containerID"] = json!(user.gid);
    }
    Ok(())
}

/// What the runtime mounts on.
const RUNTIMES: [&str; 3] = ["/dev", "/proc", "/sys"];

/// A volume begins with what the image has there, and is gone at the end.
fn add_volume(config: &mut Value, path: &str, log: &Log) {
    let clean = path.trim_end_matches('/');
    let is_runtimes =
        |top: &&str| clean.strip_prefix(*top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !clean.starts_with('/')
        || clean.split('/').any(|part| matches!(part, "." | ".."))
        || RUNTIMES.iter().any(is_runtimes)
    {
        log.warn(&Error::new(format!("the image's volume {path:?} is left out")).because("no volume can be there"));
        return;
    }
    log.warn(
        &Error::new(format!("the image's volume {clean} is in memory, and gone at the end"))
            .remedy(format!("to keep what is in it, `rootlet run --mount type=bind,src=DIRECTORY,dst={clean}`")),
    );
    if let Some(mounts) = config["mounts"].as_array_mut() {
        let options = ["nosuid", "nodev", "tmpcopyup"];
        mounts.push(json!({ "destination": clean, "type": "tmpfs", "source": "tmpfs", "options": options }));
    }
}

/// Labels, and what conversion.md calls by names of its own; a label of such a name wins.
fn annotations(image: &Config, process: &Process, log: &Log) -> Value {
    let ports: Vec<&str> = process.exposed_ports.iter().flatten().map(|(port, _)| port.as_str()).collect();
    let platform = image.platform();
    let own = [
        ("os", Some(platform.os.clone())),
        ("architecture", Some(platform.architecture.clone())),
        ("variant", platform.variant.clone()),
        ("author", image.author.clone()),
        ("created", image.created.clone()),
        ("stopSignal", process.stop_signal.clone()),
        ("exposedPorts", Some(ports.join(","))),
    ];
    let own = own.into_iter().filter_map(|(name, value)| {
        Some((format!("org.opencontainers.image.{name}"), value.filter(|value| !value.is_empty())?))
    });
    let labels = process.labels.iter().flatten().filter(|(name, _)| !name.is_empty());
    let labels = labels.filter(|(name, _)| match is_order(name) {
        true => {
            log.warn(
                &Error::new(format!("the image's label {name} is left out")).because("runtimes take it for an order"),
            );
            false
        }
        false => true,
    });
    let labels = labels.map(|(name, value)| (name.clone(), value.clone()));
    Value::Object(own.chain(labels).map(|(name, value)| (name, Value::String(value))).collect())
}
