//! `rootlet sandbox`: a command on the host's own files.

use crate::sandbox::{self, Done, Sandbox, eventually, is_root};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A user with a home that has secrets, and in it a project, where he is.
struct User(Sandbox);

impl User {
    fn new() -> User {
        User::of(Sandbox::ordinary().uid())
    }

    fn of(uid: u32) -> User {
        let sandbox = Sandbox::empty(uid);
        for place in ["home", "home/.ssh", "home/project", "home/project/part", "other"] {
            sandbox.mkdir(place, 0o755);
        }
        for (file, text) in [
            ("home/.ssh/id_ed25519", "a key"),
            ("home/.netrc", "a password"),
            ("home/notes", "a note"),
            ("home/project/Makefile", "all:"),
            ("other/file", "another"),
        ] {
            sandbox.write(file, text);
        }
        User(sandbox)
    }

    fn command(&self, flags: &[&str], script: &str) -> Command {
        let mut command = self.0.command(&[&["sandbox"], flags, &["--", "sh", "-c", script]].concat());
        command.env("HOME", self.0.path().join("home")).current_dir(self.0.path().join("home/project"));
        command
    }

    fn run(&self, flags: &[&str], script: &str) -> Done {
        finish(&mut self.command(flags, script))
    }

    #[track_caller]
    fn prints(&self, flags: &[&str], script: &str) -> String {
        let done = self.run(flags, script);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
        done.out
    }

    fn place(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

/// Runs a command to its end.
#[track_caller]
fn finish(command: &mut Command) -> Done {
    sandbox::finish(std::mem::replace(command, Command::new("true")))
}

fn find_program(name: &str) -> Option<std::path::PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|path| path.join(name)).find(|path| path.is_file())
}

impl Done {
    /// One error with these words, and the exit code of rootlet's own failures.
    #[track_caller]
    fn refuses(self, words: &[&str]) {
        let code = self.code;
        assert_eq!(code, 125, "{self:?}");
        Done { code: 1, ..self }.fails(words);
    }
}

#[test]
fn a_command_changes_nothing_but_where_it_is() {
    let user = User::new();
    let script = "echo new > made; echo new > /usr/made; echo new > /etc/made; echo new > $HOME/made; echo new > /tmp/made; \
                  cat /tmp/made; pwd; ls -A $HOME";
    let done = user.run(&[], script);
    assert_eq!(done.out, format!("new\n{}\nmade\nproject\n", user.place("home/project")), "{done:?}");
    assert!(done.err.contains("Read-only"), "{done:?}");
    assert_eq!(fs::read_to_string(user.place("home/project/made")).unwrap(), "new\n");
    for path in ["/usr/made".to_owned(), "/etc/made".to_owned(), user.place("home/made"), "/tmp/made".to_owned()] {
        assert!(!Path::new(&path).exists(), "{path}");
    }
    user.0.assert_clean();
}

#[test]
fn a_command_has_no_more_than_its_caller_and_no_way_out() {
    let user = User::new();
    let script = "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; ls /sys/class/net; echo $$; \
                  ls /proc | grep -c '^[0-9]*$'";
    let out = user.prints(&[], script);
    let expected = format!(
        "{}\nCapBnd:\t{zero}\nCapEff:\t{zero}\nNoNewPrivs:\t1\nSeccomp:\t2\nlo\n2\n",
        user.0.uid(),
        zero = "0000000000000000"
    );
    let mut lines: Vec<_> = out.lines().collect();
    lines[1..5].sort_unstable();
    lines.sort_by_key(|line| !line.starts_with(char::is_numeric));
    let mut wanted: Vec<_> = expected.lines().collect();
    wanted.sort_by_key(|line| !line.starts_with(char::is_numeric));
    for line in wanted {
        assert!(lines.contains(&line), "{line:?} is not in {out}");
    }
    for namespace in ["pid", "ipc", "uts", "cgroup", "net", "user", "mnt"] {
        let own = fs::read_link(format!("/proc/self/ns/{namespace}")).unwrap();
        let out = user.prints(&[], &format!("readlink /proc/self/ns/{namespace}"));
        assert_ne!(out.trim(), own.to_str().unwrap());
    }
    // What listens there is the host's; and where that has nothing, there is something of the sandbox's own.
    assert_eq!(user.prints(&[], "ls -A /run; grep -q ' /run tmpfs ' /proc/mounts && echo own"), "own\n");
    let net = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(user.prints(&["--net", "host"], "readlink /proc/self/ns/net").trim(), net.to_str().unwrap());
    assert_eq!(user.prints(&["--root"], "id -u"), "0\n");
    assert_ne!(user.run(&[], "unshare -U true").code, 0);
    user.0.assert_clean();
}

#[test]
fn the_environment_passes_by_name_alone() {
    let user = User::new();
    let run = |flags: &[&str]| {
        let mut command = user.command(flags, "env");
        finish(command.env("TOKEN", "secret").env("LANG", "C.UTF-8")).ok().out
    };
    let out = run(&[]);
    assert!(!out.contains("TOKEN") && !out.contains("XDG_RUNTIME_DIR") && out.contains("LANG=C.UTF-8"), "{out}");
    assert!(out.contains(&format!("HOME={}", user.place("home"))), "{out}");
    assert!(run(&["--env", "TOKEN"]).contains("TOKEN=secret"));
    assert!(run(&["-e", "TOKEN=other"]).contains("TOKEN=other"));
    assert!(run(&["--env-all"]).contains("TOKEN=secret"));
    user.run(&["--env", "NO_SUCH"], "true").refuses(&["NO_SUCH", "you have no such variable"]);
}

#[test]
fn secrets_stay_out_of_sight_in_a_home_that_is_shared() {
    let user = User::new();
    let script = "cat ~/notes; ls -A ~ | tr '\\n' ' '; echo x >> ~/notes && echo written";
    assert_eq!(user.prints(&["--share-home"], script), "a notenotes project written\n");
    let done = user.run(&["--share-home=ro"], script);
    assert!(done.err.contains("Read-only") && !done.out.contains("written"), "{done:?}");
    // By name they are shown; and links lead to the same.
    let ssh = user.place("home/.ssh");
    assert_eq!(user.prints(&["--share-home", "--ro", &ssh], "cat ~/.ssh/id_ed25519"), "a key");
    symlink(&ssh, user.place("home/link")).unwrap();
    assert_eq!(user.prints(&["--share-home"], "ls -A ~"), "notes\nproject\n");
    let mut command = user.command(&["--share-home"], "true");
    finish(command.current_dir(&ssh)).refuses(&["is hidden", "passwords", "--rw ."]);
    // Nor does what has them show them, such as a directory above, unless that is named.
    user.0.mkdir("home/.config", 0o755);
    user.0.mkdir("home/.config/gh", 0o755);
    user.0.write("home/.config/gh/hosts.yml", "a token");
    user.0.write("home/.config/other", "a setting");
    let config = user.place("home/.config");
    let mut command = user.command(&[], "cat other; ls -A gh");
    assert_eq!(finish(command.current_dir(&config)).ok().out, "a setting");
    assert_eq!(user.prints(&["--ro", &config], "cat ~/.config/other; ls -A ~/.config/gh"), "a setting");
    let gh = user.place("home/.config/gh");
    assert_eq!(user.prints(&["--ro", &config, "--ro", &gh], "cat ~/.config/gh/hosts.yml"), "a token");
    // States of containers, by whose sockets they would be entered, are no one's in a sandbox.
    let states = user.place("home/project/xdg");
    let mut command = user.command(&[], "ls -A xdg/rootlet");
    assert_eq!(
        finish(command.env("XDG_RUNTIME_DIR", user.0.mkdir("home/project/xdg", 0o700))).ok().out,
        "",
        "{states}"
    );
    // At home itself there is a word about what is not there.
    let mut command = user.command(&[], "ls -A");
    let done = finish(command.current_dir(user.place("home"))).ok();
    assert!(done.out.is_empty() && done.err.contains("--share-home"), "{done:?}");
    user.0.assert_clean();
}

#[test]
fn the_flag_for_the_deeper_place_counts() {
    let user = User::new();
    let (other, part) = (user.place("other"), user.place("home/project/part"));
    let script = format!("cat {other}/file; echo x > {other}/new && echo written");
    assert_eq!(user.prints(&["--rw", &other], &script), "anotherwritten\n");
    assert!(user.run(&["--ro", &other], &script).err.contains("Read-only"));
    let out =
        user.prints(&["--hide", &other, "--tmp", &part], &format!("ls -A {other} part; echo x > part/y; cat part/y"));
    assert_eq!(out, format!("{other}:\n\npart:\nx\n"));
    assert!(!Path::new(&part).join("y").exists());
    let done = user.run(&["--ro", "."], "cat Makefile; echo x > y");
    assert!(done.out == "all:" && done.err.contains("Read-only"), "{done:?}");
    let makefile = user.place("home/project/Makefile");
    assert_eq!(user.prints(&["--hide", &makefile], "wc -c < Makefile; echo x > y; ls"), "0\nMakefile\npart\ny\n");
    // A place below one that is hidden is shown.
    let file = user.place("other/file");
    assert_eq!(user.prints(&["--hide", &other, "--ro", &file], &format!("ls {other}; cat {file}")), "file\nanother");
    user.0.assert_clean();
}

#[test]
fn what_cannot_be_is_one_error_of_rootlets() {
    let user = User::new();
    let other = user.place("other");
    user.run(&["--rw", "/no/such"], "true").refuses(&["--rw /no/such", "ENOENT", "try:"]);
    user.run(&["--rw", &other, "--hide", &other], "true").refuses(&["--rw", "--hide", "contradict"]);
    user.run(&["--rw", "/"], "true").refuses(&["--rw /"]);
    user.run(&["--rw", "/proc"], "true").refuses(&["--rw /proc"]);
    user.run(&["--timeout", "0"], "true").refuses(&["30s"]);
    user.run(&["--diff"], "true").refuses(&["--layer"]);
    user.run(&["--status-fd", "77"], "true").refuses(&["--status-fd 77", "EBADF"]);
    user.run(&["--allow-syscall", "nosuch"], "true").refuses(&["nosuch"]);
    user.run(&["--allow-syscall", "unshare", "--seccomp", "none"], "true").refuses(&["there is no filter"]);
    user.run(&["--cwd", "/no/such"], "true").refuses(&["/no/such"]);
    user.run(&["--memroy", "1G"], "true").refuses(&["did you mean --memory"]);
    user.run(&["--layer", "tmp", "--print-config"], "true").refuses(&["--print-config"]);
    let code = |words: &[&str]| {
        let mut command = user.0.command(&[&["sandbox", "--"], words].concat());
        let done = finish(&mut command);
        assert_eq!(done.err.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{done:?}");
        assert!(!done.err.contains("config.json") && !done.err.contains("container"), "{done:?}");
        done.code
    };
    assert_eq!(
        (code(&["no-such-program"]), code(&["/no/such"]), code(&["/etc/passwd"]), code(&["/etc"])),
        (127, 127, 126, 126)
    );
    user.0.assert_clean();
}

#[test]
fn exit_codes_signals_and_children_are_as_without_a_sandbox() {
    let user = User::new();
    assert_eq!(user.run(&[], "exit 7").code, 7);
    assert_eq!(user.run(&[], "kill -TERM $$").code, 143);
    assert_eq!(user.run(&[], "kill -ABRT $$; sleep 5").code, 134);
    // What nobody waits for is reaped, and ends with the command.
    assert_eq!(user.prints(&[], "(sleep 1000 &); (true &); sleep 0.2; ps -o stat= | grep -c Z || true"), "0\n");
    let mut child = user.command(&[], "trap 'echo heard; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut said = [0; 6];
    std::io::Read::read_exact(&mut out, &mut said).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    assert_eq!(rest, "heard\n");
    // Without a trap, too, though it is first in its pid namespace or just below.
    let mut child = user.command(&[], "exec sleep 1000").spawn().unwrap();
    eventually("it runs", || user.0.processes().len() > 1);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    // An interrupt is for all, as from a terminal: a shell waits for its children first.
    let mut child = user.command(&[], "sleep 1000; echo after").spawn().unwrap();
    eventually("it runs", || user.0.processes().len() > 2);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::SIGINT).unwrap();
    // 130 to a shell, which ends its loop as well.
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(2));
    user.0.assert_clean();
}

#[test]
fn a_command_ends_when_its_time_is_up_or_its_caller_ends() {
    let user = User::new();
    let start = Instant::now();
    assert_eq!(user.run(&["--timeout", "0.2"], "exec sleep 1000").code, 124);
    assert_eq!(user.run(&["--timeout", "200ms"], "trap '' TERM; sleep 1000; sleep 1000").code, 124);
    assert!(start.elapsed() < Duration::from_secs(60));
    assert_eq!(user.run(&["--timeout", "60"], "exit 4").code, 4);
    // The caller is a shell that ends at once.
    let rootlet = sandbox::binary().to_str().unwrap();
    let call = |flag: &str| {
        let script = format!("{rootlet} sandbox {flag} -- sleep 1000 & sleep 1");
        let mut command = user.0.program(Path::new("/bin/sh"), &["-c", &script]);
        command.env("HOME", user.place("home")).current_dir(user.place("home/project"));
        finish(&mut command).ok();
    };
    call("");
    eventually("all have ended", || user.0.processes().is_empty());
    call("--die-with-parent=false");
    assert!(!user.0.processes().is_empty());
    user.0.end_processes();
    eventually("all have ended", || user.0.processes().is_empty());
    // What a killed one has left is swept by the next.
    user.prints(&[], "true");
    user.0.assert_clean();
}

#[test]
fn what_happens_is_told_as_json() {
    let user = User::new();
    let told = user.place("home/project/told");
    let script = |flags: &str, command: &str| {
        let rootlet = sandbox::binary().to_str().unwrap();
        let line = format!("{rootlet} sandbox --status-fd 3 {flags} -- sh -c '{command}' 3>{told}");
        let mut shell = user.0.program(Path::new("/bin/sh"), &["-c", &line]);
        finish(shell.env("HOME", user.place("home")).current_dir(user.place("home/project")));
        let text = fs::read_to_string(&told).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let events = script("", "exit 4");
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["created", "started", "exited"]);
    assert!(events[0]["pid"].as_i64().unwrap() > 1 && events[2]["code"] == 4, "{events:?}");
    let events = script("--timeout 0.1", "sleep 1000");
    assert!(events[2]["code"] == 124 && events[2]["timeout"] == true, "{events:?}");
}

#[test]
fn a_layer_keeps_the_hosts_files_and_says_what_changed() {
    let user = User::new();
    let temporary = user.0.mkdir("temporary", 0o755);
    let script = "echo more >> Makefile; mkdir new; echo x > new/file; rmdir part; cat Makefile";
    let mut command = user.command(&["--layer", "tmp", "--diff"], script);
    let done = finish(command.env("TMPDIR", &temporary)).ok();
    let here = user.place("home/project");
    let listed = format!("all:more\nC {here}/Makefile\nA {here}/new\nA {here}/new/file\nD {here}/part\n");
    assert_eq!(done.out, listed);
    assert_eq!(fs::read_to_string(user.place("home/project/Makefile")).unwrap(), "all:");
    assert!(Path::new(&here).join("part").is_dir() && fs::read_dir(&temporary).unwrap().next().is_none());
    // A kept one is there for the next; a list goes to a file.
    let (layer, list) = (user.place("layer"), user.place("list"));
    let flags = ["--layer", &layer, &format!("--diff={list}")];
    assert_eq!(user.prints(&flags, "echo one > kept"), "");
    assert_eq!(user.prints(&flags, "cat kept"), "one\n");
    assert_eq!(fs::read_to_string(list).unwrap(), format!("A {here}/kept\n"));
    user.run(&["--layer", "tmp", "--ro", "."], "true").refuses(&["nothing that is writable"]);
    user.0.assert_clean();
}

#[test]
fn landlock_stands_behind_the_mounts() {
    let user = User::new();
    let done =
        user.run(&["--landlock"], "echo x > made && echo y > /tmp/z && : > /dev/null && cat made; echo x > /usr/made");
    if done.err.contains("has no Landlock") {
        return sandbox::skip("this kernel has no Landlock");
    }
    assert!(done.out == "x\n" && done.err.contains("/usr/made"), "{done:?}");
    // Rules are seen by what the mounts would allow.
    let rules = r#"{"read": ["/"], "write": ["/dev", "/proc"]}"#;
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["annotations"]["org.rootlet.landlock"] = rules.into());
    sandbox.sh("echo x > /tmp/new; echo $?; ls / > /dev/null && echo listed");
    sandbox.edit(|config| config["root"]["readonly"] = false.into());
    let done = sandbox.run().ok();
    assert_eq!(done.out, "1\nlisted\n", "{done:?}");
    sandbox.edit(|config| config["annotations"]["org.rootlet.landlock"] = "{".into());
    sandbox.run().fails(&["org.rootlet.landlock"]);
}

#[test]
fn the_filter_can_be_opened_by_a_system_call() {
    let user = User::new();
    assert_ne!(user.run(&[], "unshare -U true").code, 0);
    let done = user.run(&["--allow-syscall", "unshare"], "unshare -U true");
    assert_eq!(done.code, 0, "{done:?}");
}

#[test]
fn the_config_is_one_that_other_runtimes_can_run() {
    let user = User::new();
    let mut command =
        user.command(&["--print-config", "--root", "--hide", &user.place("other")], "cat Makefile; echo x > /usr/made");
    let text = finish(&mut command).ok().out;
    let bundle = user.0.mkdir("bundle", 0o755);
    fs::write(bundle.join("config.json"), &text).unwrap();
    let done = user.0.on_bundle(&["run", "box"]);
    assert!(done.out == "all:" && done.err.contains("Read-only"), "{done:?}");
    for peer in ["runc", "crun"] {
        let Some(path) = find_program(peer) else {
            sandbox::skip(&format!("{peer} is not installed"));
            continue;
        };
        let has_name = nix::unistd::User::from_uid(user.0.uid().into()).unwrap().is_some();
        if peer == "crun" && !(has_name && Path::new("/sys/fs/cgroup/cgroup.controllers").exists()) {
            // It asks newuidmap for a user without a name, and refuses both versions of cgroups at once.
            sandbox::skip("crun wants a user with a name, and cgroup v2 alone");
            continue;
        }
        let state = user.0.mkdir(peer, 0o700);
        let words = ["--root", state.to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), "box"];
        let done = finish(&mut user.0.program(&path, &words));
        assert!(done.out == "all:" && done.err.contains("Read-only"), "{peer}: {done:?}");
    }
}

#[test]
fn root_can_have_a_sandbox_too() {
    if !is_root() {
        return sandbox::skip("needs root");
    }
    let user = User::of(0);
    let done = user.run(&[], "id -u; echo x > made; echo x > /usr/made; grep CapEff /proc/self/status");
    assert!(done.out.starts_with("0\nCapEff:\t0000000000000000"), "{done:?}");
    assert!(done.err.contains("Read-only") && Path::new(&user.place("home/project/made")).exists(), "{done:?}");
}

#[test]
fn many_sandboxes_at_once_are_nobody_elses() {
    let user = User::new();
    let spawn =
        |_| user.command(&[], "echo $$ > /tmp/own; sleep 0.1; cat /tmp/own").stdout(Stdio::piped()).spawn().unwrap();
    let all: Vec<_> = (0..20).map(spawn).collect();
    for child in all {
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"2\n"[..]));
    }
    user.0.assert_clean();
}

#[test]
fn files_are_made_as_the_caller_would_make_them() {
    let user = User::new();
    let mut command =
        user.0.program(Path::new("/bin/sh"), &["-c", "umask 027; exec \"$0\" sandbox -- sh -c 'touch made; umask'"]);
    command.arg(sandbox::binary()).env("HOME", user.place("home")).current_dir(user.place("home/project"));
    let done = finish(&mut command);
    assert_eq!((done.code, done.out.as_str()), (0, "0027\n"), "{done:?}");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(user.place("home/project/made")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn standard_error_goes_where_the_caller_has_put_it() {
    if find_program("script").is_none() {
        return sandbox::skip("there is no script(1)");
    }
    let user = User::new();
    let line = format!(
        "{} sandbox -- sh -c 'echo out; echo err >&2; test -t 1 && ! test -t 2' 2>err.txt",
        sandbox::binary().display()
    );
    let mut command = user.0.program(Path::new("/usr/bin/script"), &["-qec", &line, "/dev/null"]);
    command
        .env("HOME", user.place("home"))
        .env("SHELL", "/bin/sh")
        .current_dir(user.place("home/project"))
        .stdin(Stdio::null());
    let done = finish(&mut command);
    assert!(done.code == 0 && done.out.contains("out") && !done.out.contains("err"), "{done:?}");
    assert_eq!(fs::read_to_string(user.place("home/project/err.txt")).unwrap(), "err\n");
}

#[test]
fn an_interrupt_ends_the_callers_loop_too() {
    use std::os::unix::process::ExitStatusExt;
    let user = User::new();
    let mut child = user.command(&[], "echo begun; exec sleep 1000").stdout(Stdio::piped()).spawn().unwrap();
    let mut begun = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut begun).unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    // What the program means by it is its own.
    assert_eq!(user.run(&[], "exit 130").code, 130);
    user.0.assert_clean();
}

#[test]
fn what_every_sandbox_has_can_be_named() {
    let user = User::new();
    user.prints(&["--ro", "/dev/null", "--rw", "/dev/zero"], "echo x > /dev/null");
    let done = finish(
        user.0
            .program(
                Path::new("/bin/sh"),
                &["-c", "mkdir gone; cd gone; rmdir ../gone; exec \"$0\" sandbox -C \"$1\" -- pwd"],
            )
            .arg(sandbox::binary())
            .arg(user.place("home/project"))
            .env("HOME", user.place("home"))
            .current_dir(user.place("other")),
    );
    assert_eq!((done.code, done.out.trim()), (0, user.place("home/project").as_str()), "{done:?}");
}

#[test]
fn a_default_command_is_the_users_shell() {
    let user = User::new();
    let mut command = user.0.command(&["sandbox"]);
    command.env("HOME", user.place("home")).env("SHELL", "/bin/sh").current_dir(user.place("home/project"));
    command.arg0("rootlet");
    assert_eq!(finish(&mut command).code, 0);
}

#[test]
fn nobody_is_waited_for_who_does_not_read_what_happens() {
    let user = User::new();
    let start = |descriptor: std::os::fd::OwnedFd| {
        let mut command =
            user.command(&["--status-fd", "0", "--timeout", "60"], "trap 'echo PIPE; exit 9' PIPE; sleep 0.2; exit 3");
        sandbox::finish(std::mem::replace(command.stdin(descriptor), Command::new("true"))).code
    };
    // A full pipe, and one whose reader is gone.
    let (reader, writer) = nix::unistd::pipe().unwrap();
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    while nix::unistd::write(&writer, &[0; 4096]).is_ok() {}
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).unwrap();
    assert_eq!(start(writer), 3);
    drop(reader);
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    assert_eq!(start(writer), 3);
    user.0.assert_clean();
}

#[test]
fn whoever_is_killed_leaves_nothing_that_the_next_does_not_sweep() {
    let user = User::new();
    let temporary = user.0.mkdir("temporary", 0o755);
    for delay in 0..40 {
        let mut command = user.command(&["--layer", "tmp"], "echo x > y; sleep 0.01");
        let mut child = command.env("TMPDIR", &temporary).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(delay * 500));
        let _ = child.kill();
        child.wait().unwrap();
    }
    eventually("all have ended", || user.0.processes().is_empty());
    user.prints(&[], "true");
    let left: Vec<_> = fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [] as [OsString; 0]);
    user.0.assert_clean();
}
