//! Units of a user's systemd, as the examples have them. They need the virtual machine of `scripts/vm`.

use crate::cgroups::in_guest;
use crate::sandbox::{Done, Sandbox, binary, eventually, finish};
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Once;

const HOME: &str = "/home/dev";

/// A user's unit, and the bundle that it runs.
struct Unit {
    name: &'static str,
    user: Sandbox,
}

impl Unit {
    /// Installs a unit of the examples; its bundle has this machine's files and runs a script.
    fn install(name: &'static str, files: &[(&str, &str)], script: &str) -> Unit {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            // Nobody needs root for it.
            let directory = Path::new(HOME).join(".local/bin");
            fs::create_dir_all(&directory).unwrap();
            fs::copy(binary(), directory.join("rootlet")).unwrap();
        });
        let unit = Unit { name, user: Sandbox::of(1000) };
        let units = PathBuf::from(HOME).join(".config/systemd/user");
        finish(unit.user.program("mkdir".as_ref(), &["-p", units.to_str().unwrap(), unit.bundle().to_str().unwrap()]))
            .ok();
        for (file, text) in files {
            fs::write(units.join(file), text).unwrap();
        }
        let bundle = unit.bundle();
        let spec = ["spec", "--host", "--no-tty", "-b", bundle.to_str().unwrap(), "--args", "bash", "-c", script];
        unit.user.rootlet(&spec).ok();
        unit.systemctl(&["daemon-reload"]).ok();
        unit
    }

    fn bundle(&self) -> PathBuf {
        Path::new(HOME).join(self.name)
    }

    fn systemctl(&self, arguments: &[&str]) -> Done {
        let mut command = self.user.program("systemctl".as_ref(), &[&["--user"], arguments].concat());
        command.env("XDG_RUNTIME_DIR", "/run/user/1000");
        finish(command)
    }

    fn rootlet(&self, arguments: &[&str]) -> Done {
        let mut command = self.user.command(arguments);
        command.env("XDG_RUNTIME_DIR", "/run/user/1000");
        finish(command)
    }

    fn shows(&self, property: &str) -> String {
        self.systemctl(&["show", "-P", property, self.name]).ok().out.trim().to_owned()
    }

    /// The container's first process.
    fn pid(&self) -> String {
        let state = self.rootlet(&["state", self.name]).ok().out;
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        state["pid"].to_string()
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        for suffix in ["socket", "service"] {
            self.systemctl(&["stop", &format!("{}.{suffix}", self.name)]);
            let _ = fs::remove_file(format!("{HOME}/.config/systemd/user/{}.{suffix}", self.name));
        }
        let _ = fs::remove_dir_all(self.bundle());
    }
}

#[test]
fn a_forking_unit_is_started_restarted_and_stopped() {
    if !in_guest() {
        return;
    }
    let text = include_str!("../../examples/systemd/box.service");
    let script = "trap 'exit 1' USR1; echo ready; while :; do sleep 0.1; done";
    let unit = Unit::install("box", &[("box.service", text)], script);
    unit.systemctl(&["start", "box"]).ok();
    assert_eq!(unit.shows("ActiveState"), "active");
    let first = unit.shows("MainPID");
    assert_eq!(first, unit.pid());
    assert!(fs::read_to_string(format!("/proc/{first}/cgroup")).unwrap().contains("/box.service/"));
    eventually("it has its trap", || unit.rootlet(&["ps", "box"]).out.contains("sleep"));
    // A failure is seen at once, and it is started again under its name.
    unit.rootlet(&["kill", "box", "USR1"]).ok();
    eventually("it is restarted", || unit.shows("NRestarts") == "1" && unit.shows("ActiveState") == "active");
    assert!(unit.shows("MainPID") != first && unit.shows("MainPID") == unit.pid());
    unit.systemctl(&["stop", "box"]).ok();
    assert_eq!((unit.shows("ActiveState").as_str(), unit.shows("Result").as_str()), ("inactive", "success"));
    assert_eq!(unit.rootlet(&["state", unit.name]).code, 1, "it is deleted");
}

#[test]
fn a_unit_is_active_when_its_program_is_ready() {
    if !in_guest() {
        return;
    }
    let text = include_str!("../../examples/systemd/box-notify.service");
    let script =
        "trap 'exit 0' TERM; sleep 2; systemd-notify --ready --status='waits for work'; while :; do sleep 0.1; done";
    let unit = Unit::install("box-notify", &[("box-notify.service", text)], script);
    unit.systemctl(&["start", "--no-block", "box-notify"]).ok();
    eventually("it runs", || unit.rootlet(&["state", "box-notify"]).out.contains("running"));
    assert_eq!(unit.shows("ActiveState"), "activating");
    eventually("it is ready", || unit.shows("ActiveState") == "active");
    assert_eq!(unit.shows("StatusText"), "waits for work");
    unit.systemctl(&["stop", "box-notify"]).ok();
    assert_eq!(unit.shows("Result"), "success");
    assert_eq!(unit.rootlet(&["state", unit.name]).code, 1, "it is deleted");

    // In the background, the program becomes the unit's main process when it is ready.
    let text = text
        .replace("rootlet run box-notify", "rootlet run -d box-notify")
        .replace("TimeoutStopSec=5", "ExecStopPost=rootlet delete -f box-notify");
    fs::write(format!("{HOME}/.config/systemd/user/box-notify.service"), text).unwrap();
    unit.systemctl(&["daemon-reload"]).ok();
    unit.systemctl(&["start", "box-notify"]).ok();
    assert_eq!((unit.shows("ActiveState"), unit.shows("MainPID")), ("active".to_owned(), unit.pid()));
    unit.systemctl(&["stop", "box-notify"]).ok();
    assert_eq!(unit.rootlet(&["state", unit.name]).code, 1, "it is deleted");
}

#[test]
fn a_socket_is_handed_to_the_program() {
    if !in_guest() {
        return;
    }
    let files = [
        ("box-socket.service", include_str!("../../examples/systemd/box-socket.service")),
        ("box-socket.socket", include_str!("../../examples/systemd/box-socket.socket")),
    ];
    let script = "exec perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new_from_fd(3, \"r+\"); \
                  $c = $s->accept; print $c \"$ENV{LISTEN_FDS} $ENV{LISTEN_PID} $$\\n\"'";
    let unit = Unit::install("box-socket", &files, script);
    unit.systemctl(&["start", "box-socket.socket"]).ok();
    assert_eq!(unit.shows("ActiveState"), "inactive");
    let mut answer = String::new();
    UnixStream::connect("/run/user/1000/box-socket.sock").unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "1 1 1\n");
}

#[test]
fn a_program_that_is_never_ready_may_end() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo $NOTIFY_SOCKET; ls /run/notify; exit 3");
    let manager = sandbox.path().join("xdg/manager");
    let socket = std::os::unix::net::UnixDatagram::bind(&manager).unwrap();
    fs::set_permissions(&manager, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let bundle = sandbox.bundle();
    let run = |flags: &[&str], address: &Path| {
        let common = ["run", "-b", bundle.to_str().unwrap(), "box"];
        let mut command = sandbox.command(&[&common[..3], flags, &common[3..]].concat());
        command.env("NOTIFY_SOCKET", address);
        finish(command)
    };
    // As with runc, that is the manager's to judge.
    run(&["-d"], &manager).ok();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    sandbox.rootlet(&["delete", "box"]).ok();
    let done = run(&[], &manager);
    assert_eq!((done.code, done.out.as_str()), (3, "/run/notify/notify.sock\nnotify.sock\n"), "{done:?}");
    // An empty one is none.
    assert_eq!(run(&[], Path::new("")).out, "\n");
    sandbox.assert_clean();
    drop(socket);
}
