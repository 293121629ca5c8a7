//! Terminals: interactive shells, relays, console sockets. The caller's terminal comes from script(1) or tmux.

use crate::sandbox::{Sandbox, binary, eventually, skip};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::json;
use std::fs;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

fn interactive() -> Sandbox {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["terminal"] = json!(true));
    sandbox
}

/// Runs the container under a pty of script(1), types `input`, and returns all that was shown.
fn under_script(sandbox: &Sandbox, input: &str) -> (i32, String) {
    let run = format!(
        "{} run -b {} box; code=$?; stty -a | grep -o -E -e '-?icanon|-?echo ' | tr -d '\\n'; exit $code",
        binary().display(),
        sandbox.bundle().display()
    );
    let mut command = sandbox.program("/usr/bin/script".as_ref(), &["-q", "-e", "-c", &run, "/dev/null"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut typed = child.stdin.take().unwrap();
    typed.write_all(input.as_bytes()).unwrap();
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    drop(typed);
    (child.wait().unwrap().code().unwrap(), shown)
}

#[test]
fn a_shell_is_interactive_and_the_terminal_is_restored() {
    let sandbox = interactive();
    sandbox.edit(|config| config["process"]["args"] = json!(["sh"]));
    let (code, shown) = under_script(
        &sandbox,
        "tty; readlink /proc/self/fd/0; test -t 0 && echo is-a-tty; stat -c %t:%T /dev/console; exit 7\n",
    );
    assert_eq!(code, 7, "{shown}");
    assert!(shown.contains("/dev/pts/0") && shown.contains("is-a-tty"), "{shown}");
    assert!(shown.contains("88:0"), "/dev/console is the pty: {shown}");
    assert!(shown.ends_with("icanonecho ") || shown.ends_with("icanonecho"), "raw mode is left: {shown}");
    sandbox.assert_clean();
}

#[test]
fn the_interrupt_character_goes_inside() {
    let sandbox = interactive();
    sandbox.sh("trap 'echo interrupted; exit 3' INT; echo waiting; while :; do sleep 0.1; done");
    let run = format!("{} run -b {} box", binary().display(), sandbox.bundle().display());
    let mut command = sandbox.program("/usr/bin/script".as_ref(), &["-q", "-e", "-c", &run, "/dev/null"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut typed = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut shown = String::new();
    while !shown.contains("waiting") {
        let mut byte = [0; 64];
        let length = output.read(&mut byte).unwrap();
        assert_ne!(length, 0, "{shown}");
        shown.push_str(&String::from_utf8_lossy(&byte[..length]));
    }
    typed.write_all(b"\x03").unwrap();
    output.read_to_string(&mut shown).unwrap();
    assert!(shown.contains("interrupted"), "{shown}");
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_terminal_that_goes_away_ends_the_container() {
    if Command::new("tmux").arg("-V").output().is_err() {
        return skip("tmux is not installed");
    }
    let sandbox = interactive();
    sandbox.edit(|config| config["process"]["args"] = json!(["cat"]));
    let tmux = Tmux::start(&sandbox);
    eventually("it runs", || sandbox.rootlet(&["list"]).out.contains("running"));
    tmux.call(&["kill-server"]);
    eventually("it is gone", || sandbox.rootlet(&["list", "-q"]).out.is_empty());
    sandbox.assert_clean();
}

#[test]
fn without_a_terminal_the_error_says_what_to_change() {
    let sandbox = interactive();
    sandbox.run().fails(&[
        "process.terminal",
        "standard input is not a terminal",
        "--console-socket",
        "set process.terminal to false",
    ]);
    sandbox
        .on_bundle(&["run", "-d", "box"])
        .fails(&["cannot allocate tty if rootlet will detach without setting console socket"]);
    sandbox.assert_clean();
}

#[test]
fn a_config_without_devpts_says_what_to_add() {
    let sandbox = interactive();
    sandbox.edit(|config| config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev/pts"));
    let (code, shown) = under_script(&sandbox, "");
    assert!(code == 1 && shown.contains("none is mounted on /dev/pts"), "{shown}");
}

/// Receives the master that a console socket gets.
pub fn receive_master(listener: &UnixListener) -> fs::File {
    let stream = listener.accept().unwrap().0;
    let mut name = [0; 64];
    let mut parts = [IoSliceMut::new(&mut name)];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).unwrap();
    let Some(ControlMessageOwned::ScmRights(fds)) = message.cmsgs().unwrap().next() else {
        panic!("no descriptor came")
    };
    assert_eq!(fds.len(), 1);
    // SAFETY: the descriptor has just been received and belongs to nobody else.
    fs::File::from(unsafe { OwnedFd::from_raw_fd(fds[0]) })
}

#[test]
fn a_console_socket_gets_the_master() {
    let sandbox = interactive();
    sandbox.sh("read line; echo got $line; stty size");
    sandbox.edit(|config| config["process"]["consoleSize"] = json!({"height": 33, "width": 111}));
    let path = sandbox.path().join("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    sandbox.on_bundle(&["create", "--console-socket", path.to_str().unwrap(), "box"]).ok();
    let mut master = receive_master(&listener);
    sandbox.rootlet(&["start", "box"]).ok();
    master.write_all(b"hello\n").unwrap();
    let mut shown = Vec::new();
    let mut buffer = [0; 256];
    // At the end of the last slave, a pty's master fails with EIO.
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..length]);
    }
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(shown.contains("got hello") && shown.contains("33 111"), "{shown}");
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.sh("true");
    sandbox.edit(|config| config["process"]["terminal"] = json!(false));
    sandbox
        .on_bundle(&["create", "--console-socket", path.to_str().unwrap(), "box"])
        .fails(&["process.terminal", "no terminal"]);
    sandbox.assert_clean();
}

/// A tmux server of the test's own.
struct Tmux(std::path::PathBuf);

impl Tmux {
    /// A session of 100x30 that runs the sandbox's container.
    fn start(sandbox: &Sandbox) -> Tmux {
        Tmux::run(sandbox, &format!("exec {} run -b {} box", binary().display(), sandbox.bundle().display()))
    }

    /// One that runs a script.
    fn run(sandbox: &Sandbox, script: &str) -> Tmux {
        let tmux = Tmux(sandbox.path().join("tmux.sock"));
        let script = sandbox.script("run", script);
        let xdg = format!("XDG_RUNTIME_DIR={}", sandbox.path().join("xdg").display());
        let become_user = format!("setpriv --reuid {0} --regid {0} --clear-groups env {xdg} {script}", sandbox.uid());
        let command = if crate::sandbox::is_root() { become_user } else { format!("env {xdg} {script}") };
        tmux.call(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", &command]);
        tmux
    }

    fn call(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(&self.0).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn type_line(&self, line: &str) {
        self.call(&["send-keys", line, "Enter"]);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }

    fn shows(&self, text: &str) -> bool {
        self.call(&["capture-pane", "-p"]).contains(text)
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.call(&["kill-server"]);
    }
}

#[test]
fn in_tmux_the_window_size_follows_and_jobs_are_controlled() {
    if Command::new("tmux").arg("-V").output().is_err() {
        return skip("tmux is not installed");
    }
    let sandbox = interactive();
    sandbox.edit(|config| config["process"]["args"] = json!(["sh"]));
    let tmux = Tmux::start(&sandbox);
    eventually("a prompt", || tmux.shows("#"));
    tmux.type_line("stty size");
    eventually("the size", || tmux.shows("30 100"));
    tmux.call(&["resize-window", "-x", "77", "-y", "22"]);
    eventually("the new size", || {
        tmux.type_line("stty size");
        tmux.shows("22 77")
    });
    tmux.type_line("sleep 1000");
    eventually("the job is stopped", || {
        // A shell that has not begun it yet does not care.
        tmux.call(&["send-keys", "C-z"]);
        tmux.type_line("jobs");
        tmux.shows("Stopped")
    });
    tmux.type_line("kill -9 %1; wait");
    eventually("the session ends", || {
        tmux.type_line("exit");
        tmux.call(&["list-sessions"]).is_empty()
    });
    sandbox.assert_clean();
}

#[test]
fn in_the_background_a_run_waits_for_its_terminal() {
    if Command::new("tmux").arg("-V").output().is_err() {
        return skip("tmux is not installed");
    }
    let sandbox = interactive();
    let tmux = Tmux::run(&sandbox, "exec bash --norc --noprofile -i");
    eventually("a prompt", || tmux.shows("$"));
    tmux.type_line(&format!("{} run -b {} box &", binary().display(), sandbox.bundle().display()));
    tmux.type_line("echo typed at the shell");
    eventually("the shell has it", || tmux.shows("\ntyped at the shell"));
    tmux.type_line("fg");
    std::thread::sleep(std::time::Duration::from_millis(500));
    tmux.type_line("echo pid $$ in the container");
    eventually("the container's shell has it", || tmux.shows("\npid 1 in the container"));
    assert_eq!(sandbox.status("box"), "running");
    tmux.type_line("exit 3");
    eventually("the shell is back", || {
        tmux.type_line("echo code $?; stty -a | grep -o ' icanon'");
        tmux.shows(" icanon")
    });
    tmux.type_line("exit");
    eventually("all is over", || sandbox.processes().is_empty());
    sandbox.assert_clean();
}
