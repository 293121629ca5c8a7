//! What images, configs and neighbours write, and rootlet reads: nothing of it makes rootlet hang, lie to a terminal, or
//! take one for another.

use super::everybody;
use crate::sandbox::{Sandbox, eventually, finish, is_root, skip, wait};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

fn make_fifo(place: &Path) {
    assert!(Command::new("mkfifo").args(["-m", "666"]).arg(place).status().unwrap().success());
}

#[test]
fn a_fifo_or_an_endless_file_of_users_is_not_waited_for() {
    // The image's /etc/passwd is read for HOME, and by `exec -u NAME`.
    for sandbox in everybody() {
        let place = |name: &str| sandbox.rootfs().join("etc").join(name);
        sandbox.edit(|config| {
            let env = config["process"]["env"].as_array_mut().unwrap();
            env.retain(|variable| !variable.as_str().unwrap().starts_with("HOME="));
        });
        sandbox.sh("echo $HOME; sleep 1000");
        for name in ["passwd", "group"] {
            let _ = fs::remove_file(place(name));
            make_fifo(&place(name));
        }
        sandbox.start();
        let exec = |name: &str| sandbox.rootlet(&["exec", "-u", name, "box", "true"]);
        assert!(exec("user").err.contains("is not in the container's /etc/passwd"));
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
        for name in ["passwd", "group"] {
            fs::remove_file(place(name)).unwrap();
            symlink("/dev/zero", place(name)).unwrap();
        }
        sandbox.start();
        assert!(exec("user").err.contains("is not in the container's /etc/passwd"));
    }
}

#[test]
fn a_fifo_in_place_of_a_state_or_a_config_is_not_waited_for() {
    if !is_root() {
        return skip("needs root to be two users");
    }
    let (sandbox, attacker) = (Sandbox::ordinary(), Sandbox::stranger());
    let shared = sandbox.mkdir("shared", 0o1777);
    for uid in [attacker.uid(), sandbox.uid()] {
        let trap = shared.join("trap");
        fs::create_dir(&trap).unwrap();
        fs::set_permissions(&trap, fs::Permissions::from_mode(0o700)).unwrap();
        make_fifo(&trap.join("state.json"));
        fs::set_permissions(trap.join("state.json"), fs::Permissions::from_mode(0o600)).unwrap();
        for place in [trap.join("state.json"), trap.clone()] {
            std::os::unix::fs::chown(place, Some(uid), None).unwrap();
        }
        let root = shared.to_str().unwrap();
        for command in [&["state", "trap"][..], &["kill", "trap"], &["start", "trap"]] {
            let done = sandbox.rootlet(&[&["--root", root], command].concat());
            assert_eq!(done.code, 1, "{done:?}");
        }
        // It says that what it does not see is not there, or that it is not a state; but it says something.
        sandbox.rootlet(&["--root", root, "delete", "--force", "trap"]);
        assert!(trap.join("state.json").exists());
        sandbox.rootlet(&["--root", root, "list"]).ok();
        fs::remove_dir_all(&trap).unwrap();
    }
    let bundle = attacker.bundle();
    fs::remove_file(bundle.join("config.json")).unwrap();
    make_fifo(&bundle.join("config.json"));
    sandbox.rootlet(&["run", "-b", bundle.to_str().unwrap(), "box"]).fails(&["config.json is not a file"]);
}

#[test]
fn a_creation_is_taken_back_by_a_signal() {
    for sandbox in everybody() {
        let hook = sandbox.script("hook", "sleep 1000");
        sandbox.sh("true");
        sandbox
            .edit(|config| config["hooks"] = json!({"createRuntime": [{"path": hook, "env": ["PATH=/bin:/usr/bin"]}]}));
        let bundle = sandbox.bundle();
        let commands: [&[&str]; 3] = [&["run"], &["create"], &["run", "-d"]];
        for (signal, command) in
            [libc::SIGTERM, libc::SIGINT].into_iter().flat_map(|signal| commands.map(|one| (signal, one)))
        {
            let mut run = sandbox.command(&[command, &["-b", bundle.to_str().unwrap(), "box"]].concat());
            // What a shell's & has ignored stays ignored.
            // SAFETY: signal(2) of a signal that exists.
            unsafe {
                run.pre_exec(move || {
                    libc::signal(signal, libc::SIG_DFL);
                    Ok(())
                })
            };
            let mut run = run.spawn().unwrap();
            eventually("it is being created", || sandbox.states().join("box/state.json").exists());
            // SAFETY: the pid of a child that was not waited for.
            unsafe { libc::kill(run.id() as i32, signal) };
            assert_eq!(wait(&mut run), 128 + signal);
            sandbox.is_clean();
        }
    }
}

#[test]
fn a_shared_root_without_a_sticky_bit_is_refused() {
    if !is_root() {
        return skip("needs root to be two users");
    }
    let (sandbox, other) = (Sandbox::ordinary(), Sandbox::stranger());
    sandbox.sh("true");
    let bundle = sandbox.bundle();
    let run = |root: &Path| {
        sandbox.rootlet(&["--root", root.to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), "box"])
    };
    let open = sandbox.mkdir("open", 0o777);
    run(&open).fails(&["others may put states there", "sticky"]);
    sandbox.rootlet(&["--root", open.to_str().unwrap(), "list"]).fails(&["others may put states there"]);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    run(&open).ok();
    // Whoever owns a directory renames what is in it, sticky or not.
    let theirs = other.mkdir("theirs", 0o1777);
    run(&theirs).fails(&["others may put states there"]);
    let group = sandbox.mkdir("group", 0o770);
    run(&group).ok();
    std::os::unix::fs::chown(&group, None, Some(other.uid())).unwrap();
    run(&group).fails(&["others may put states there"]);
}

#[test]
fn nothing_that_others_write_speaks_to_the_terminal() {
    let sandbox = Sandbox::ordinary();
    let escape = "\u{1b}[2J\u{9b}31m\u{202e}";
    let is_plain = |text: &str| {
        !text.chars().any(|letter| letter.is_control() && letter != '\n' && letter != '\t' || letter == '\u{202e}')
    };
    let bundle = sandbox.bundle();
    let path = bundle.to_str().unwrap();
    sandbox.sh("true");
    let before = sandbox.config();
    let check = |change: &dyn Fn(&mut serde_json::Value)| {
        sandbox.write("bundle/config.json", &before.to_string());
        sandbox.edit(|config| change(config));
        for command in [
            &["run", "-b", path, "box"][..],
            &["plan", "-b", path],
            &["plan", "--format", "json", "-b", path],
            &["check", path],
        ] {
            let done = sandbox.rootlet(command);
            assert!(is_plain(&done.out) && is_plain(&done.err), "{command:?}: {done:?}");
            assert!(!done.err.lines().any(|line| line.starts_with("because: forged")), "{done:?}");
        }
    };
    check(&|config| config["process"][escape] = json!(1));
    check(&|config| config["process"]["args"] = json!([format!("{escape}\nbecause: forged")]));
    check(&|config| {
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": format!("/{escape}\nbecause: forged"), "type": escape, "source": escape}))
    });
    check(&|config| config["linux"]["sysctl"] = json!({escape: escape}));
    check(&|config| config["hostname"] = json!(escape));
    check(&|config| config["annotations"] = json!({escape: escape}));
    check(&|config| config["ociVersion"] = json!(escape));
    // A hook's last words, and the path of a bundle.
    let hook = sandbox.script("hook", "printf '\\033[2J\\233[31m\\nbecause: forged' >&2; exit 1");
    check(&|config| config["hooks"] = json!({"createRuntime": [{"path": hook, "env": ["PATH=/bin:/usr/bin"]}]}));
    sandbox.write("bundle/config.json", &before.to_string());
    let strange = sandbox.path().join(format!("{escape}\nid running"));
    fs::rename(sandbox.bundle(), &strange).unwrap();
    sandbox.rootlet(&["create", "-b", strange.to_str().unwrap(), "box"]).ok();
    for command in [&["list"][..], &["list", "--format", "json"], &["state", "box"]] {
        let done = sandbox.rootlet(command).ok();
        assert!(is_plain(&done.out), "{done:?}");
    }
    assert_eq!(sandbox.rootlet(&["list"]).ok().out.lines().count(), 2);
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    fs::rename(strange, sandbox.bundle()).unwrap();
}

#[test]
fn what_is_too_long_or_has_a_nul_is_an_error_by_its_path() {
    // CVE-2021-43784 and its like: lengths that overflow, strings that end early.
    for sandbox in everybody() {
        let before = sandbox.sh("true").config();
        let fails = |words: &[&str], change: &dyn Fn(&mut serde_json::Value)| {
            sandbox.write("bundle/config.json", &before.to_string());
            sandbox.edit(|config| change(config));
            sandbox.run().fails(words);
        };
        fails(&["process.args", "NUL"], &|config| config["process"]["args"] = json!(["a\0b"]));
        fails(&["process.env", "NUL"], &|config| config["process"]["env"] = json!(["A=a\0b"]));
        fails(&["process.cwd", "NUL"], &|config| config["process"]["cwd"] = json!("/a\0b"));
        fails(&["hostname"], &|config| config["hostname"] = json!("a".repeat(65)));
        fails(&["mounts[0]"], &|config| config["mounts"][0]["destination"] = json!(format!("/{}", "a".repeat(5000))));
        fails(&["linux.maskedPaths[0]"], &|config| {
            config["linux"]["maskedPaths"] = json!([format!("/{}", "a".repeat(5000))])
        });
        let ranges: Vec<_> =
            (0..341).map(|number| json!({"containerID": number, "hostID": number, "size": 1})).collect();
        if before["linux"]["uidMappings"].is_array() {
            fails(&["linux.uidMappings", "341 ranges"], &|config| config["linux"]["uidMappings"] = json!(ranges));
        }
    }
    let sandbox = Sandbox::ordinary();
    sandbox.write("bundle/config.json", &format!("{{\"a\": \"{}\"}}", "x".repeat(17 << 20)));
    sandbox.run().fails(&["too large"]);
    sandbox.write("bundle/config.json", &"[".repeat(200_000));
    sandbox.run().fails(&["config.json"]);
}

#[test]
fn an_id_is_a_name_and_no_path() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let bundle = sandbox.bundle();
    for id in ["../x", "a/b", "..", ".", "a\nb", "", "a b", "\u{1b}[2J", &"x".repeat(1025)] {
        let done = sandbox.rootlet(&["run", "-b", bundle.to_str().unwrap(), "--", id]);
        assert!(done.code == 1 && !done.err.contains('\u{1b}'), "{id:?}: {done:?}");
    }
    assert!(!sandbox.path().join("xdg/x").exists());
}

#[test]
fn a_default_state_directory_that_somebody_else_has_prepared_is_refused() {
    if !is_root() {
        return skip("needs root to be two users");
    }
    let (sandbox, attacker) = (Sandbox::ordinary(), Sandbox::stranger());
    sandbox.sh("true");
    let bundle = sandbox.bundle();
    let run = |temporary: &Path| {
        let mut command = sandbox.command(&["run", "-b", bundle.to_str().unwrap(), "box"]);
        command.env_remove("XDG_RUNTIME_DIR").env("TMPDIR", temporary);
        finish(command)
    };
    let shared = sandbox.mkdir("tmp", 0o1777);
    let trap = shared.join(format!("rootlet-{}", sandbox.uid()));
    fs::create_dir(&trap).unwrap();
    std::os::unix::fs::chown(&trap, Some(attacker.uid()), None).unwrap();
    run(&shared).fails(&["is not yours alone"]);
    fs::remove_dir(&trap).unwrap();
    symlink(attacker.mkdir("elsewhere", 0o777), &trap).unwrap();
    run(&shared).fails(&["is not yours alone"]);
    fs::remove_file(&trap).unwrap();
    run(&shared).ok();
}
