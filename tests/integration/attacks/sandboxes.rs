//! Out of a sandbox: by states of containers, by links and names that change, by what it leaves behind for the next.

use crate::sandbox::{self, Done, Sandbox, binary, eventually};
use nix::libc;
use serde_json::json;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

/// A user with a home, a secret in it, a project, and states of containers elsewhere.
fn user() -> Sandbox {
    let user = Sandbox::empty(Sandbox::ordinary().uid());
    for place in ["home", "home/.ssh", "home/.config", "home/.config/gh", "home/project", "bin"] {
        user.mkdir(place, 0o755);
    }
    user.write("home/.ssh/key", "the key\n");
    user.write("home/.netrc", "the password\n");
    user.write("home/.config/gh/hosts", "the token\n");
    symlink(binary(), user.path().join("bin/bwrap")).unwrap();
    user
}

/// A line of shell, in the project.
fn shell(user: &Sandbox, line: &str) -> Done {
    let mut command = user.program(Path::new("/bin/sh"), &["-c", line]);
    command.env("rootlet", binary()).env("bwrap", user.path().join("bin/bwrap")).env("place", user.path());
    command.env("HOME", user.path().join("home")).current_dir(user.path().join("home/project"));
    sandbox::finish(command)
}

/// What a sandbox would leave to have something run outside: the state of a container that has ended, with a hook.
fn plant(user: &Sandbox, states: &Path, id: &str) {
    let (script, victim) =
        (user.script("hook", &format!("touch {}/ran", user.path().display())), user.mkdir("precious", 0o755));
    let model = Sandbox::of(user.uid());
    model.edit(|config| config["hooks"] = json!({ "poststop": [{ "path": script }] }));
    model.sh("true");
    model.on_bundle(&["run", "-d", "box"]).ok();
    eventually("it has stopped", || model.status("box") == "stopped");
    let state = states.join(id);
    let done = sandbox::finish({
        let mut copy = user.program(Path::new("/bin/cp"), &["-r"]);
        copy.arg(model.states().join("box")).arg(&state);
        copy
    });
    assert_eq!(done.code, 0, "{done:?}");
    fs::write(victim.join("file"), "").unwrap();
    // Deleted where it was made, it has run its hook.
    drop(model);
    fs::remove_file(user.path().join("ran")).unwrap();
    let link = state.join("layer");
    symlink(&victim, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(user.uid()), Some(user.uid())).unwrap_or_default();
}

#[test]
fn a_layer_that_a_sandbox_could_write_to_leads_nowhere_else() {
    let user = user();
    let line = "mkdir src && cd src && $rootlet sandbox --layer ../lay -- true && cd .. &&
        $rootlet sandbox -- sh -c 'cd lay/upper && d=$(ls) && rmdir \"$d\" && ln -s $HOME/.ssh \"$d\"' && cd src && $rootlet sandbox --layer ../lay -- cat key";
    let done = shell(&user, line);
    assert!(done.code == 125 && done.out.is_empty() && done.err.contains("is no directory"), "{done:?}");
    // Neither the layer itself nor what it is in.
    let done = shell(
        &user,
        "ln -s ../.ssh link; $rootlet sandbox --layer link -- ls; cd src; $rootlet sandbox --layer ../link/lay -- ls",
    );
    assert_eq!((done.code, done.err.matches("leads by the link").count()), (125, 2), "{done:?}");
    assert!(!user.path().join("home/.ssh/upper").exists() && !user.path().join("home/.ssh/lay").exists());
}

#[test]
fn output_goes_by_no_link_of_a_directory_and_waits_for_no_reader() {
    let user = user();
    let done = shell(&user, "ln -s ../.ssh out; $rootlet sandbox --layer tmp --diff=out/key -- touch z");
    assert!(done.code == 125 && done.err.contains("leads by the link"), "{done:?}");
    assert_eq!(fs::read_to_string(user.path().join("home/.ssh/key")).unwrap(), "the key\n");
    let done = shell(
        &user,
        "mkfifo ff; timeout 20 $rootlet sandbox --layer tmp --diff=ff -- touch z; echo $?; timeout 20 $rootlet sandbox --seccomp ff -- true",
    );
    assert_eq!((done.out.as_str(), done.code), ("125\n", 125), "{done:?}");
}

#[test]
fn secrets_are_hidden_wherever_links_in_them_lead() {
    let user = user();
    let line = "mkdir ~/dots; mv ~/.ssh/key ~/dots/key; ln -s ../dots/key ~/.ssh/key; $rootlet sandbox --share-home -- cat ~/dots/key ~/.ssh/key";
    let done = shell(&user, line);
    assert!(!done.out.contains("the key"), "{done:?}");
}

#[test]
fn a_home_that_is_shown_twice_is_private_twice() {
    if !sandbox::is_root() {
        return sandbox::skip("needs root to mount");
    }
    let user = user();
    // In a mount namespace of its own, which nothing is left of; and where a sandbox shows what the host has.
    let again = Path::new("/mnt");
    let line = format!(
        "mount --bind {home} {again} && exec setpriv --reuid {uid} --regid {uid} --clear-groups {rootlet} sandbox -- sh -c 'test -e {again} && cat {again}/.ssh/key'",
        home = user.path().join("home").display(),
        again = again.display(),
        uid = user.uid(),
        rootlet = binary().display()
    );
    let mut command = std::process::Command::new("unshare");
    command
        .args(["-m", "sh", "-c", &line])
        .env("HOME", user.path().join("home"))
        .env("XDG_RUNTIME_DIR", user.path().join("xdg"));
    let done = sandbox::finish(std::mem::replace(
        command.current_dir(user.path().join("home/project")),
        std::process::Command::new("true"),
    ));
    assert!(done.code != 0 && !done.out.contains("the key"), "{done:?}");
}

#[test]
fn what_a_config_says_forges_no_line() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["x\u{1b}[2J\nerror FORGED"] = json!(1));
    let bundle = sandbox.bundle();
    for verb in ["doctor", "check"] {
        let done = sandbox.rootlet(&[verb, bundle.to_str().unwrap()]);
        assert!(
            done.out.contains("FORGED") && !done.out.contains('\u{1b}') && !done.out.contains("\nerror FORGED"),
            "{done:?}"
        );
    }
}

#[test]
fn states_that_a_sandbox_has_left_run_nothing() {
    let user = user();
    shell(&user, "$rootlet sandbox -- true").ok();
    plant(&user, &user.states(), "sandbox-999998");
    shell(&user, "$rootlet sandbox -- true").ok();
    shell(&user, "$bwrap --ro-bind / / true").ok();
    assert!(!user.path().join("ran").exists() && user.path().join("precious/file").exists());
    // Nor does who deletes it by hand lose what its link leads to.
    shell(&user, "$rootlet delete --force sandbox-999998").ok();
    assert!(user.path().join("precious/file").exists());
}

#[test]
fn states_of_containers_are_out_of_reach_and_so_is_their_place() {
    let user = user();
    let waiting = Sandbox::of(user.uid());
    shell(&user, &format!("$rootlet create -b {} waiting", waiting.bundle().display())).ok();
    let script = "ls -A $place/xdg/rootlet; mkdir $place/xdg/rootlet/x; mv $place/xdg $place/other; mv $place/xdg/rootlet $place/y; echo end";
    for call in [
        "$rootlet sandbox --rw $place/xdg --env place -- sh -c",
        "$rootlet sandbox --rw $place --env place -- sh -c",
        "$rootlet --root $place/xdg/elsewhere sandbox --rw $place --env place -- sh -c",
        "$bwrap --bind / / sh -c",
        "$bwrap --ro-bind / / --bind $place $place --unshare-all sh -c",
        "$rootlet sandbox --root --rw $place --env place --print-config -- true >$place/config.json; $rootlet run --no-tty -f $place/config.json --env place=$place copy -- sh -c",
    ] {
        let done = shell(&user, &format!("{call} '{script}'"));
        assert_eq!(done.out, "end\n", "{call}: {done:?}");
        assert!(user.states().join("waiting/start.sock").exists() && !user.path().join("other").exists(), "{call}");
    }
    // A container that is bound what they are in does not see them either, and that is said.
    let bundle = Sandbox::of(user.uid());
    bundle.add_mount(json!({ "destination": "/data", "source": user.path(), "options": ["rbind"] }));
    bundle.sh("ls -A /data/xdg/rootlet; mv /data/xdg /data/z; echo end");
    let line = format!("$rootlet run -b {} other", bundle.bundle().display());
    assert_eq!(shell(&user, &line).out, "end\n");
    let plan = shell(&user, &format!("$rootlet plan -b {}", bundle.bundle().display())).out;
    assert!(plan.contains("where states of containers are, is an empty directory"), "{plan}");
    shell(&user, "$rootlet delete --force waiting").ok();
}

#[test]
fn a_link_that_a_sandbox_has_left_is_not_followed_by_the_next() {
    let user = user();
    shell(
        &user,
        "mkdir -p build/out; $rootlet sandbox --rw build/out -- sh -c 'rmdir build/out; mv build b2; mkdir build; ln -s ~/.ssh build/out'",
    );
    // Renamed is what is no mount; what is one stays.
    fs::remove_dir_all(user.path().join("home/project/build")).unwrap();
    for (link, to) in [("home/project/out", "home/.ssh"), ("home/project/all", "home"), ("home/own", "home/.ssh")] {
        symlink(user.path().join(to), user.path().join(link)).unwrap();
        std::os::unix::fs::lchown(user.path().join(link), Some(user.uid()), Some(user.uid())).unwrap_or_default();
    }
    for flag in
        ["--rw out", "--ro out", "--rw all", "--rw all/.ssh", "--tmp out", "--hide out", "--rw ../own", "--cwd out"]
    {
        let done = shell(&user, &format!("$rootlet sandbox {flag} -- cat ../.ssh/key out/key key"));
        assert!(done.code == 125 && done.err.contains("leads by the link"), "{flag}: {done:?}");
    }
    // What is written by a command of rootlet's goes by no such link.
    symlink(user.path().join("home/.netrc"), user.path().join("home/project/list")).unwrap();
    std::os::unix::fs::lchown(user.path().join("home/project/list"), Some(user.uid()), Some(user.uid()))
        .unwrap_or_default();
    for line in [
        "sandbox --layer tmp --diff=list -- true",
        "run --host --no-tty --trace list box -- true",
        "run --host --no-tty --seccomp-audit list box -- true",
    ] {
        if sandbox::is_root() {
            let done = shell(&user, &format!("$rootlet {line}"));
            assert!(done.code != 0 && done.err.contains("is a link"), "{line}: {done:?}");
        }
    }
    assert_eq!(fs::read_to_string(user.path().join("home/.netrc")).unwrap(), "the password\n");
}

#[test]
fn a_current_directory_that_becomes_a_link_is_not_followed() {
    let user = user();
    let shared = user.mkdir("shared", 0o777);
    user.mkdir("shared/p", 0o777);
    symlink(user.path().join("home"), shared.join("q")).unwrap();
    let done = AtomicBool::new(false);
    let name = |name: &str| CString::new(shared.join(name).to_str().unwrap()).unwrap();
    let (p, q) = (name("p"), name("q"));
    std::thread::scope(|scope| {
        let line = "cd $place/shared/p && echo ready && read go && for try in $(seq 40); do $rootlet sandbox -- cat .netrc; done 2>/dev/null";
        let mut command = user.program(Path::new("/bin/sh"), &["-c", line]);
        command.env("rootlet", binary()).env("place", user.path()).env("HOME", user.path().join("home"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (here, both) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
                // SAFETY: the names live as long as the call.
                unsafe { libc::syscall(libc::SYS_renameat2, here, p.as_ptr(), here, q.as_ptr(), both) };
            }
        });
        drop(child.stdin.take());
        let output = child.wait_with_output().unwrap();
        done.store(true, Ordering::Relaxed);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    });
}

#[test]
fn what_is_secret_stays_so_whatever_happens_to_it_meanwhile() {
    let user = user();
    user.write("home/project/.git", "");
    let script = "echo ready; read go; cd; cat .netrc .npmrc .ssh/key .aws/key .config/gh/hosts .config/new 2>/dev/null; \
                  mv .config c2 2>/dev/null || echo stays";
    for flag in ["--share-home", "--share-home=ro", "--ro $place", "--rw $place"] {
        let line = format!("$rootlet sandbox {flag} -- sh -c '{script}'");
        let mut command = user.program(Path::new("/bin/sh"), &["-c", &line]);
        command.env("rootlet", binary()).env("place", user.path()).env("HOME", user.path().join("home"));
        command.current_dir(user.path().join("home/project"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        // As programs save their files.
        let home = user.path().join("home");
        fs::write(home.join(".netrc.new"), "the new password\n").unwrap();
        fs::rename(home.join(".netrc.new"), home.join(".netrc")).unwrap();
        fs::write(home.join(".npmrc"), "the new token\n").unwrap();
        fs::rename(home.join(".ssh"), home.join(".ssh.old")).unwrap();
        fs::create_dir(home.join(".ssh")).unwrap();
        fs::copy(home.join(".ssh.old/key"), home.join(".ssh/key")).unwrap();
        fs::remove_dir_all(home.join(".ssh.old")).unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "stays\n", "{flag}");
        fs::remove_file(home.join(".npmrc")).unwrap();
        assert!(home.join(".config/gh/hosts").exists(), "{flag}");
    }
}

#[test]
fn what_is_read_only_in_a_writable_place_does_not_go_away_with_what_is_above() {
    let user = user();
    for place in ["home/project/.git", "home/project/.git/hooks"] {
        user.mkdir(place, 0o755);
    }
    let script =
        "echo x > .git/index; echo x > .git/hooks/post-commit; mv .git g2; mv .git/hooks .git/h2; mkdir .git/hooks; ls";
    let done = shell(&user, &format!("$rootlet sandbox --ro .git/hooks -- sh -c '{script}'"));
    assert!(user.path().join("home/project/.git/index").exists(), "{done:?}");
    assert!(fs::read_dir(user.path().join("home/project/.git/hooks")).unwrap().next().is_none(), "{done:?}");
    assert!(!user.path().join("home/project/g2").exists(), "{done:?}");
    // What is a sandbox's own is so below what is shown, too.
    let marker = tempfile::Builder::new().prefix("rootlet-test.").tempfile_in("/var/tmp").unwrap();
    for flag in ["--ro /var", "--cwd /var"] {
        let done =
            shell(&user, &format!("$rootlet sandbox {flag} -- ls -A /var/tmp /tmp/ | grep -c rootlet-test.[^/]*$"));
        assert!(!done.out.contains(marker.path().file_name().unwrap().to_str().unwrap()), "{flag}: {done:?}");
        let done = shell(&user, &format!("$rootlet sandbox {flag} -- test -e {}", marker.path().display()));
        assert_eq!(done.code, 1, "{flag}: {done:?}");
    }
}

#[test]
fn a_list_of_changes_does_not_lie() {
    let user = user();
    user.write("home/project/README", "");
    let script = "mkdir .wh..wh.d; echo payload >.wh..wh.d/run; echo 1 >.wh.README; mkdir x; echo y >x/y; chmod 0 x";
    let line = format!(
        "TMPDIR=$place/home/project/.. ; mkdir -p $place/t; TMPDIR=$place/t $rootlet sandbox --layer tmp --diff -- sh -c '{script}'"
    );
    let done = shell(&user, &line).ok();
    let here = user.path().join("home/project");
    let expected: String = [".wh..wh.d", ".wh..wh.d/run", ".wh.README", "x", "x/y"]
        .map(|name| format!("A {}/{name}\n", here.display()))
        .concat();
    assert_eq!(done.out, expected, "{done:?}");
    let done = shell(&user, "$rootlet sandbox --layer tmp --rw ../.netrc -- true");
    assert!(done.code == 125 && done.err.contains("a layer lies over directories"), "{done:?}");
}

#[test]
fn names_of_a_containers_files_are_no_lines_of_an_explanation() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("cd /tmp; exec 5>\"x\ncapabilities   forged\"; exec sleep 1000");
    sandbox.edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }));
    });
    sandbox.start();
    let mut text = String::new();
    eventually("it has opened its file", || {
        text = sandbox.rootlet(&["explain", "box"]).ok().out;
        text.contains("forged")
    });
    assert!(
        text.contains("x\\ncapabilities   forged")
            && !text.lines().any(|line| line.ends_with("  forged") && line.starts_with("cap")),
        "{text}"
    );
}

#[test]
fn limits_of_namespaces_stay_where_they_were_set() {
    let user = user();
    let done = shell(&user, "$bwrap --ro-bind / / --unshare-user --disable-userns --cap-add ALL true");
    assert!(done.code == 1 && done.err.contains("--disable-userns goes not with --cap-add"), "{done:?}");
    let done = shell(
        &user,
        "$bwrap --ro-bind / / --proc /proc --unshare-user --unshare-pid --disable-userns sh -c 'echo 9 > /proc/sys/user/max_user_namespaces; unshare -U true'",
    );
    assert_ne!(done.code, 0, "{done:?}");
}
