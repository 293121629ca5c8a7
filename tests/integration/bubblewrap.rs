//! bubblewrap's command line, by the name `bwrap`; and where bubblewrap itself is installed, it is the oracle.

use crate::sandbox::{self, Done, Sandbox, binary, eventually, skip};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The host's programs, as callers of bubblewrap show them.
const HOST: &str = "--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
                    --symlink usr/sbin /sbin --proc /proc --dev /dev";

struct User {
    sandbox: Sandbox,
    /// The symlink to rootlet.
    own: PathBuf,
}

impl User {
    fn new() -> User {
        User::of(Sandbox::empty(Sandbox::ordinary().uid()))
    }

    fn of(sandbox: Sandbox) -> User {
        let programs = sandbox.mkdir("bin", 0o755);
        let own = programs.join("bwrap");
        symlink(binary(), &own).unwrap();
        sandbox.mkdir("here", 0o755);
        sandbox.write("here/file", "a file\n");
        User { sandbox, own }
    }

    /// A line of shell, in which `bwrap` is a program. $HOST stands for the flags above.
    fn command(&self, program: &Path, line: &str) -> Command {
        let mut command = self.sandbox.program(Path::new("/bin/sh"), &["-c", &line.replace("$HOST", HOST)]);
        let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", program.parent().unwrap().display());
        command.env("PATH", path).current_dir(self.sandbox.path().join("here"));
        command
    }

    fn run(&self, line: &str) -> Done {
        sandbox::finish(self.command(&self.own, line))
    }
}

/// What both must do alike: lines of shell.
const ALIKE: &[&str] = &[
    "bwrap --ro-bind / / id -u",
    "bwrap --ro-bind / / sh -c 'head -c1 /dev/urandom 2>/dev/null | wc -c'",
    "bwrap --bind file /etc/passwd --tmpfs /nothing --ro-bind / / head -1 /etc/passwd",
    "bwrap --bind / / bwrap --ro-bind / / echo nested",
    "bwrap --ro-bind / / --dev /dev --proc /proc --unshare-all bwrap --ro-bind / / --dev /dev --proc /proc --unshare-all echo nested",
    "umask 027; bwrap --bind / / sh -c 'umask; touch made; stat -c %a made; rm made'",
    "bwrap --bind / / --chdir $PWD/nosuch/below true 2>/dev/null; echo $?; ls",
    "bwrap $HOST --perms 0700 --dir /tmp/d/e --perms 0750 --dir /x/y stat -c '%a %n' /tmp /tmp/d /tmp/d/e /x",
    "echo other > ../other; bwrap $HOST --file 3 /f --file 4 /f cat /f 3<file 4<../other",
    "unshare -r bwrap --ro-bind / / --proc /proc id -u",
    "trap '' HUP; bwrap --ro-bind / / sh -c 'sleep 0.5; echo alive' & sleep 0.2; kill -HUP $!; wait $!; echo $?",
    "cd /root 2>/dev/null || cd /var/empty 2>/dev/null; bwrap --ro-bind / / true; echo $?",
    "bwrap $HOST ls / /dev",
    "bwrap --tmpfs / $HOST ls /",
    "bwrap $HOST --unshare-all ls -l /proc/self/fd | wc -l",
    "bwrap $HOST --unshare-pid --tmpfs /tmp --dir /run/user/1 --perms 0700 --dir /secret stat -c '%n %a' /tmp /run /run/user/1 /secret",
    "bwrap $HOST --file 3 /etc/f --ro-bind-data 4 /etc/g cat /etc/f /etc/g 3<file 4<file",
    "bwrap $HOST --perms 0640 --file 3 /f stat -c %a /f 3<file",
    "bwrap $HOST --ro-bind-data 4 /etc/g --perms 0644 --bind-data 5 /etc/h sh -c 'stat -c %a /etc/g /etc/h; echo x > /etc/g; echo y >> /etc/h; cat /etc/h' 4<file 5<file",
    "bwrap --ro-bind / / --ro-bind-data 3 /etc/passwd cat /etc/passwd 3<file",
    "bwrap $HOST --setenv HOME / --setenv A b --unsetenv XDG_RUNTIME_DIR --setenv A c env | grep -v ^_ | grep -v ^PATH | sort",
    "bwrap $HOST --clearenv --setenv HOME /h --setenv A c /usr/bin/env | sort",
    "bwrap --ro-bind / / --bind . \"$PWD\" sh -c 'pwd; echo x > made; ls; rm made'",
    "bwrap --ro-bind / / touch /usr/made 2>/dev/null",
    "bwrap $HOST --unshare-user --uid 77 --gid 88 id",
    "bwrap $HOST --unshare-uts --hostname box uname -n",
    "bwrap $HOST --bind-try /nosuch /x --ro-bind-try /etc/passwd /pw head -1 /pw",
    "bwrap $HOST sh -c 'exit 9'",
    "bwrap $HOST --unshare-pid sh -c 'kill -TERM $$'",
    "bwrap $HOST --unshare-pid sh -c 'kill -SEGV $$'",
    "bwrap $HOST --chdir /usr pwd",
    "bwrap $HOST pwd",
    "HOME=/usr bwrap $HOST pwd",
    "bwrap $HOST --remount-ro / touch /x 2>/dev/null",
    "bwrap $HOST touch /x",
    "bwrap $HOST --dir /a --bind . /a --remount-ro /a touch /a/x 2>/dev/null",
    "bwrap $HOST --unshare-pid --as-pid-1 sh -c 'echo $$'",
    "bwrap $HOST --unshare-pid sh -c 'echo $$'",
    "bwrap $HOST grep -E 'NoNew|Cap' /proc/self/status",
    "bwrap $HOST --unshare-user --cap-add CAP_NET_ADMIN grep -E 'CapEff|CapAmb' /proc/self/status",
    "bwrap $HOST --unshare-user --cap-add ALL --cap-drop CAP_SYS_ADMIN --cap-drop cap_kill sh -c 'grep CapEff /proc/self/status | wc -l'",
    "bwrap $HOST --unshare-all --share-net readlink /proc/self/ns/net",
    "bwrap $HOST --unshare-net ls /sys/class/net 2>/dev/null",
    "bwrap --dev-bind / / sh -c 'echo x >/dev/null && head -c 3 /dev/urandom | wc -c'",
    "bwrap $HOST --perms 0700 --bind . /x true 2>/dev/null",
    "bwrap $HOST --size 4096 --dir /x true 2>/dev/null",
    "bwrap $HOST --dev-bind /dev /dev --tmpfs /usr/share ls /usr/share",
    "bwrap $HOST --ro-bind /dev/null /n cat /n 2>/dev/null",
    "bwrap $HOST --dev-bind /dev/null /n cat /n",
    "bwrap --ro-bind / / --tmpfs /home --symlink /a /home/b readlink /home/b",
    "bwrap $HOST --chmod 0700 /dev stat -c %a /dev",
    "bwrap $HOST --unshare-user --disable-userns unshare -U true 2>/dev/null",
    "bwrap $HOST --json-status-fd 3 true 3>&1 | tail -1",
    "bwrap $HOST --json-status-fd 3 sh -c 'exit 5' 3>&1 | tail -1",
    "bwrap $HOST --info-fd 3 true 3>&1 | grep -o child-pid",
    "bwrap $HOST --unshare-pid --lock-file /usr/bin/env true",
    "bwrap $HOST --proc /proc2 ls /proc2/self/comm",
    "bwrap $HOST --mqueue /q ls -d /q",
    "bwrap $HOST cat /proc/self/fd/7 7<file",
    "bwrap --bind / / --bind . /mnt ls /mnt",
    "bwrap $HOST --size 4096 --tmpfs /t df --output=size /t",
    "bwrap $HOST --block-fd 3 echo after 3</dev/null",
    "printf '%s\\0' $HOST --unshare-pid > args; bwrap --args 9 ls / 9<args; rm args",
    "printf '%s\\0' --dir /from-args > args; bwrap $HOST --args 9 --dir /later ls / 9<args; rm args",
    // What is wrong is wrong for both.
    "bwrap 2>/dev/null",
    "bwrap --foo 2>/dev/null",
    "bwrap --bind / 2>/dev/null",
    "bwrap $HOST nosuch 2>/dev/null",
    "bwrap --ro-bind /nosuch / true 2>/dev/null",
    "bwrap $HOST --uid 5x true 2>/dev/null",
    "bwrap $HOST --uid 5 true 2>/dev/null",
    "bwrap $HOST --hostname x true 2>/dev/null",
    "bwrap $HOST --share-net true >/dev/null 2>&1 || :",
    "bwrap $HOST --perms 9 --dir /x true 2>/dev/null",
    "bwrap $HOST --seccomp 3 true 2>/dev/null 3<file",
    "bwrap $HOST --file 77 /x true 2>/dev/null",
    "bwrap $HOST --file 3 /usr/bin/env true 2>/dev/null 3<file",
];

#[test]
fn flags_mean_what_they_mean_to_bubblewrap() {
    let Some(theirs) = ["/usr/bin/bwrap", "/bin/bwrap"].map(Path::new).into_iter().find(|path| path.is_file()) else {
        return skip("bubblewrap is not installed");
    };
    let user = User::new();
    if sandbox::finish(user.command(theirs, "bwrap --ro-bind / / true")).code != 0 {
        return skip("bubblewrap does not work here");
    }
    let mut wrong = Vec::new();
    for line in ALIKE {
        let (expected, got) = (sandbox::finish(user.command(theirs, line)), user.run(line));
        // An older one does not know all flags.
        if expected.err.contains("Unknown option") {
            continue;
        }
        let is_missing = |done: &Done| line.contains("unshare -U") && done.code != 0;
        if (expected.code, &expected.out) != (got.code, &got.out) && !(is_missing(&expected) && is_missing(&got)) {
            wrong.push(format!("{line}\nbubblewrap: {expected:?}\nrootlet: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    user.sandbox.assert_clean();
}

#[test]
fn errors_name_the_flag() {
    let user = User::new();
    for (line, words) in [
        ("bwrap --userns 3 true", &["--userns", "not supported"][..]),
        ("bwrap --pidns 3 true", &["--pidns", "not supported"]),
        ("bwrap --unshare-usr true", &["did you mean --unshare-user?"]),
        ("bwrap --bind /usr", &["--bind", "src dest", "DEST is missing"]),
        ("bwrap --ro-bind /nosuch / true", &["Can't find source path /nosuch", "--ro-bind-try"]),
        ("bwrap --ro-bind / / --bind /usr /no-such-directory true", &["--bind /usr /no-such-directory"]),
        ("bwrap $HOST --bind /usr /proc/sys true", &["--bind /usr /proc/sys"]),
        ("bwrap $HOST --file 3 /usr/bin/env true 3<file", &["--file 3 /usr/bin/env"]),
        ("bwrap $HOST --uid 5000000000 true", &["--uid 5000000000"]),
        ("bwrap $HOST --as-pid-1 true", &["--as-pid-1 requires --unshare-pid"]),
        ("bwrap $HOST --seccomp 3 true 3<file", &["--seccomp 3", "Invalid seccomp data"]),
        ("bwrap $HOST no-such-program", &["no-such-program"]),
    ] {
        let done = user.run(line).fails(words);
        assert!(done.err.starts_with("error: bwrap: ") && !done.err.contains("config.json"), "{line}: {done:?}");
    }
    assert!(user.run("bwrap --version").ok().out.starts_with("bubblewrap 0."));
    assert!(user.run("bwrap --help").ok().out.contains("--ro-bind SRC DEST"));
    user.sandbox.assert_clean();
}

#[test]
fn what_is_read_from_a_pipe_is_read_once_whoever_owns_the_binary() {
    let user = User::new();
    // The user's own one, as in ~/bin, is run from a sealed copy.
    let own = user.sandbox.mkdir("owned", 0o755).join("bwrap");
    fs::copy(binary(), &own).unwrap();
    std::os::unix::fs::chown(&own, Some(user.sandbox.uid()), None).unwrap();
    let line =
        "printf '%s\\0' --ro-bind / / | bwrap --args 0 --tmpfs /tmp --ro-bind-data 3 /tmp/data cat /tmp/data 3<file";
    let done = sandbox::finish(user.command(&own, line));
    assert_eq!((done.code, done.out.as_str()), (0, "a file\n"), "{done:?}");
}

#[test]
fn newer_flags_work_too() {
    let user = User::new();
    // 0.10: descriptors to bind, and what they named before.
    let done = user.run("exec 5<.; bwrap $HOST --bind-fd 5 /p sh -c 'cat /p/file; ls /proc/self/fd'; exit 0");
    assert!(done.out.starts_with("a file\n") && !done.out.contains("5\n"), "{done:?}");
    // 0.9: a link that is there is as good.
    assert_eq!(user.run("bwrap $HOST --symlink a /l --symlink a /l readlink /l").out, "a\n");
    // 0.11: overlays.
    for name in ["low", "high", "up", "work"] {
        user.sandbox.mkdir(&format!("here/{name}"), 0o755);
    }
    user.sandbox.write("here/high/file", "high\n");
    user.sandbox.write("here/low/file", "low\n");
    let line = "bwrap $HOST --overlay-src low --overlay-src high --overlay up work /o sh -c 'cat /o/file; echo x > /o/new'; cat up/new; \
                bwrap $HOST --overlay-src high --tmp-overlay /o sh -c 'echo y > /o/file; cat /o/file'; cat high/file; \
                bwrap $HOST --overlay-src high --overlay-src low --ro-overlay /o sh -c 'cat /o/file; echo x > /o/file'";
    let mut command = user.command(&user.own, line);
    command.env("TMPDIR", user.sandbox.mkdir("temporary", 0o755));
    let done = sandbox::finish(command);
    assert_eq!(done.out, "high\nx\ny\nhigh\nlow\n", "{done:?}");
    assert_eq!(
        user.run("bwrap $HOST --argv0 other sh -c 'cat /proc/$$/cmdline' | tr '\\0' ' '").out,
        "other sh -c cat /proc/$$/cmdline ".replace("other sh", "other")
    );
    user.sandbox.assert_clean();
}

#[test]
fn a_waiting_sandbox_can_be_seen_and_let_go() {
    let user = User::new();
    let line = "mkfifo wait; bwrap $HOST --unshare-pid --info-fd 4 --block-fd 3 echo after 3<>wait 4>info";
    let mut child = user.command(&user.own, line);
    let child = child.stdout(Stdio::piped()).spawn().unwrap();
    let info = user.sandbox.path().join("here/info");
    eventually("it waits", || fs::read_to_string(&info).is_ok_and(|text| text.ends_with("}\n")));
    let told: Value = serde_json::from_str(&fs::read_to_string(&info).unwrap()).unwrap();
    assert!(Path::new(&format!("/proc/{}", told["child-pid"])).exists());
    fs::write(user.sandbox.path().join("here/wait"), "x").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"after\n");
    user.sandbox.assert_clean();
    // Killed meanwhile, it takes what waits along.
    let mut child = user.command(&user.own, "exec bwrap --ro-bind / / --unshare-all --block-fd 0 true");
    let mut child = child.stdin(Stdio::piped()).spawn().unwrap();
    eventually("it waits", || user.sandbox.rootlet(&["list"]).out.contains("created"));
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("it has ended", || !user.sandbox.rootlet(&["list"]).out.contains("created"));
    user.run("bwrap --ro-bind / / true").ok();
    user.sandbox.assert_clean();
}

#[test]
fn a_lock_is_held_as_long_as_the_sandbox_lives() {
    let user = User::new();
    let line = "bwrap --ro-bind / / --proc /proc --bind . \"$PWD\" --unshare-pid --lock-file \"$PWD\"/file sh -c 'echo ready; read line'";
    let mut child = user.command(&user.own, line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let file = fs::OpenOptions::new().write(true).open(user.sandbox.path().join("here/file")).unwrap();
    let is_free = || {
        let mut lock =
            nix::libc::flock { l_type: nix::libc::F_WRLCK as _, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
        nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_GETLK(&mut lock)).unwrap();
        lock.l_type == nix::libc::F_UNLCK as i16
    };
    assert!(!is_free());
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(is_free());
}

#[test]
fn a_filter_comes_by_a_descriptor() {
    let user = User::new();
    // struct sock_filter: uname (63 on x86_64, 160 elsewhere) is EPERM, all else is allowed.
    let uname = if cfg!(target_arch = "x86_64") { 63u32 } else { 160 };
    let mut program = Vec::new();
    for (code, jump_true, jump_false, operand) in
        [(0x20u16, 0u8, 0u8, 0u32), (0x15, 0, 1, uname), (0x06, 0, 0, 0x0005_0001), (0x06, 0, 0, 0x7fff_0000)]
    {
        program.extend(code.to_ne_bytes());
        program.extend([jump_true, jump_false]);
        program.extend(operand.to_ne_bytes());
    }
    fs::write(user.sandbox.path().join("here/filter"), program).unwrap();
    for flag in ["--seccomp", "--add-seccomp-fd"] {
        let done = user.run(&format!("bwrap $HOST {flag} 3 sh -c 'uname; echo $?' 3<filter"));
        assert!(done.out.ends_with("1\n") && done.err.contains("uname"), "{done:?}");
    }
}

#[test]
fn root_is_bubblewraps_root() {
    if !sandbox::is_root() {
        return skip("needs root");
    }
    let user = User::of(Sandbox::empty(0));
    let theirs = Path::new("/usr/bin/bwrap");
    for line in [
        "bwrap --bind / / grep -E 'Cap|NoNew' /proc/self/status",
        "bwrap --bind / / readlink /proc/self/ns/user",
        "bwrap $HOST --unshare-user --uid 5 id -u",
        "bwrap $HOST --cap-drop ALL grep CapEff /proc/self/status",
    ] {
        let got = user.run(line).ok().out;
        if theirs.is_file() {
            assert_eq!(got, sandbox::finish(user.command(theirs, line)).out, "{line}");
        }
    }
}

#[test]
fn a_descriptor_stands_for_one_file() {
    let sandbox = Sandbox::ordinary();
    let data = sandbox.mkdir("data", 0o755);
    let bind = |inode: &str| {
        sandbox.edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/data");
            let option = format!("rootlet.inode={inode}");
            mounts.push(serde_json::json!({ "destination": "/data", "source": data, "options": ["bind", option] }));
        });
        sandbox.sh("echo bound");
        sandbox.run()
    };
    let metadata = fs::metadata(&data).unwrap();
    let own = format!("{}:{}", metadata.dev(), metadata.ino());
    assert_eq!(bind(&own).ok().out, "bound\n");
    // Somebody has put another directory in its place since.
    for other in [format!("{}:{}", metadata.dev(), metadata.ino() + 1), "x".to_owned(), String::new()] {
        bind(&other).fails(&["another file lies at"]);
    }
}
