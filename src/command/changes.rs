//! The flags that say what runs, with which files, limits and privileges: `spec` writes a config by them, and `run`, `create`,
//! `plan` and `check` change one by them in memory.

use super::heading;
use super::layers;
use crate::container::create::Data;
use crate::container::state::directory::DATA;
use crate::container::{Options, interrupt};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::image::{self, LIMITS, Platform, Source};
use crate::log::Log;
use crate::spec::default::{self, Kind};
use crate::spec::edit::{Edits, Network};
use crate::spec::load;
use crate::sys::tty;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Changes of a config.
#[derive(Clone, Debug, Default, Args)]
pub struct Changes {
    /// Root file system, from the bundle
    #[arg(long, value_name = "DIR", conflicts_with = "host")]
    pub rootfs: Option<PathBuf>,
    /// Environment of the program; may be given several times
    #[arg(long, short, value_name = "NAME=VALUE", action = ArgAction::Append)]
    env: Vec<String>,
    /// Directory in which the program starts
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// User of the program, as numbers; for an ordinary user, who the caller is in the container
    #[arg(long, short, value_name = "UID[:GID]", conflicts_with = "as_me", help_heading = heading::PRIVILEGES)]
    user: Option<String>,
    /// The program's user is who the caller is on the host, instead of root
    #[arg(long, help_heading = heading::PRIVILEGES)]
    as_me: bool,
    /// The program's home: a directory of the host's, writable
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Show a directory or file in the container: type=bind,src=...,dst=...[,ro], or type=tmpfs,dst=...
    #[arg(long, value_name = "MOUNT", action = ArgAction::Append)]
    mount: Vec<String>,
    #[command(flatten)]
    limits: Limits,
    /// Give a capability, such as NET_RAW, or ALL
    #[arg(long, value_name = "NAME", action = ArgAction::Append, value_delimiter = ',', help_heading = heading::PRIVILEGES)]
    cap_add: Vec<String>,
    /// Take a capability, or ALL
    #[arg(long, value_name = "NAME", action = ArgAction::Append, value_delimiter = ',', help_heading = heading::PRIVILEGES)]
    cap_drop: Vec<String>,
    /// No terminal: for pipes, services and CI
    #[arg(long)]
    no_tty: bool,
    /// Name of the container's host
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// `host`: the caller's network; `none`: nothing but a loopback device; `private`: one with a way out, by pasta or slirp4netns
    #[arg(long, value_name = "NETWORK", value_parser = networks(), help_heading = heading::NETWORK)]
    net: Option<Network>,
    /// Lead a port of the host into a private network: [IP:]HOST:CONTAINER[/udp]; may be given several times
    #[arg(long, value_name = "PORTS", action = ArgAction::Append, help_heading = heading::NETWORK)]
    publish: Vec<String>,
    /// Mount the root file system read-only
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, conflicts_with = "writable")]
    read_only: Option<bool>,
    /// Mount the root file system writable
    #[arg(long)]
    writable: bool,
    /// Let what only root of the host may do seem to succeed, as package managers ask for it: chown, setuid, mknod and the like
    #[arg(long, help_heading = heading::PRIVILEGES)]
    fake_root: bool,
    /// Have the program's processes reaped and its signals passed on by a first process, as it would not have them as pid 1
    #[arg(long)]
    init: bool,
    /// System call filter: `default`, `none`, or a file with a profile, also one of Docker or podman
    #[arg(long, value_name = "PROFILE", help_heading = heading::PRIVILEGES)]
    seccomp: Option<String>,
}

/// Limits, as cgroups enforce them.
#[derive(Clone, Debug, Default, Args)]
pub struct Limits {
    /// Limit of the memory, such as 512M or 1G
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = heading::LIMITS)]
    pub memory: Option<String>,
    /// Limit of processor time, in processors, such as 1.5
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, help_heading = heading::LIMITS)]
    pub cpus: Option<String>,
    /// Limit of the number of processes
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, value_parser = clap::value_parser!(i64).range(-1..), help_heading = heading::LIMITS)]
    pub pids: Option<i64>,
}

/// Values of `--net`.
pub fn networks() -> impl TypedValueParser<Value = Network> {
    PossibleValuesParser::new(["host", "none", "private", "pasta", "slirp4netns"]).map(|name| match name.as_str() {
        "none" => Network::None,
        "private" => Network::Private("private"),
        "pasta" => Network::Private("pasta"),
        "slirp4netns" => Network::Private("slirp4netns"),
        _ => Network::Host,
    })
}

impl Changes {
    /// As the config's floor has them.
    pub fn edits(self, args: Vec<String>) -> Edits {
        Edits {
            rootfs: self.rootfs,
            args,
            env: self.env,
            cwd: self.cwd,
            user: self.user,
            as_me: self.as_me,
            home: self.home,
            mounts: self.mount,
            memory: self.limits.memory,
            cpus: self.limits.cpus,
            pids: self.limits.pids,
            cap_add: self.cap_add,
            cap_drop: self.cap_drop,
            no_tty: self.no_tty,
            hostname: self.hostname,
            network: self.net,
            publish: self.publish,
            readonly: if self.writable { Some(false) } else { self.read_only },
            fake_root: self.fake_root,
            init: self.init,
            seccomp: self.seccomp,
        }
    }
}

/// What a container is made of where that is not a bundle's config.json as it stands.
#[derive(Clone, Debug, Default, Args)]
pub struct Basis {
    /// No bundle: the host's programs, bound read-only
    #[arg(long, conflicts_with_all = ["image", "layer"])]
    host: bool,
    /// No bundle: an image, as `unpack` takes it, which is unpacked at its first use; without --layer, what is changed is thrown away
    #[arg(long, value_name = "IMAGE", conflicts_with = "rootfs")]
    image: Option<String>,
    /// Writable layer over the root file system: `tmp`, which is thrown away with the container, or a directory that keeps it
    #[arg(long, value_name = "tmp|DIR")]
    layer: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    /// The program and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Basis {
    /// Changes what is asked for: the text of the config, unless that is the bundle's as it stands (without flags, nothing is read
    /// twice), and what goes with it. With --rootfs or --host, the config begins with what `spec` writes, else with the bundle's.
    /// `terminal`: whether one is wanted if the caller has it.
    pub fn apply(self, options: &mut Options, terminal: bool, log: &Log) -> Result<()> {
        let Basis { host: is_host, image, layer, changes, command } = self;
        let is_new = is_host || changes.rootfs.is_some();
        let mut edits = changes.edits(command);
        if !is_new && image.is_none() && layer.is_none() && edits == Edits::default() {
            return Ok(());
        }
        let host = Host::new()?;
        let has_terminal =
            terminal && tty::is_terminal(tty::standard_input()) && tty::is_terminal(tty::standard_output());
        options.request.keeps_error = (is_new || image.is_some()) && !tty::is_terminal(tty::standard_error());
        edits.no_tty |= (is_new || image.is_some()) && !has_terminal;
        let layer = layer.or(image.is_some().then(|| PathBuf::from("tmp")));
        if let Some(image) = &image {
            let kind = if host.is_ordinary_user() { Kind::Rootless } else { Kind::Rootful };
            let how = image::Options { platform: Platform::here(), kind, limits: LIMITS };
            let source = Source::parse(image)?;
            options.request.bundle = interrupt::hold(log, || image::kept::bundle(&source, &how, log))?;
            options.config = PathBuf::from("config.json");
        }
        let mut value = match is_new {
            true => default::config(new_kind(is_host, &host), &host)?,
            false => loaded(&options.request.bundle, &options.config)?,
        };
        if is_host {
            // Nothing but directories to mount on, which are this container's alone: another's could have planted programs there.
            let data = options.root.directory(&options.request.id).join(DATA);
            value["root"]["path"] = json!(data.join("root"));
            options.data = Some(Data { files: Vec::new(), has_host_directories: true });
        }
        if let Some(rootfs) = &edits.rootfs {
            // It is the caller's directory that it is named from.
            edits.rootfs = Some(std::path::absolute(rootfs).map_err(|error| Error::from_io(rootfs.display(), &error))?);
        }
        // One id that is mapped is whoever the program's user is.
        let is_one = |name: &str| match &value["linux"][name] {
            Value::Array(mappings) => mappings.len() == 1 && mappings[0]["size"] == 1,
            _ => false,
        };
        let has_one_id = is_one("uidMappings") && is_one("gidMappings");
        edits.apply(&mut value, &host, has_one_id)?;
        if let Some(layer) = layer {
            value["root"]["readonly"] = json!(edits.readonly == Some(true));
            let layer = layers::choose(&layer, &host)?;
            options.request.fuse.extend(layers::cover(&mut value, &options.request.bundle, &layer, &host)?);
            options.layer = Some(layer);
        }
        options.text = Some(default::text(&value)?);
        Ok(())
    }
}

fn loaded(bundle: &Path, config: &Path) -> Result<Value> {
    let text = load::read(&bundle.join(config))?;
    // Its types are right, if this passes.
    load::parse(&text).map_err(|error| error.of_file(config))?;
    let mut value: Value = serde_json::from_str(&text).map_err(|error| Error::new(format!("config.json: {error}")))?;
    for list in ["/mounts", "/process/env", "/linux/namespaces"] {
        if let Some((parent, name)) = list.rsplit_once('/')
            && let Some(Value::Object(fields)) = value.pointer_mut(parent)
            && fields.get(name).is_none_or(Value::is_null)
        {
            fields.insert(name.to_owned(), json!([]));
        }
    }
    Ok(value)
}

fn new_kind(is_host: bool, host: &Host) -> Kind {
    match (is_host, host.is_ordinary_user()) {
        (true, _) => Kind::HostFiles,
        (false, true) => Kind::Rootless,
        (false, false) => Kind::Rootful,
    }
}
