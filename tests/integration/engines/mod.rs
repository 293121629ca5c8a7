//! Engines that drive rootlet as they drive runc, in their versions of Debian. They need the engines' guest of `scripts/vm`,
//! which `scripts/test --engines` runs them in; each test leaves a row for the README's table.

mod beside;
mod buildah;
mod conmon;
mod containerd;
mod docker;
mod nested;
mod podman;

use crate::sandbox::{Done, finish, is_root, skip};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Where the examples' configurations look for rootlet.
const INSTALLED: &str = "/usr/local/bin/rootlet";

/// True where the engines are installed and may be used; elsewhere the reason is noted.
pub fn have_engines() -> bool {
    // The static binary, as it is installed.
    let Some(built) = std::env::var_os("ROOTLET_ENGINES").filter(|_| is_root()) else {
        skip("needs engines: scripts/test --engines");
        return false;
    };
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| assert!(fs::copy(built, INSTALLED).is_ok()));
    true
}

/// What became of it.
#[derive(Clone, Copy)]
pub enum Outcome {
    Works,
    Fails,
    /// As with the engine's own runtime.
    As(&'static str),
}

/// A row of the table of what was run; it says how that went when it goes.
pub struct Row {
    engine: String,
    what: &'static str,
    pub outcome: Outcome,
}

impl Row {
    /// `engine`: a program that knows its version; `who`: for whom it worked.
    pub fn new(engine: &str, who: &str, what: &'static str) -> Row {
        let said = finish({
            let mut command = Command::new(engine);
            command.arg("--version");
            command
        });
        let is_version = |word: &&str| word.chars().next().is_some_and(|letter| letter.is_ascii_digit());
        let version = said.out.split([' ', ',', '\n']).find(is_version).unwrap_or("?").to_owned();
        let version = version.split(['~', '+']).next().unwrap_or_default();
        Row { engine: format!("{engine} {version} | {who}"), what, outcome: Outcome::Works }
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let Some(path) = std::env::var_os("ROOTLET_COMPATIBILITY") else { return };
        let result = match self.outcome {
            _ if std::thread::panicking() => "FAILS".to_owned(),
            Outcome::Works => "works".to_owned(),
            Outcome::Fails => "FAILS".to_owned(),
            Outcome::As(peer) => format!("as {peer} (fails, too)"),
        };
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "| {} | {} | {result} |", self.engine, self.what).unwrap();
    }
}

/// Who calls an engine: root, or the guest's user, through a login.
#[derive(Clone, Copy, PartialEq)]
pub enum Caller {
    Root,
    User,
}

impl Caller {
    pub fn name(self) -> &'static str {
        match self {
            Caller::Root => "rootful",
            Caller::User => "rootless",
        }
    }

    pub fn home(self) -> &'static Path {
        Path::new(match self {
            Caller::Root => "/root",
            Caller::User => "/home/dev",
        })
    }

    /// Runs a shell script in the caller's home.
    pub fn shell(self, script: &str) -> Done {
        let mut command = match self {
            Caller::Root => Command::new("/bin/bash"),
            Caller::User => {
                let mut command = Command::new("su");
                command.args(["-l", "dev", "-s", "/bin/bash"]);
                command
            }
        };
        command.args(["-c", script]).env_clear().env("HOME", self.home()).stdin(Stdio::null());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.current_dir(self.home());
        finish(command)
    }

    /// A file in the caller's home.
    pub fn write(self, name: &str, text: &str) {
        let path = self.home().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        if self == Caller::User {
            std::os::unix::fs::chown(&path, Some(1000), Some(1000)).unwrap();
        }
    }
}

/// An archive with a busybox root file system.
pub fn archive() -> &'static str {
    static ARCHIVE: OnceLock<&str> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let script = "
            set -e
            root=$(mktemp -d)
            chmod 755 $root
            mkdir -p $root/bin $root/etc $root/tmp $root/usr $root/root
            cp /bin/busybox $root/bin/
            for applet in $(busybox --list | grep -vx busybox); do ln -s busybox $root/bin/$applet; done
            printf 'root:x:0:0:root:/root:/bin/sh\\nuser:x:1000:1000::/home/user:/bin/sh\\n' >$root/etc/passwd
            printf 'root:x:0:\\nuser:x:1000:\\nextra:x:2000:user\\n' >$root/etc/group
            tar --owner=0 --group=0 -C $root -cf /tmp/busybox.tar .
            rm -rf $root";
        Caller::Root.shell(script).ok();
        "/tmp/busybox.tar"
    })
}

/// What is shown under a pty after typing.
pub fn under_a_pty(caller: Caller, command: &str, typed: &str) -> Done {
    let script = format!("(sleep 2; printf '{typed}'; sleep 5) | script -qec '{command}' /dev/null");
    caller.shell(&script)
}
