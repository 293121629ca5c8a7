//! Root, and engines that are root, with a user namespace of the container's own: `hostUsers: false`, `--userns=auto`,
//! userns-remap.

use crate::sandbox::{Sandbox, binary, finish};
use serde_json::json;
use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};

#[test]
fn what_is_bound_is_opened_with_the_callers_privileges() {
    let Some(sandbox) = Sandbox::remapped() else { return };
    // Nobody but root gets there.
    let vault = sandbox.mkdir("vault", 0o700);
    for place in ["data", "data/below", "link"] {
        fs::create_dir(vault.join(place)).unwrap();
    }
    sandbox.write("vault/data/file", "of the vault\n");
    sandbox.write("vault/file", "a file\n");
    fs::rename(sandbox.bundle(), vault.join("bundle")).unwrap();
    std::os::unix::fs::symlink(vault.join("bundle"), sandbox.bundle()).unwrap();
    let file = vault.join("file");
    for (destination, source, options) in [
        ("/data", vault.join("data"), json!(["rbind", "ro"])),
        ("/again", vault.join("data"), json!(["bind"])),
        ("/etc/file", file.clone(), json!(["bind", "nosuid"])),
        ("/mapped", vault.join("data"), json!(["rbind", "idmap"])),
    ] {
        sandbox.add_mount(json!({"destination": destination, "type": "bind", "source": source, "options": options}));
    }
    let device = vault.join("null");
    nix::sys::stat::mknod(
        &device,
        nix::sys::stat::SFlag::S_IFCHR,
        nix::sys::stat::Mode::from_bits_truncate(0o666),
        nix::sys::stat::makedev(1, 3),
    )
    .unwrap();
    sandbox.edit(|config| {
        config["root"]["path"] = json!(vault.join("bundle/rootfs"));
        config["linux"]["devices"] = json!([{"path": "/dev/null", "type": "c", "major": 1, "minor": 3}]);
    });
    let out = sandbox.output(
        "cat /data/file /again/file /etc/file /mapped/file; stat -c %u /data/file /mapped/file; (echo x >/data/new) 2>/dev/null || echo read-only; \
         mount -o remount,bind,rw /data 2>/dev/null && echo writable; cat /proc/self/uid_map | tr -s ' '; echo >/dev/null && echo null; ls /vault 2>/dev/null; true",
    );
    assert_eq!(out, "of the vault\nof the vault\na file\nof the vault\n65534\n0\nread-only\n 0 100000 65536\nnull\n");
    sandbox.assert_clean();
}

/// A process that holds namespaces of its own, as long as this lives.
struct Holder(Child);

impl Holder {
    fn of(kind: &str) -> Holder {
        let mut command = Command::new("unshare");
        command.args([kind, "sh", "-c", "echo; exec sleep 1000"]).stdout(Stdio::piped());
        let mut holder = Holder(command.spawn().unwrap());
        holder.0.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        holder
    }

    /// A user namespace with that map, of uids and of gids.
    fn of_ids(map: &str) -> Holder {
        let holder = Holder::of("--user");
        for file in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{file}", holder.0.id()), map).unwrap();
        }
        holder
    }

    fn path(&self, namespace: &str) -> String {
        format!("/proc/{}/ns/{namespace}", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn one_that_is_joined_keeps_its_own_maps() {
    let Some(sandbox) = Sandbox::remapped() else { return };
    let (user, network) = (Holder::of_ids("0 100000 65536\n"), Holder::of("--net"));
    let data = sandbox.mkdir("data", 0o755);
    sandbox.add_mount(json!({"destination": "/data", "type": "bind", "source": data, "options": ["rbind", "idmap"]}));
    sandbox.edit(|config| {
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            match namespace["type"].as_str().unwrap() {
                "user" => namespace["path"] = json!(user.path("user")),
                // The host owns it.
                "network" => namespace["path"] = json!(network.path("net")),
                _ => {}
            }
        }
    });
    let script = "cat /proc/self/uid_map | tr -s ' '; stat -c %u /data; readlink /proc/self/ns/net";
    let expected = fs::read_link(network.path("net")).unwrap();
    let done = sandbox.sh(script).run().ok();
    assert_eq!(done.out, format!(" 0 100000 65536\n0\n{}\n", expected.display()));
    assert!(!done.err.contains("warning"), "{done:?}");
    sandbox.edit(|config| config["linux"]["gidMappings"][0]["hostID"] = json!(200_000));
    sandbox.edit(|config| {
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "sysfs" && mount["type"] != "cgroup")
    });
    let done = sandbox.run().ok();
    assert!(
        done.err.contains("warning: config.json: linux.gidMappings: the namespace that is joined maps 0 100000 65536"),
        "{done:?}"
    );
    assert!(done.err.contains("0 200000 65536 was asked for"), "{done:?}");
    sandbox
        .rootlet(&["--strict", "run", "-b", sandbox.bundle().to_str().unwrap(), "box"])
        .fails(&["linux.gidMappings", "--strict"]);
    sandbox.assert_clean();
}

#[test]
fn clocks_are_set_for_a_mapped_root() {
    for sandbox in [Some(Sandbox::ordinary()), Sandbox::root(), Sandbox::remapped()].into_iter().flatten() {
        sandbox.edit(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
            config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000_000}});
        });
        let up = sandbox.output("cut -d. -f1 /proc/uptime");
        assert!(up.trim().parse::<u64>().unwrap() >= 1_000_000_000, "{up}");
        // Without offsets, it is a namespace of its own all the same.
        sandbox.edit(|config| drop(config["linux"].as_object_mut().unwrap().remove("timeOffsets")));
        let own = sandbox.output("readlink /proc/self/ns/time");
        assert_ne!(own.trim(), fs::read_link("/proc/self/ns/time").unwrap().to_str().unwrap());
        sandbox.assert_clean();
    }
}

#[test]
fn many_mapped_mounts_need_no_descriptors() {
    let Some(sandbox) = Sandbox::remapped() else { return };
    let data = sandbox.mkdir("data", 0o755);
    for number in 0..40 {
        let destination = format!("/data{number}");
        sandbox.add_mount(
            json!({"destination": destination, "type": "bind", "source": data, "options": ["rbind", "idmap"]}),
        );
    }
    sandbox.sh("stat -c %u /data39");
    let bundle = sandbox.bundle();
    let script = format!("ulimit -n 24; exec {} run -b {} box", binary().display(), bundle.display());
    assert_eq!(finish(sandbox.program("sh".as_ref(), &["-c", &script])).ok().out, "0\n");
    sandbox.assert_clean();
}

#[test]
fn one_that_maps_every_id_to_itself_is_not_the_hosts() {
    // systemd 260 makes such ones. There, device nodes are no use, and so they are bound.
    let Some(sandbox) = Sandbox::root() else { return };
    let user = Holder::of_ids("0 0 4294967295\n");
    let (pid, bundle) = (user.0.id().to_string(), sandbox.bundle());
    let arguments = ["-t", &pid, "--user", "--preserve-credentials", binary().to_str().unwrap(), "plan", "-b"];
    let arguments = [&arguments[..], &[bundle.to_str().unwrap()]].concat();
    let done = finish(sandbox.program("nsenter".as_ref(), &arguments)).ok();
    assert!(done.out.contains("bind device 1:3 /dev/null on /dev/null"), "{done:?}");
}

#[test]
fn what_is_no_such_namespace_is_named() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let before = sandbox.config();
    for kind in ["cgroup", "time", "network"] {
        for (path, because) in [("/nosuch", "no such namespace"), ("/proc/self/ns/uts", "no namespace of that type")] {
            sandbox.edit(|config| {
                *config = before.clone();
                let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
                namespaces.retain(|namespace| namespace["type"] != kind);
                namespaces.push(json!({"type": kind, "path": path}));
                config["mounts"]
                    .as_array_mut()
                    .unwrap()
                    .retain(|mount| mount["type"] != "sysfs" && mount["type"] != "cgroup");
            });
            let done = sandbox.run();
            let words = ["linux.namespaces[", path, because];
            assert!(done.code == 1 && words.iter().all(|word| done.err.contains(word)), "{kind}: {done:?}");
        }
    }
}

#[test]
fn the_limit_of_namespaces_that_is_reached_is_named() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let command = format!(
        "exec unshare -Urm sh -c 'echo 0 >/proc/sys/user/max_uts_namespaces && exec {} --root {} run -b {} box'",
        crate::sandbox::binary().display(),
        sandbox.mkdir("states", 0o700).display(),
        sandbox.bundle().display()
    );
    let done = crate::sandbox::finish(sandbox.program(std::path::Path::new("sh"), &["-c", &command]));
    assert!(done.code == 1 && done.err.contains("user.max_uts_namespaces is 0"), "{done:?}");
}

#[test]
fn no_null_device_of_the_hosts_stays_where_a_joined_namespace_has_its_root() {
    let Some(sandbox) = Sandbox::remapped() else { return };
    let user = Holder::of_ids("0 0 65536\n");
    sandbox.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.iter_mut().find(|namespace| namespace["type"] == "user").unwrap()["path"] = json!(user.path("user"));
        for mappings in ["uidMappings", "gidMappings"] {
            config["linux"].as_object_mut().unwrap().remove(mappings);
        }
    });
    let plan = sandbox.on_bundle(&["plan", "--format", "json"]).ok().out;
    assert!(plan.contains("open /dev/null again"), "{plan}");
    sandbox.sh("umount -l /dev/null; rm -f /dev/null; echo ready; sleep 1000");
    sandbox.edit(|config| {
        for set in config["process"]["capabilities"].as_object_mut().unwrap().values_mut() {
            *set = json!(["CAP_SYS_ADMIN"]);
        }
    });
    let mut run = sandbox.run_until_ready();
    let hosts = fs::metadata("/dev/null").unwrap();
    let done = sandbox.rootlet(&["exec", "box", "sh", "-c", "stat -L -c '%d %i' /proc/self/fd/0"]);
    use std::os::unix::fs::MetadataExt;
    assert!(done.code == 255 || done.out != format!("{} {}\n", hosts.dev(), hosts.ino()), "{done:?}");
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    crate::sandbox::wait(&mut run);
    sandbox.assert_clean();
}
