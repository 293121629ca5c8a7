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
            sandbox.assert_clean();
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
    let run = |root: &Path| sandbox.on_bundle(&["--root", root.to_str().unwrap(), "run", "box"]);
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
    for id in ["../x", "a/b", "..", ".", "a\nb", "", "a b", "\u{1b}[2J", &"x".repeat(1025)] {
        let done = sandbox.on_bundle(&["run", "--", id]);
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
    let run = |temporary: &Path| {
        let mut command = sandbox.command_on_bundle(&["run", "box"]);
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

/// A directory as /tmp is.
fn shared(sandbox: &Sandbox) -> std::path::PathBuf {
    let place = sandbox.path().join("shared");
    fs::create_dir(&place).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o1777)).unwrap();
    place
}

#[test]
fn what_others_have_put_into_a_shared_root_is_neither_used_nor_removed() {
    let Some(root) = Sandbox::root() else { return };
    let (victim, stranger) = (Sandbox::ordinary(), Sandbox::stranger());
    for sandbox in [&root, &victim] {
        let place = shared(sandbox);
        let precious = sandbox.write("precious", "precious\n");
        let trap = format!(
            "cd {} && umask 0 && mkdir 'box~' && ln -s {} 'box~/.state.json' && ln -s {0} 'box~/notify'",
            place.display(),
            precious.display()
        );
        let mut command = stranger.program("/bin/sh".as_ref(), &["-c", &trap]);
        assert!(command.status().unwrap().success());
        let bundle = sandbox.bundle();
        let run = ["--root", place.to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), "box"];
        sandbox.sh("true");
        sandbox.rootlet(&run).fails(&["box~ is not yours"]);
        sandbox.rootlet(&["--root", place.to_str().unwrap(), "delete", "-f", "box"]).fails(&["box~ is not yours"]);
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious\n");
        assert!(place.join("box~/.state.json").is_symlink());
        // A socket in the place of a state keeps nobody from seeing the others.
        let socket = format!(
            "mkdir {0}/x && perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => \"{0}/x/state.json\", Listen => 1) or die'",
            place.display()
        );
        assert!(stranger.program("/bin/sh".as_ref(), &["-c", &socket]).status().unwrap().success());
        sandbox.rootlet(&["--root", place.to_str().unwrap(), "list"]).ok();
    }
}

#[test]
fn a_root_that_others_may_rearrange_is_refused() {
    let Some(root) = Sandbox::root() else { return };
    let place = root.mkdir("place", 0o1777);
    std::os::unix::fs::chown(&place, Some(65534), None).unwrap();
    let bundle = root.bundle();
    let run = |sandbox: &Sandbox, place: &std::path::Path| {
        sandbox.rootlet(&["--root", place.to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), "box"])
    };
    run(&root, &place).fails(&["others may put states there", "65534"]);
    // A primary group may have many members.
    let victim = Sandbox::ordinary();
    let place = victim.mkdir("place", 0o770);
    std::os::unix::fs::chown(&place, None, Some(100)).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o770)).unwrap();
    victim.edit(|config| config["linux"]["gidMappings"][0]["hostID"] = json!(100));
    let bundle = victim.bundle();
    let mut command =
        victim.command(&["--root", place.to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), "box"]);
    command.gid(100);
    finish(command).fails(&["others may put states there", "go-w"]);
}

#[test]
fn a_state_in_anothers_place_is_not_taken_for_that() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    for id in ["one", "two"] {
        sandbox.on_bundle(&["run", "-d", id]).ok();
    }
    let states = sandbox.states();
    let exchange = || {
        fs::rename(states.join("one"), states.join("third")).unwrap();
        fs::rename(states.join("two"), states.join("one")).unwrap();
        fs::rename(states.join("third"), states.join("two")).unwrap();
    };
    exchange();
    sandbox.rootlet(&["kill", "one", "KILL"]).fails(&["state.json is that of \"two\""]);
    exchange();
    assert_eq!((sandbox.status("one"), sandbox.status("two")), ("running".to_owned(), "running".to_owned()));
    for id in ["one", "two"] {
        sandbox.rootlet(&["delete", "-f", id]).ok();
    }
    sandbox.assert_clean();
}

#[test]
fn a_binary_that_a_group_may_write_is_out_of_reach() {
    let Some(_) = Sandbox::root() else { return };
    let sandbox = Sandbox::ordinary();
    let place = sandbox.path().join("rootlet");
    fs::copy(crate::sandbox::binary(), &place).unwrap();
    std::os::unix::fs::chown(&place, Some(0), Some(5555)).unwrap();
    for (mode, is_sealed) in [(0o775, true), (0o755, false)] {
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
        // The loader is what the kernel runs in the place of a script's interpreter.
        let bundle = sandbox.bundle();
        sandbox.sh("sleep 1000");
        let create = ["create", "-b", bundle.to_str().unwrap(), "box"];
        crate::sandbox::finish(sandbox.program(&place, &create)).ok();
        let state: serde_json::Value = serde_json::from_str(&sandbox.rootlet(&["state", "box"]).ok().out).unwrap();
        let exe = fs::read_link(format!("/proc/{}/exe", state["pid"])).unwrap();
        assert_eq!(exe.to_string_lossy().starts_with("/memfd:rootlet"), is_sealed, "{mode:o}: {exe:?}");
        sandbox.rootlet(&["delete", "-f", "box"]).ok();
    }
}

#[test]
fn files_of_the_kernels_name_no_users() {
    // To read one may do something, such as to take the kernel's log away; and this one is the program's to choose.
    for sandbox in everybody() {
        let passwd = sandbox.rootfs().join("etc/passwd");
        let _ = fs::remove_file(&passwd);
        symlink("/proc/1/environ", &passwd).unwrap();
        sandbox.edit(|config| {
            let env = config["process"]["env"].as_array_mut().unwrap();
            env.retain(|variable| !variable.as_str().unwrap().starts_with("HOME="));
            env.push(json!("A=\nuser:x:0:0::/chosen:/bin/sh\n"));
        });
        sandbox.sh("sleep 1000");
        sandbox.start();
        let named = sandbox.rootlet(&["exec", "-u", "user", "box", "true"]);
        assert!(named.err.contains("is not in the container's /etc/passwd"), "{named:?}");
        assert_eq!(sandbox.rootlet(&["exec", "box", "sh", "-c", "echo $HOME"]).ok().out, "/\n");
    }
}
