//! A bundle, a state directory and a user for one test.

use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// An ordinary user: no name, no subordinate ids.
pub const ORDINARY: u32 = 41_234;

/// Longer than any command takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A place for one test, and who runs rootlet in it.
pub struct Sandbox {
    directory: tempfile::TempDir,
    uid: u32,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    #[track_caller]
    pub fn ok(self) -> Done {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// The error that names all of `words`, with exit code 1.
    #[track_caller]
    pub fn fails(self, words: &[&str]) -> Done {
        assert_eq!(self.code, 1, "{self:?}");
        let errors = self.err.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "exactly one error: {}", self.err);
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

/// Says why a test does not run here; `scripts/test` shows it.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
    if let Some(file) = std::env::var_os("ROOTLET_SKIPPED") {
        use std::io::Write;
        let name = std::thread::current().name().unwrap_or("?").to_owned();
        let mut file = fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "skipped: {name}: {reason}").unwrap();
    }
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Of earlier builds, which no test runs any more.
fn remove_old_copies(place: &Path) {
    let prefix = format!("rootlet-test-{}-", nix::unistd::geteuid());
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let is_old = || Some(entry.metadata().ok()?.modified().ok()?.elapsed().ok()? > Duration::from_secs(3600));
        if entry.path() != place && entry.file_name().to_string_lossy().starts_with(&prefix) && is_old() == Some(true) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The binary, where every user can execute it and only root can write it: the one that was built, or that of $ROOTLET_BINARY,
/// such as an older one, to see a test fail.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let built = std::env::var_os("ROOTLET_BINARY").unwrap_or(env!("CARGO_BIN_EXE_rootlet").into());
        let stamp =
            fs::metadata(&built).unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let place = std::env::temp_dir().join(format!("rootlet-test-{}-{stamp}", nix::unistd::geteuid()));
        if !place.exists() {
            let draft = place.with_extension(std::process::id().to_string());
            fs::copy(&built, &draft).unwrap();
            fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
            fs::rename(draft, &place).unwrap();
            remove_old_copies(&place);
        }
        place
    })
}

impl Sandbox {
    /// For an ordinary user, with the config of `rootlet spec --rootless` (as `rootlet spec` alone, but not for runc) and a busybox root.
    pub fn ordinary() -> Sandbox {
        let uid = if is_root() { ORDINARY } else { nix::unistd::geteuid().as_raw() };
        Sandbox::new(uid, &["spec", "--rootless"])
    }

    /// For another ordinary user, whose quotas are nobody else's.
    pub fn stranger() -> Sandbox {
        Sandbox::new(ORDINARY + 1, &["spec", "--rootless"])
    }

    /// For a user who is there already.
    pub fn of(uid: u32) -> Sandbox {
        Sandbox::new(uid, &["spec", "--rootless"])
    }

    /// For root, with the config of `rootlet spec --rootless=false`; `None` (and a reason) for others.
    pub fn root() -> Option<Sandbox> {
        if !is_root() {
            skip("needs root");
            return None;
        }
        Some(Sandbox::new(0, &["spec", "--rootless=false"]))
    }

    /// For root, with a user namespace that maps its root to uid 100000.
    pub fn remapped() -> Option<Sandbox> {
        let sandbox = Sandbox::root()?;
        let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        sandbox.edit(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            config["linux"]["uidMappings"] = mapping.clone();
            config["linux"]["gidMappings"] = mapping.clone();
        });
        give(&sandbox.rootfs(), 100_000);
        Some(sandbox)
    }

    /// An empty directory.
    pub fn empty(uid: u32) -> Sandbox {
        let directory = tempfile::Builder::new().prefix("rootlet-test.").tempdir().unwrap();
        let sandbox = Sandbox { directory, uid };
        fs::set_permissions(sandbox.path(), fs::Permissions::from_mode(0o755)).unwrap();
        sandbox.own(sandbox.path());
        sandbox.mkdir("xdg", 0o700);
        sandbox
    }

    fn new(uid: u32, spec: &[&str]) -> Sandbox {
        let sandbox = Sandbox::empty(uid);
        for place in ["bundle", "bundle/rootfs", "bundle/rootfs/bin", "bundle/rootfs/etc", "bundle/rootfs/tmp"] {
            sandbox.mkdir(place, 0o755);
        }
        for place in ["proc", "dev", "sys", "root", "data"] {
            sandbox.mkdir(&format!("bundle/rootfs/{place}"), 0o755);
        }
        let busybox = sandbox.rootfs().join("bin/busybox");
        fs::copy("/bin/busybox", &busybox).expect("/bin/busybox is missing: install busybox-static");
        for applet in
            "cat chmod cut date dd echo env false grep head hostname id ip kill ln ls mkdir mkfifo mknod mount \
            nice nproc ps readlink rm sh sleep sort stat stty test touch tr true tty umount uname unshare wc"
                .split_whitespace()
        {
            symlink("busybox", sandbox.rootfs().join("bin").join(applet)).unwrap();
        }
        fs::write(
            sandbox.rootfs().join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
        )
        .unwrap();
        sandbox.command(spec).current_dir(sandbox.bundle()).status().unwrap();
        sandbox.edit(|config| config["process"]["terminal"] = json!(false));
        sandbox
    }

    fn own(&self, path: &Path) {
        if is_root() {
            chown(path, Some(self.uid), Some(self.uid)).unwrap();
        }
    }

    pub fn mkdir(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self.own(&path);
        path
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        // Whatever the caller's umask is, which on Ubuntu leaves it to the group.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        self.own(&path);
        path
    }

    /// An executable script on the host.
    pub fn script(&self, name: &str, text: &str) -> String {
        let path = self.write(name, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Who owns its containers, as `list` says it.
    pub fn owner(&self) -> String {
        let user = nix::unistd::User::from_uid(self.uid.into()).unwrap();
        user.map_or_else(|| format!("#{}", self.uid), |user| user.name)
    }

    pub fn bundle(&self) -> PathBuf {
        self.path().join("bundle")
    }

    pub fn rootfs(&self) -> PathBuf {
        self.bundle().join("rootfs")
    }

    /// Where states are by default.
    pub fn states(&self) -> PathBuf {
        self.path().join("xdg/rootlet")
    }

    pub fn config(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.bundle().join("config.json")).unwrap()).unwrap()
    }

    pub fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut config = self.config();
        change(&mut config);
        self.write("bundle/config.json", &config.to_string());
    }

    /// Makes the container's program a shell script.
    pub fn sh(&self, script: &str) -> &Sandbox {
        self.edit(|config| config["process"]["args"] = json!(["sh", "-c", script]));
        self
    }

    pub fn add_mount(&self, mount: Value) {
        self.edit(|config| config["mounts"].as_array_mut().unwrap().push(mount));
    }

    /// rootlet, as the sandbox's user and with nothing of the caller's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.program(binary(), arguments)
    }

    /// Any program as the sandbox's user.
    pub fn program(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("XDG_RUNTIME_DIR", self.path().join("xdg"));
        command.current_dir(self.path()).stdin(Stdio::null());
        if is_root() && self.uid != 0 {
            command.uid(self.uid).gid(self.uid);
        }
        command
    }

    /// Runs rootlet to its end.
    pub fn rootlet(&self, arguments: &[&str]) -> Done {
        finish(self.command(arguments))
    }

    /// A command about a bundle, with the sandbox's behind it; flags may stand before it.
    pub fn command_on_bundle(&self, arguments: &[&str]) -> Command {
        let bundle = self.bundle();
        let verb =
            arguments.iter().position(|word| ["run", "create", "restore", "plan", "spec"].contains(word)).unwrap();
        let (before, after) = arguments.split_at(verb + 1);
        self.command(&[before, &["-b", bundle.to_str().unwrap()], after].concat())
    }

    /// Runs such a command to its end.
    pub fn on_bundle(&self, arguments: &[&str]) -> Done {
        finish(self.command_on_bundle(arguments))
    }

    /// Creates the bundle's container, which waits for its start.
    #[track_caller]
    pub fn create(&self) {
        self.on_bundle(&["create", "box"]).ok();
    }

    /// Runs the bundle's container in the foreground.
    pub fn run(&self) -> Done {
        self.run_with(&[])
    }

    /// As [`Sandbox::run`], with flags before the subcommand.
    pub fn run_with(&self, flags: &[&str]) -> Done {
        self.on_bundle(&[flags, &["run", "box"]].concat())
    }

    /// Starts the bundle's container, which goes on by itself.
    #[track_caller]
    pub fn start(&self) {
        self.on_bundle(&["run", "-d", "box"]).ok();
    }

    /// Starts a foreground run whose program says `ready`, and returns when it has.
    pub fn run_until_ready(&self) -> Child {
        let mut command = self.command_on_bundle(&["run", "box"]);
        let mut run = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        run.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        run
    }

    /// What a script prints in the container.
    #[track_caller]
    pub fn output(&self, script: &str) -> String {
        self.sh(script);
        self.run().ok().out
    }

    /// Status of a container, by `state`.
    #[track_caller]
    pub fn status(&self, id: &str) -> String {
        let state: Value = serde_json::from_str(&self.rootlet(&["state", id]).ok().out).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }

    /// Asserts that no state and no process is left.
    #[track_caller]
    pub fn assert_clean(&self) {
        let left: Vec<_> = fs::read_dir(self.states())
            .map(|entries| entries.map(|entry| entry.unwrap().file_name()).collect())
            .unwrap_or_default();
        assert!(left.is_empty(), "states are left: {left:?}");
        let processes = self.processes();
        assert!(processes.is_empty(), "processes are left: {processes:?}");
    }

    /// Ends what a command has left behind that failed its test.
    pub fn end_processes(&self) {
        for pid in self.pids() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
        }
        eventually("they have ended", || self.pids().is_empty());
    }

    /// Processes whose root or current directory is in this sandbox: what a container would leave behind.
    pub fn processes(&self) -> Vec<String> {
        let text = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        self.pids().into_iter().map(|pid| text(pid).replace('\0', " ")).collect()
    }

    fn pids(&self) -> Vec<i32> {
        // Where it is a mount's, as of /tmp, the path in that begins behind it.
        let own = format!("/{}", self.path().file_name().unwrap().to_str().unwrap());
        let is_own = |line: &str| line.split(' ').nth(3).is_some_and(|root| root.contains(&own));
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let mounts = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        pids.filter(|pid| mounts(pid).lines().any(is_own)).collect()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let ids = self
            .command(&["list", "-q"])
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        for id in ids.lines() {
            let _ = self.command(&["delete", "--force", id]).output();
        }
    }
}

/// Runs a command to its end; it may not take longer than the test's patience. It writes to files, because a container
/// that it leaves behind would keep a pipe open.
#[track_caller]
pub fn finish(command: Command) -> Done {
    finish_by(command, wait)
}

/// As [`finish`], with another way to wait for the exit code.
#[track_caller]
pub fn finish_by(mut command: Command, wait: impl FnOnce(&mut Child) -> i32) -> Done {
    let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    let mut child = loop {
        match command.spawn() {
            // Another test's fork has a copy of the binary open for writing, for a moment.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(5))
            }
            other => break other.unwrap(),
        }
    };
    let code = wait(&mut child);
    Done { code, out: read(&mut out), err: read(&mut err) }
}

fn read(file: &mut fs::File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The exit code of a child, or 128 + its signal.
#[track_caller]
pub fn wait(child: &mut Child) -> i32 {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("a command hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until something is true.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Gives a tree to a user.
fn give(place: &Path, uid: u32) {
    std::os::unix::fs::lchown(place, Some(uid), Some(uid)).unwrap();
    if place.symlink_metadata().unwrap().is_dir() {
        fs::read_dir(place).unwrap().for_each(|entry| give(&entry.unwrap().path(), uid));
    }
}
