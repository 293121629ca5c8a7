//! bubblewrap's command line, for who calls rootlet as `bwrap`: its flags, in their order, as a config.

use super::{layers, status};
use crate::container::create::Data;
use crate::container::foreground::{Event, Foreground};
use crate::container::state::directory::DATA;
use crate::container::{self, Options, Start, States};
use crate::error::{Error, Result, found};
use crate::host::Host;
use crate::init::seal;
use crate::log::Log;
use crate::property::{CgroupManager, Request};
use crate::sys::{Errno, creds, fd, process, signal, tty};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Whose flags these are.
const VERSION: &str = "0.11.0";

/// The arguments of each flag, as `--help` shows them.
const FLAGS: &[(&str, &str)] = &[
    ("--args", "FD"),
    ("--argv0", "VALUE"),
    ("--level-prefix", ""),
    ("--unshare-all", ""),
    ("--share-net", ""),
    ("--unshare-user", ""),
    ("--unshare-user-try", ""),
    ("--unshare-ipc", ""),
    ("--unshare-pid", ""),
    ("--unshare-net", ""),
    ("--unshare-uts", ""),
    ("--unshare-cgroup", ""),
    ("--unshare-cgroup-try", ""),
    ("--disable-userns", ""),
    ("--assert-userns-disabled", ""),
    ("--uid", "UID"),
    ("--gid", "GID"),
    ("--hostname", "NAME"),
    ("--chdir", "DIR"),
    ("--clearenv", ""),
    ("--setenv", "VAR VALUE"),
    ("--unsetenv", "VAR"),
    ("--lock-file", "DEST"),
    ("--sync-fd", "FD"),
    ("--bind", "SRC DEST"),
    ("--bind-try", "SRC DEST"),
    ("--dev-bind", "SRC DEST"),
    ("--dev-bind-try", "SRC DEST"),
    ("--ro-bind", "SRC DEST"),
    ("--ro-bind-try", "SRC DEST"),
    ("--bind-fd", "FD DEST"),
    ("--ro-bind-fd", "FD DEST"),
    ("--remount-ro", "DEST"),
    ("--overlay-src", "SRC"),
    ("--overlay", "RWSRC WORKDIR DEST"),
    ("--tmp-overlay", "DEST"),
    ("--ro-overlay", "DEST"),
    ("--exec-label", "LABEL"),
    ("--file-label", "LABEL"),
    ("--proc", "DEST"),
    ("--dev", "DEST"),
    ("--tmpfs", "DEST"),
    ("--mqueue", "DEST"),
    ("--dir", "DEST"),
    ("--file", "FD DEST"),
    ("--bind-data", "FD DEST"),
    ("--ro-bind-data", "FD DEST"),
    ("--symlink", "SRC DEST"),
    ("--seccomp", "FD"),
    ("--add-seccomp-fd", "FD"),
    ("--block-fd", "FD"),
    ("--info-fd", "FD"),
    ("--json-status-fd", "FD"),
    ("--new-session", ""),
    ("--die-with-parent", ""),
    ("--as-pid-1", ""),
    ("--cap-add", "CAP"),
    ("--cap-drop", "CAP"),
    ("--perms", "OCTAL"),
    ("--size", "BYTES"),
    ("--chmod", "OCTAL PATH"),
];

/// bubblewrap's, and not rootlet's, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("--userns", "a sandbox gets a user namespace of its own, or the caller's"),
    ("--userns2", "a sandbox gets a user namespace of its own, or the caller's"),
    ("--userns-block-fd", "the ids of the user namespace are mapped by rootlet"),
    ("--pidns", "a sandbox gets a pid namespace of its own, or the caller's"),
];

/// Variables of a sandbox that is written, by what is known of it so far.
struct Sandbox {
    config: Value,
    /// The flag that each of the mounts comes from.
    origins: Vec<String>,
    data: Vec<(Vec<u8>, u32)>,
    /// Where `data` will be.
    directory: PathBuf,
    layers: Vec<(usize, PathBuf)>,
    environment: Vec<(String, String)>,
    chdir: Option<String>,
    sources: Vec<String>,
    perms: Option<u32>,
    size: Option<String>,
    filters: Vec<String>,
    locks: Vec<String>,
    uid: Option<u32>,
    gid: Option<u32>,
    namespaces: Vec<&'static str>,
    is_whole: bool,
    shares_network: bool,
    disables_namespaces: bool,
    is_first: bool,
    is_new_session: bool,
    dies_with_parent: bool,
    has_terminal: bool,
    capabilities: Option<Vec<String>>,
    block: Option<OwnedFd>,
    info: Option<OwnedFd>,
    status: Option<OwnedFd>,
    /// Descriptors that were for rootlet alone.
    consumed: Vec<i32>,
    depth: u32,
}

/// Runs a command line of bubblewrap's; the exit code.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    // What its callers do not look for, such as that processes may be left where no pid namespace was asked for.
    let log = Log::of_errors();
    run(arguments, &log).unwrap_or_else(|error| {
        let error = super::with_cause(error);
        log.error(&Error { message: format!("bwrap: {}", error.message), ..error });
        ExitCode::FAILURE
    })
}

fn run(arguments: Vec<OsString>, log: &Log) -> Result<ExitCode> {
    let parent = std::os::unix::process::parent_id();
    let words = arguments.into_iter().map(text).collect::<Result<Vec<_>>>()?;
    match words.first().map(String::as_str) {
        Some("--help") => return super::say(&help()).map(|()| ExitCode::SUCCESS),
        Some("--version") => {
            let line = format!("bubblewrap {VERSION} (rootlet {})\n", env!("CARGO_PKG_VERSION"));
            return super::say(&line).map(|()| ExitCode::SUCCESS);
        }
        _ => {}
    }
    let host = Host::new()?;
    seal::ensure_at_once(&host)?;
    let root = States::new(None)?;
    let id = super::sandbox::name(&root)?;
    let mut sandbox = Sandbox::new(root.directory(&id), &host);
    let command = sandbox.read(words)?;
    if command.is_empty() {
        return Err(Error::new("no command is given").remedy("write it behind the flags; see `bwrap --help`"));
    }
    sandbox.finish(command, &host)?;
    let mut options = Options {
        start: if sandbox.block.is_some() { Start::Later } else { Start::Now },
        request: Request {
            state: Some(root.directory(&id)),
            preserved_descriptors: sandbox.preserved()?,
            bundle: root.directory(&id),
            states: root.all_known()?,
            is_sandbox: true,
            keeps_error: !tty::is_terminal(tty::standard_error()),
            is_held: sandbox.block.is_some(),
            id,
            no_new_keyring: true,
            cgroup_manager: CgroupManager::Disabled,
            ..Request::default()
        },
        ..Options::new(&root, "", PathBuf::from("/"))
    };
    options.data = Some(Data { files: std::mem::take(&mut sandbox.data), ..Data::default() });
    if !sandbox.layers.is_empty() {
        let mut layer = layers::choose(Path::new("tmp"), &host)?;
        let server = layers::cover_sources(&mut sandbox.config, &sandbox.layers, &mut layer, &host)?;
        options.request.fuse.extend(server);
        options.layer = Some(layer);
    }
    options.text = Some(sandbox.config.to_string());
    let (info, json) = (sandbox.info.take(), sandbox.status.take());
    let foreground = Foreground {
        subreaper: true,
        reaches_group: true,
        dies_interrupted: true,
        parent: sandbox.dies_with_parent.then_some(parent),
        before_start: sandbox.block.take().map(wait_for),
        report: Some(Box::new(move |event| tell(event, info.as_ref(), json.as_ref()))),
        ..Foreground::default()
    };
    let code = container::run(&options, &foreground, log).map_err(|error| sandbox.blame(error))?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// Waits until something can be read, or the other side is gone.
fn wait_for(block: OwnedFd) -> Box<dyn Fn() -> Result<()>> {
    Box::new(move || {
        let waited = process::wait_readable(block.as_fd(), -1);
        waited.map(drop).map_err(|error| Error::from_call("--block-fd", error))
    })
}

/// bubblewrap's words for what happens.
fn tell(event: &Event, info: Option<&OwnedFd>, status: Option<&OwnedFd>) {
    let say = |to: Option<&OwnedFd>, line: &str| {
        if let Some(to) = to {
            // Nobody is waited for who has gone.
            let _ = signal::write_to_reader(to.as_fd(), line.as_bytes(), status::PATIENCE_MILLISECONDS);
        }
    };
    match event {
        Event::Created { process, .. } => {
            let mut all = json!({ "child-pid": process.pid });
            for (file, name) in [
                ("cgroup", "cgroup-namespace"),
                ("ipc", "ipc-namespace"),
                ("mnt", "mnt-namespace"),
                ("net", "net-namespace"),
                ("pid", "pid-namespace"),
                ("uts", "uts-namespace"),
            ] {
                // A process that cannot be traced shows none.
                if let Ok(link) = std::fs::metadata(format!("/proc/{}/ns/{file}", process.pid)) {
                    all[name] = json!(link.ino());
                }
            }
            say(status, &format!("{all}\n"));
            say(info, &format!("{}\n", serde_json::to_string_pretty(&all).unwrap_or_default()));
        }
        Event::Exited { code, .. } => say(status, &format!("{{ \"exit-code\": {code} }}\n")),
        Event::Started | Event::OutOfMemory => {}
    }
}

fn help() -> String {
    let flags: String = FLAGS.iter().map(|(flag, values)| format!("    {flag} {values}\n")).collect();
    let refused: String = REFUSED.iter().map(|(flag, reason)| format!("    {flag}: {reason}\n")).collect();
    format!(
        "usage: bwrap [OPTIONS...] [--] COMMAND [ARGS...]\n\nrootlet, by the command line of bubblewrap {VERSION}. \
         See its manual, bwrap(1).\n\n{flags}\nNot supported:\n{refused}"
    )
}

fn text(word: OsString) -> Result<String> {
    word.into_string().map_err(|word| {
        Error::new(format!("{} is no UTF-8", word.display()))
            .because("a config is JSON, which has no other text")
            .remedy("rename it, or name it by a link")
    })
}

fn number(flag: &str, text: &str) -> Result<u32> {
    text.parse().map_err(|_| Error::new(format!("{flag} {text}: no number")).remedy("write a number from 0"))
}

fn octal(flag: &str, text: &str) -> Result<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| Error::new(format!("{flag} {text}: no mode")).remedy("write it as chmod(1) has it in numbers"))
}

/// RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let bits = part.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for index in 0..=part.len() {
            let letter = LETTERS.get((bits >> (18 - 6 * index)) as usize & 63).copied().unwrap_or(b'=');
            text.push(letter.into());
        }
        text.extend(std::iter::repeat_n('=', 3 - part.len()));
    }
    text
}

impl Sandbox {
    fn new(state: PathBuf, host: &Host) -> Sandbox {
        let config = json!({
            "ociVersion": "1.0.2",
            "process": { "user": { "uid": 0, "gid": 0 }, "noNewPrivileges": true, "capabilities": {} },
            // It is covered at once; what is bound must not be below it.
            "root": { "path": state.join(DATA).join("root") },
            "mounts": [],
            "annotations": { "org.rootlet.default-devices": "false", "run.oci.keep_original_groups": "1" },
            "linux": {},
        });
        let environment = std::env::vars_os();
        let environment =
            environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Sandbox {
            config,
            origins: Vec::new(),
            data: Vec::new(),
            directory: state.join(DATA),
            layers: Vec::new(),
            environment: environment.collect(),
            chdir: None,
            sources: Vec::new(),
            perms: None,
            size: None,
            filters: Vec::new(),
            locks: Vec::new(),
            uid: None,
            gid: None,
            namespaces: if host.is_ordinary_user() { vec!["mount", "user"] } else { vec!["mount"] },
            is_whole: false,
            shares_network: false,
            disables_namespaces: false,
            is_first: false,
            is_new_session: false,
            dies_with_parent: false,
            has_terminal: false,
            capabilities: None,
            block: None,
            info: None,
            status: None,
            consumed: Vec::new(),
            depth: 0,
        }
    }

    /// Reads flags in their order; what is left is the command.
    fn read(&mut self, words: Vec<String>) -> Result<Vec<String>> {
        let mut words = words.into_iter();
        while let Some(flag) = words.next() {
            if flag == "--" {
                return Ok(words.collect());
            }
            if !flag.starts_with('-') {
                return Ok([flag].into_iter().chain(words).collect());
            }
            if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == flag) {
                return Err(Error::new(format!("{flag} is not supported by rootlet")).because(*reason));
            }
            let Some((flag, values)) = FLAGS.iter().find(|(known, _)| *known == flag) else {
                let near =
                    FLAGS.iter().map(|(known, _)| *known).min_by_key(|known| strsim::damerau_levenshtein(known, &flag));
                return Err(Error::new(format!("Unknown option {flag}")).remedy(match near {
                    Some(near) if strsim::damerau_levenshtein(near, &flag) <= 2 => format!("did you mean {near}?"),
                    _ => "see `bwrap --help`".to_owned(),
                }));
            };
            let mut given = Vec::new();
            for value in values.split_whitespace() {
                let word = words.next().ok_or_else(|| {
                    Error::new(format!("{flag} takes {}", values.to_lowercase())).because(format!("{value} is missing"))
                })?;
                given.push(word);
            }
            if *flag == "--args" {
                self.read_more(given.first().map_or("", String::as_str))?;
            } else {
                self.take(flag, &given)?;
            }
        }
        Ok(Vec::new())
    }

    /// Flags from a descriptor, each ended by a NUL.
    fn read_more(&mut self, descriptor: &str) -> Result<()> {
        self.depth += 1;
        if self.depth > 16 {
            return Err(Error::new("--args leads in a circle"));
        }
        let bytes = self.slurp("--args", descriptor)?;
        let words = bytes.split(|byte| *byte == 0).map(|word| {
            String::from_utf8(word.to_owned()).map_err(|_| Error::new("--args: what is read there is no UTF-8"))
        });
        let mut words = words.collect::<Result<Vec<_>>>()?;
        // What follows the last one.
        if words.last().is_some_and(String::is_empty) {
            words.pop();
        }
        match self.read(words)?.first() {
            None => Ok(()),
            Some(word) => {
                Err(Error::new(format!("--args: {word:?} is no flag")).remedy("write the command on the command line"))
            }
        }
    }

    fn take(&mut self, flag: &'static str, given: &[String]) -> Result<()> {
        let value = |index: usize| given.get(index).map_or("", String::as_str);
        match flag {
            "--unshare-all" => {
                self.is_whole = true;
                ["user", "ipc", "pid", "network", "uts", "cgroup"].into_iter().for_each(|kind| self.unshare(kind));
            }
            "--share-net" => self.shares_network = true,
            "--unshare-user" | "--unshare-user-try" => self.unshare("user"),
            "--unshare-ipc" => self.unshare("ipc"),
            "--unshare-pid" => self.unshare("pid"),
            "--unshare-net" => self.unshare("network"),
            "--unshare-uts" => self.unshare("uts"),
            "--unshare-cgroup" | "--unshare-cgroup-try" => self.unshare("cgroup"),
            "--disable-userns" => self.disables_namespaces = true,
            // It is what --disable-userns does, if it is given; else it would have to be looked at from inside.
            "--assert-userns-disabled" if !self.disables_namespaces => {
                return Err(Error::new(format!("{flag} is supported by rootlet only behind --disable-userns")));
            }
            "--uid" => self.uid = Some(number(flag, value(0))?),
            "--gid" => self.gid = Some(number(flag, value(0))?),
            "--hostname" => self.config["hostname"] = json!(value(0)),
            "--chdir" => self.chdir = Some(value(0).to_owned()),
            "--clearenv" => self.environment.retain(|(name, _)| name == "PWD"),
            "--setenv" => {
                self.environment.retain(|(name, _)| name != value(0));
                self.environment.push((value(0).to_owned(), value(1).to_owned()));
            }
            "--unsetenv" => self.environment.retain(|(name, _)| name != value(0)),
            "--argv0" => self.config["annotations"]["org.rootlet.argument-0"] = json!(value(0)),
            "--lock-file" => self.locks.push(value(0).to_owned()),
            // Who waits for its end waits for the sandbox, which inherits it.
            "--sync-fd" => drop(status::descriptor(flag, self.number(flag, value(0))?)?),
            "--exec-label" => self.config["process"]["selinuxLabel"] = json!(value(0)),
            "--file-label" => self.config["linux"]["mountLabel"] = json!(value(0)),
            // It is about how messages look.
            "--level-prefix" | "--assert-userns-disabled" => {}
            "--seccomp" | "--add-seccomp-fd" => {
                if flag == "--seccomp" && !self.filters.is_empty() {
                    return Err(Error::new("--seccomp goes once, and not with --add-seccomp-fd")
                        .remedy("give each filter by --add-seccomp-fd"));
                }
                let program = self.slurp(flag, value(0))?;
                if program.is_empty() || program.len() % 8 != 0 {
                    return Err(Error::new(format!("{flag} {}: Invalid seccomp data", value(0)))
                        .because("an instruction has 8 bytes (struct sock_filter)"));
                }
                self.filters.push(base64(&program));
            }
            "--block-fd" => self.block = Some(self.descriptor(flag, value(0))?),
            "--info-fd" => self.info = Some(self.descriptor(flag, value(0))?),
            "--json-status-fd" => self.status = Some(self.descriptor(flag, value(0))?),
            "--new-session" => self.is_new_session = true,
            "--die-with-parent" => self.dies_with_parent = true,
            "--as-pid-1" => self.is_first = true,
            "--cap-add" | "--cap-drop" => self.change_capabilities(flag, value(0))?,
            "--perms" => self.perms = Some(octal(flag, value(0))?),
            "--size" => {
                let size: u64 =
                    value(0).parse().map_err(|_| Error::new(format!("{flag} {}: no number of bytes", value(0))))?;
                self.size = Some(size.to_string());
            }
            "--overlay-src" => self.sources.push(value(0).to_owned()),
            _ => self.mount(flag, given)?,
        }
        Ok(())
    }

    fn unshare(&mut self, kind: &'static str) {
        if !self.namespaces.contains(&kind) {
            self.namespaces.push(kind);
        }
    }

    /// What is made of files, in the order of the flags.
    fn mount(&mut self, flag: &'static str, given: &[String]) -> Result<()> {
        let value = |index: usize| given.get(index).map_or("", String::as_str);
        let origin = format!("{flag} {}", given.join(" "));
        let takes_perms = matches!(flag, "--tmpfs" | "--dir" | "--file" | "--bind-data" | "--ro-bind-data");
        if self.perms.is_some() && !takes_perms {
            return Err(Error::new(format!(
                "--perms must be followed by an option that creates a file, and not by {flag}"
            )));
        }
        if self.size.is_some() && flag != "--tmpfs" {
            return Err(Error::new(format!("--size must be followed by --tmpfs, and not by {flag}")));
        }
        let perms = self.perms.take();
        let destination = given.last().map_or("", String::as_str);
        if !destination.starts_with('/') {
            let destination = format!("/{destination}");
            let mut given = given.to_vec();
            given.pop();
            given.push(destination);
            self.perms = perms;
            return self.mount(flag, &given);
        }
        if let Some(perms) = perms {
            self.make_parents(destination, perms, &origin);
        }
        let is_try = flag.ends_with("-try");
        let mount = match flag.strip_suffix("-try").unwrap_or(flag) {
            kind @ ("--bind" | "--dev-bind" | "--ro-bind") => {
                let source = std::path::absolute(value(0)).map_err(|error| Error::from_io(&origin, &error))?;
                match found(source.metadata()).map_err(|error| Error::from_io(&origin, &error))? {
                    Some(_) => bind(&source, destination, kind, None),
                    None if is_try => return Ok(()),
                    None => {
                        return Err(Error::new(format!(
                            "Can't find source path {}: No such file or directory",
                            value(0)
                        ))
                        .because(format!("{origin} asks for it"))
                        .remedy(format!("correct it, or write {flag}-try")));
                    }
                }
            }
            kind @ ("--bind-fd" | "--ro-bind-fd") => {
                let opened = self.descriptor(flag, value(0))?;
                let path = std::fs::read_link(format!("/proc/self/fd/{}", value(0)));
                let path = path.map_err(|error| Error::from_io(&origin, &error))?;
                let status = fd::status(opened.as_fd()).map_err(|error| Error::from_call(&origin, error))?;
                bind(&path, destination, kind.trim_end_matches("-fd"), Some((status.device, status.inode)))
            }
            "--remount-ro" if destination == "/" => {
                self.config["root"]["readonly"] = json!(true);
                return Ok(());
            }
            "--remount-ro" => {
                json!({ "destination": destination, "type": "none", "source": "none", "options": ["remount", "bind", "ro"] })
            }
            "--overlay" | "--tmp-overlay" | "--ro-overlay" => return self.overlay(flag, given, &origin),
            "--proc" => {
                json!({ "destination": destination, "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] })
            }
            "--dev" => return self.dev(destination, &origin),
            "--mqueue" => {
                json!({ "destination": destination, "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] })
            }
            "--tmpfs" => {
                let mut options =
                    vec!["nosuid".to_owned(), "nodev".to_owned(), format!("mode={:o}", perms.unwrap_or(0o755))];
                options.extend(self.size.take().map(|size| format!("size={size}")));
                json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
            }
            "--dir" => {
                json!({ "destination": destination, "type": "rootlet.directory", "options": [format!("mode={:o}", perms.unwrap_or(0o755))] })
            }
            "--symlink" => json!({ "destination": destination, "type": "rootlet.symlink", "source": value(0) }),
            "--chmod" => {
                let mode = octal(flag, value(0))?;
                json!({ "destination": destination, "type": "rootlet.mode", "options": [format!("mode={mode:o}")] })
            }
            "--file" => {
                let source = self.keep(flag, value(0), 0o600)?;
                let mode = format!("mode={:o}", perms.unwrap_or(0o666));
                json!({ "destination": destination, "type": "rootlet.file", "source": source, "options": [mode] })
            }
            kind @ ("--bind-data" | "--ro-bind-data") => {
                let source = self.keep(flag, value(0), perms.unwrap_or(0o600))?;
                bind(&source, destination, kind.trim_end_matches("-data"), None)
            }
            _ => return Err(Error::new(format!("{flag} is not supported by rootlet"))),
        };
        self.push(mount, origin);
        Ok(())
    }

    /// Directories above what others may not use are not theirs either.
    fn make_parents(&mut self, destination: &str, perms: u32, origin: &str) {
        let closed = [0o070, 0o007].into_iter().filter(|class| perms & class == 0).fold(0, |all, class| all | class);
        let mut above: Vec<_> =
            Path::new(destination).ancestors().skip(1).filter(|path| path.parent().is_some()).collect();
        above.reverse();
        for path in above.into_iter().filter(|_| closed != 0) {
            let mode = format!("mode={:o}", 0o755 & !closed);
            let made = json!({ "destination": path, "type": "rootlet.directory", "options": [mode] });
            self.push(made, origin.to_owned());
        }
    }

    fn push(&mut self, mount: Value, origin: String) {
        let kind = mount["type"].as_str().unwrap_or_default();
        let is_mount =
            !kind.starts_with("rootlet.") && mount["options"].get(0).is_none_or(|option| option != "remount");
        if mount["destination"] == "/" && is_mount {
            // It covers all that was there before.
            self.clear();
        }
        if kind == "rootlet.file" {
            // The last one is what is there.
            self.forget_file(&mount["destination"]);
        }
        if let Some(mounts) = self.config["mounts"].as_array_mut() {
            mounts.push(mount);
            self.origins.push(origin);
        }
    }

    fn clear(&mut self) {
        self.config["mounts"] = json!([]);
        self.origins.clear();
        self.layers.clear();
        self.has_terminal = false;
    }

    fn forget_file(&mut self, destination: &Value) {
        let Some(mounts) = self.config["mounts"].as_array_mut() else { return };
        let is_it = |mount: &Value| mount["type"] == "rootlet.file" && mount["destination"] == *destination;
        if let Some(index) = mounts.iter().position(is_it) {
            mounts.remove(index);
            self.origins.remove(index);
            self.layers.iter_mut().filter(|(layer, _)| *layer > index).for_each(|(layer, _)| *layer -= 1);
        }
    }

    fn dev(&mut self, destination: &str, origin: &str) -> Result<()> {
        let below = |name: &str| format!("{}/{name}", destination.trim_end_matches('/'));
        let mut mounts = vec![
            json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"] }),
            json!({ "destination": below("pts"), "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] }),
            json!({ "destination": below("shm"), "type": "rootlet.directory", "options": ["mode=0755"] }),
        ];
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let node = format!("/dev/{name}");
            mounts.push(json!({ "destination": below(name), "type": "none", "source": node, "options": ["bind"] }));
        }
        for (name, to) in [
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("fd", "/proc/self/fd"),
            ("core", "/proc/kcore"),
            ("ptmx", "pts/ptmx"),
        ] {
            mounts.push(json!({ "destination": below(name), "type": "rootlet.symlink", "source": to }));
        }
        self.has_terminal |= destination == "/dev";
        mounts.into_iter().for_each(|mount| self.push(mount, origin.to_owned()));
        Ok(())
    }

    fn overlay(&mut self, flag: &str, given: &[String], origin: &str) -> Result<()> {
        let sources = std::mem::take(&mut self.sources);
        let least = if flag == "--ro-overlay" { 2 } else { 1 };
        if sources.len() < least {
            return Err(Error::new(format!("{flag} requires at least {least} --overlay-src")));
        }
        let absolute = |path: &str| {
            let path =
                Path::new(path).canonicalize().map_err(|error| Error::from_io(format!("{origin}: {path}"), &error))?;
            // As overlayfs reads its options.
            Ok(path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,"))
        };
        let lower = sources.iter().rev().map(|source| absolute(source)).collect::<Result<Vec<_>>>()?;
        let mut options = vec![format!("lowerdir={}", lower.join(":")), "nosuid".to_owned(), "nodev".to_owned()];
        if let ("--overlay", [upper, work, _]) = (flag, given) {
            options.push(format!("upperdir={}", absolute(upper)?));
            options.push(format!("workdir={}", absolute(work)?));
        }
        let destination = given.last().map_or("/", String::as_str);
        self.push(
            json!({ "destination": destination, "type": "overlay", "source": "overlay", "options": options }),
            origin.to_owned(),
        );
        if let ("--tmp-overlay", Some(top)) = (flag, sources.last()) {
            let index = self.config["mounts"].as_array().map_or(0, Vec::len).saturating_sub(1);
            self.layers.push((index, PathBuf::from(top)));
        }
        Ok(())
    }

    fn change_capabilities(&mut self, flag: &str, name: &str) -> Result<()> {
        let known = crate::capability::NAMES;
        let short = name.to_ascii_uppercase();
        let short = short.strip_prefix("CAP_").unwrap_or(&short).to_owned();
        let named: Vec<String> = match short.as_str() {
            "ALL" => known.iter().map(|name| format!("CAP_{name}")).collect(),
            short if known.contains(&short) => vec![format!("CAP_{short}")],
            _ => return Err(Error::new(format!("{flag} {name}: unknown cap")).remedy("see capabilities(7)")),
        };
        let all = self.capabilities.get_or_insert_with(Vec::new);
        match flag {
            "--cap-add" => all.extend(named.into_iter().filter(|name| !all.contains(name)).collect::<Vec<_>>()),
            _ => all.retain(|known| !named.contains(known)),
        }
        Ok(())
    }

    fn number(&self, flag: &str, text: &str) -> Result<i32> {
        let number = number(flag, text)?;
        i32::try_from(number).map_err(|_| Error::new(format!("{flag} {text}: no descriptor")))
    }

    /// A descriptor of the caller's, which the sandbox does not get.
    fn descriptor(&mut self, flag: &str, text: &str) -> Result<OwnedFd> {
        let number = self.number(flag, text)?;
        self.consumed.push(number);
        status::descriptor(flag, number)
    }

    /// All that can be read from a descriptor.
    fn slurp(&mut self, flag: &str, text: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = std::fs::File::from(self.descriptor(flag, text)?).take(MOST_DATA).read_to_end(&mut bytes);
        read.map_err(|error| Error::from_io(format!("{flag} {text}"), &error))?;
        match bytes.len() as u64 == MOST_DATA {
            true => Err(Error::new(format!("{flag} {text}: there are more than {} MiB", MOST_DATA >> 20))),
            false => Ok(bytes),
        }
    }

    /// Keeps what can be read from a descriptor as a file of the container's state; its path.
    fn keep(&mut self, flag: &str, text: &str, mode: u32) -> Result<PathBuf> {
        let bytes = self.slurp(flag, text)?;
        self.data.push((bytes, mode));
        Ok(self.directory.join((self.data.len() - 1).to_string()))
    }

    /// What follows from all flags together.
    fn finish(&mut self, command: Vec<String>, host: &Host) -> Result<()> {
        if self.shares_network && !self.is_whole {
            return Err(Error::new("--share-net goes only with --unshare-all"));
        }
        if self.shares_network {
            self.namespaces.retain(|kind| *kind != "network");
        }
        let has = |kind: &str| self.namespaces.contains(&kind);
        if self.disables_namespaces && self.capabilities.as_ref().is_some_and(|kept| !kept.is_empty()) {
            return Err(Error::new("--disable-userns goes not with --cap-add")
                .because("who keeps capabilities in the user namespace lifts its limits again"));
        }
        if self.perms.is_some() || self.size.is_some() {
            return Err(Error::new("--perms or --size is followed by nothing that takes it"));
        }
        for (is_given, flag, kind) in [
            (self.uid.is_some(), "--uid", "user"),
            (self.gid.is_some(), "--gid", "user"),
            (self.config.get("hostname").is_some(), "--hostname", "uts"),
            (self.disables_namespaces, "--disable-userns", "user"),
            (self.is_first, "--as-pid-1", "pid"),
            (!self.locks.is_empty(), "--lock-file", "pid"),
        ] {
            if is_given && !has(kind) {
                return Err(Error::new(format!("{flag} requires --unshare-{kind}")));
            }
        }
        // The root is an empty file system in memory, unless the first flag puts something else there.
        let is_root = |mount: &Value| mount["destination"] == "/";
        if !self.config["mounts"].as_array().and_then(|mounts| mounts.first()).is_some_and(is_root) {
            let root = json!({ "destination": "/", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=755"] });
            if let Some(mounts) = self.config["mounts"].as_array_mut() {
                mounts.insert(0, root);
                self.origins.insert(0, "the root".to_owned());
            }
            self.layers.iter_mut().for_each(|(index, _)| *index += 1);
        }
        if !self.namespaces.contains(&"pid") {
            // The caller's shows the same processes, and who is no root in its pid namespace mounts none.
            for mount in
                self.config["mounts"].as_array_mut().into_iter().flatten().filter(|mount| mount["type"] == "proc")
            {
                let destination = mount["destination"].as_str().unwrap_or_default().to_owned();
                *mount = bind(Path::new("/proc"), &destination, "--bind", None);
            }
        }
        let namespaces: Vec<_> = self.namespaces.iter().map(|kind| json!({ "type": kind })).collect();
        let (uid, gid) = (self.uid.unwrap_or(host.uid), self.gid.unwrap_or(host.gid));
        let cwd = self.cwd();
        let linux = &mut self.config["linux"];
        linux["namespaces"] = json!(namespaces);
        if self.namespaces.contains(&"user") {
            linux["uidMappings"] = json!([{ "containerID": uid, "hostID": host.uid, "size": 1 }]);
            linux["gidMappings"] = json!([{ "containerID": gid, "hostID": host.gid, "size": 1 }]);
        }
        if self.disables_namespaces {
            linux["sysctl"] = json!({ "user.max_user_namespaces": "0" });
        }
        // As bubblewrap has them: where the caller could write to them.
        if host.uid == 0 {
            linux["readonlyPaths"] = json!(["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"]);
        }
        if self.namespaces.contains(&"pid") && !self.is_first {
            self.config["annotations"]["org.rootlet.init"] = json!("true");
        }
        if !self.locks.is_empty() {
            self.config["annotations"]["org.rootlet.lock-files"] = json!(self.locks.join(":"));
        }
        if !self.filters.is_empty() {
            self.config["annotations"]["run.oci.seccomp_bpf_data"] = json!(self.filters.join(","));
        }
        let keeps_all = !host.is_ordinary_user() && !self.namespaces.contains(&"user");
        let own = creds::effective_capabilities().unwrap_or(0);
        let all = crate::capability::NAMES.iter().enumerate().filter(|(bit, _)| keeps_all && own & 1 << bit != 0);
        let all: Vec<_> = all.map(|(_, name)| format!("CAP_{name}")).collect();
        let kept = self.capabilities.clone().unwrap_or(all);
        let has_terminal = self.has_terminal
            && !self.is_new_session
            && tty::is_terminal(tty::standard_input())
            && tty::is_terminal(tty::standard_output())
            && tty::is_in_foreground(tty::standard_input());
        self.environment.retain(|(name, _)| name != "PWD");
        self.environment.push(("PWD".to_owned(), cwd.clone()));
        // Whoever is not root loses them at execve otherwise.
        let passed = if uid == 0 { &[][..] } else { &kept[..] };
        let process = &mut self.config["process"];
        process["user"] = json!({ "uid": uid, "gid": gid, "umask": creds::umask() });
        process["capabilities"] =
            json!({ "bounding": kept, "effective": kept, "permitted": kept, "inheritable": passed, "ambient": passed });
        process["env"] = self.environment.iter().map(|(name, value)| json!(format!("{name}={value}"))).collect();
        process["cwd"] = json!(cwd);
        process["terminal"] = json!(has_terminal);
        process["args"] = json!(command);
        Ok(())
    }

    /// Where the command begins: where it is told to, or where the caller is, if the sandbox has that, or at home.
    fn cwd(&self) -> String {
        if let Some(chosen) = &self.chdir {
            return chosen.clone();
        }
        let current = std::env::current_dir().ok().and_then(|path| path.to_str().map(str::to_owned));
        let home = self.environment.iter().find(|(name, _)| name == "HOME").map(|(_, home)| home.clone());
        current.into_iter().chain(home).find(|path| self.shows(path)).unwrap_or_else(|| "/".to_owned())
    }

    /// Whether a directory is there, as far as binds tell.
    fn shows(&self, path: &str) -> bool {
        let mounts = self.config["mounts"].as_array().map_or(&[][..], Vec::as_slice);
        let covering = mounts.iter().rev().find_map(|mount| {
            let rest = Path::new(path).strip_prefix(mount["destination"].as_str()?).ok()?;
            Some((mount, rest))
        });
        let Some((mount, rest)) = covering else { return false };
        let source = match mount["type"].as_str() {
            Some("none") => mount["source"].as_str().map(PathBuf::from),
            _ => return rest.as_os_str().is_empty(),
        };
        let is_open = |path: PathBuf| {
            let path = std::ffi::CString::new(path.into_os_string().into_encoded_bytes()).unwrap_or_default();
            fd::may_search(&path)
        };
        source.is_some_and(|source| source.join(rest).is_dir() && is_open(source.join(rest)))
    }

    /// How many descriptors from 3 on the sandbox inherits: all that the caller has left open, but for those that were for rootlet.
    fn preserved(&self) -> Result<u32> {
        for number in &self.consumed {
            if *number > 2 {
                fd::close_on_execve(*number)
                    .map_err(|error| Error::from_call(format!("descriptor {number}"), error))?;
            }
        }
        let failed = |error: std::io::Error| Error::from_io("/proc/self/fd", &error);
        let names = std::fs::read_dir("/proc/self/fd").map_err(failed)?;
        let names = names.map(|entry| entry.map(|entry| entry.file_name())).collect::<std::io::Result<Vec<_>>>();
        let numbers = names.map_err(failed)?.into_iter().filter_map(|name| name.to_str()?.parse::<i32>().ok());
        let highest = numbers.filter(|number| fd::outlives_execve(*number)).max().unwrap_or(2);
        Ok(u32::try_from(highest.saturating_sub(2)).unwrap_or(0))
    }

    /// An error in the words of who wrote flags and no config.
    fn blame(&self, error: Error) -> Error {
        let index =
            error.property.strip_prefix("mounts[").and_then(|rest| rest.split(']').next()?.parse::<usize>().ok());
        match index.and_then(|index| self.origins.get(index)) {
            Some(origin) => {
                let error = error.of_sandbox("--setenv PATH", "--ro-bind");
                let remedy = error.remedy.map(|remedy| {
                    remedy.replace("set root.path instead", "give it before all other flags about files")
                });
                let message = error.message.split_once(": ").map_or(error.message.as_str(), |(_, rest)| rest);
                let message = format!("{origin}: {message}");
                Error { message, remedy, ..error }
            }
            None if error.property == "annotations" && !self.locks.is_empty() && error.errno == Some(Errno::ENOENT) => {
                Error {
                    property: String::new(),
                    message: format!("--lock-file {}: it is not there", self.locks.join(", ")),
                    ..error
                }
            }
            None if error.property == "process.cwd" => {
                let message = error.message.split_once(": ").map_or(error.message.as_str(), |(_, rest)| rest);
                let message =
                    format!("Can't chdir to {}: {message}", self.config["process"]["cwd"].as_str().unwrap_or_default());
                let remedy = Some("name a directory of the sandbox with --chdir, or bind one there".to_owned());
                Error { property: String::new(), message, remedy, ..error }
            }
            None => error.of_sandbox("--setenv PATH", "--ro-bind"),
        }
    }
}

/// More than any file that is handed over by a descriptor has.
const MOST_DATA: u64 = 64 << 20;

fn bind(source: &Path, destination: &str, kind: &str, inode: Option<(u64, u64)>) -> Value {
    let mut options = vec!["rbind".to_owned(), "rnosuid".to_owned()];
    options.extend((kind != "--dev-bind").then(|| "rnodev".to_owned()));
    options.extend((kind == "--ro-bind").then(|| "rro".to_owned()));
    options.extend(inode.map(|(device, inode)| format!("rootlet.inode={device}:{inode}")));
    json!({ "destination": destination, "type": "none", "source": source, "options": options })
}
