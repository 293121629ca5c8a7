//! podman, by `--runtime` and by containers.conf.

use super::{Caller, INSTALLED, Row, archive, have_engines, under_a_pty};
use crate::sandbox::Done;
use std::sync::OnceLock;

/// podman with rootlet as its runtime, and an image `box` that was imported.
#[derive(Clone, Copy)]
struct Podman(Caller);

/// An image `box`.
pub fn import(caller: Caller) {
    static IMPORTED: [OnceLock<()>; 2] = [const { OnceLock::new() }; 2];
    IMPORTED[caller as usize].get_or_init(|| {
        caller.shell(&format!("podman import -q {} box", archive())).ok();
    });
}

impl Podman {
    fn new(caller: Caller) -> Podman {
        import(caller);
        Podman(caller)
    }

    /// Both users'.
    fn each(what: &'static str, test: impl Fn(Podman)) {
        if !have_engines() {
            return;
        }
        for caller in [Caller::Root, Caller::User] {
            let _row = Row::new("podman", caller.name(), what);
            test(Podman::new(caller));
        }
    }

    fn run(self, arguments: &str) -> Done {
        self.0.shell(&format!("podman --runtime {INSTALLED} {arguments}"))
    }

    #[track_caller]
    fn says(self, arguments: &str) -> String {
        self.run(arguments).ok().out
    }
}

#[test]
fn containers_live_and_end() {
    Podman::each("run, run -d, logs, exec, top, pause, stop, start, restart, kill, wait, rm -f", |podman| {
        assert_eq!(podman.says("run --rm box echo hi"), "hi\n");
        assert_eq!(podman.run("run --rm box sh -c 'exit 7'").code, 7);
        podman.says(r#"run -d --name life box sh -c 'trap "exit 3" TERM; echo up; while :; do sleep 0.1; done'"#);
        assert_eq!(podman.says("logs life"), "up\n");
        let done = podman.run("exec -e A=b -u user -w /tmp life sh -c 'id -u; pwd; echo $A; exit 5'");
        assert_eq!((done.code, done.out.as_str()), (5, "1000\n/tmp\nb\n"), "{done:?}");
        // It reads /proc of processes that may have ended since.
        crate::sandbox::eventually("podman top", || podman.run("top life pid comm").out.contains("sh"));
        podman.says("exec -d life sleep 1000");
        podman.says("pause life");
        assert!(podman.says("ps -a --format '{{.Status}}'").contains("Paused"));
        podman.says("unpause life");
        podman.says("stop -t 20 life");
        assert_eq!(podman.says("inspect -f '{{.State.ExitCode}}' life"), "3\n");
        podman.says("start life");
        podman.says("restart -t 20 life");
        assert_eq!(podman.says("inspect -f '{{.State.Status}}' life"), "running\n");
        podman.says("kill -s KILL life");
        assert_eq!(podman.says("wait life"), "137\n");
        podman.says("start life");
        podman.says("rm -f -t 0 life");
        assert!(!podman.says("ps -a --format '{{.Names}}'").contains("life"));
    });
}

#[test]
fn terminals_are_interactive() {
    Podman::each("run -it, exec -it, under a pty", |podman| {
        let flags = format!("podman --runtime {INSTALLED}");
        let done =
            under_a_pty(podman.0, &format!("{flags} run --rm -it --name tty box sh"), "tty; stty size; exit 5\\n");
        assert!(done.out.contains("/dev/pts/0") && done.code == 5, "{done:?}");
        podman.says("run -d --name shell box sleep 1000");
        let done = under_a_pty(podman.0, &format!("{flags} exec -it shell sh"), "tty; exit 6\\n");
        assert!(done.out.contains("/dev/pts/0") && done.code == 6, "{done:?}");
        podman.says("rm -f -t 0 shell");
    });
}

#[test]
fn options_are_followed() {
    let what =
        "-v, --tmpfs, --read-only, --cap-drop, --security-opt, --user, --init, --pid=host, --privileged, --ulimit";
    Podman::each(what, |podman| {
        podman.0.shell("mkdir -p volume && echo kept >volume/file").ok();
        let home = podman.0.home().display();
        let script = "cat /v/file; df /t | tail -1; touch /v/new || touch /new || echo denied";
        let done =
            podman.run(&format!("run --rm --read-only -v {home}/volume:/v:ro --tmpfs /t:size=1m box sh -c '{script}'"));
        assert!(done.out.starts_with("kept\ntmpfs") && done.out.ends_with("denied\n"), "{done:?}");
        let show = "grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; id -u; ulimit -n";
        let flags = "--cap-drop ALL --security-opt no-new-privileges --user 1000 --ulimit nofile=99:99";
        let shown = podman.says(&format!("run --rm {flags} box sh -c \"{show}\""));
        assert_eq!(shown, "CapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n1000\n99\n");
        podman.0.write(
            "deny.json",
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}"#,
        );
        let denied = podman.run(&format!("run --rm --security-opt seccomp={home}/deny.json box mkdir /x"));
        assert!(denied.code == 1 && denied.err.contains("Operation not permitted"), "{denied:?}");
        assert!(podman.says("run --rm --init box ps").contains("-- ps"));
        assert!(podman.says("run --rm --pid=host box ps").contains("systemd"));
        assert!(
            podman.says("run --rm --privileged box sh -c 'mount -t tmpfs x /tmp && echo mounted'").contains("mounted")
        );
        assert_eq!(podman.says("run --rm --ipc=host --uts=host --cgroupns=host box hostname"), "vm\n");
        assert_eq!(podman.says("run --rm --group-add keep-groups --hostname other box hostname"), "other\n");
    });
}

#[test]
fn networks_and_users_are_joined() {
    Podman::each(
        "--network none, host, bridge (rootful), slirp4netns (rootless); --uidmap (rootful), --userns=keep-id (rootless)",
        |podman| {
            let links = |network: &str| podman.says(&format!("run --rm --network={network} box ip -o link"));
            assert_eq!(links("none").lines().count(), 1);
            let inside = podman.says("run --rm --network=host box readlink /proc/self/ns/net");
            assert_eq!(inside, podman.0.shell("readlink /proc/self/ns/net").out);
            match podman.0 {
                Caller::Root => {
                    assert!(links("bridge").contains("eth0"));
                    let map = podman.says("run --rm --uidmap 0:200000:1000 box cat /proc/self/uid_map");
                    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "200000", "1000"]);
                }
                Caller::User => {
                    assert!(links("slirp4netns").contains("tap0"));
                    assert_eq!(podman.says("run --rm --userns=keep-id box id -u"), "1000\n");
                }
            }
        },
    );
}

#[test]
fn limits_are_enforced() {
    Podman::each("--memory, --pids-limit, --cpus, update, stats", |podman| {
        let files = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max";
        let shown = podman.says(&format!("run --rm --memory 64m --pids-limit 20 --cpus 0.5 box cat {files}"));
        assert_eq!(shown, "67108864\n20\n50000 100000\n");
        podman.says("run -d --name limited --memory 64m box sleep 1000");
        podman.says("update --memory 48m --cpus 0.25 limited");
        assert_eq!(
            podman.says("exec limited cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max"),
            "50331648\n25000 100000\n"
        );
        let stats = podman.says("stats --no-stream --format '{{.MemUsage}}' limited");
        assert!(stats.contains("kB / "), "{stats}");
        podman.says("rm -f -t 0 limited");
        assert_eq!(podman.run("run --rm --memory 16m --memory-swap 16m box tail /dev/zero").code, 137);
    });
}

#[test]
fn pods_share_namespaces() {
    Podman::each("pod with two containers, kube play, healthcheck", |podman| {
        podman.says("pod create --name pod");
        podman.says("run -d --pod pod --name one box sleep 1000");
        podman.says("run -d --pod pod --name two box sleep 1000");
        let namespaces = |name: &str| {
            podman.says(&format!("exec {name} sh -c 'for n in net ipc uts mnt; do readlink /proc/self/ns/$n; done'"))
        };
        let (one, two) = (namespaces("one"), namespaces("two"));
        let (one, two): (Vec<_>, Vec<_>) = (one.lines().collect(), two.lines().collect());
        assert!(one[..3] == two[..3] && one[3] != two[3], "{one:?} {two:?}");
        podman.says("pod pause pod");
        podman.says("pod unpause pod");
        podman.says("pod stop -t 0 pod");
        podman.says("pod rm -f pod");
        let pod = "
            apiVersion: v1
            kind: Pod
            metadata: {name: kube}
            spec:
              containers:
              - {name: a, image: localhost/box, command: [sleep, '1000'], resources: {limits: {memory: 64Mi}}}
              - {name: b, image: localhost/box, command: [sh, -c, 'echo hello; sleep 1000'], securityContext: {readOnlyRootFilesystem: true}}";
        podman.0.write("pod.yaml", pod);
        podman.says("kube play pod.yaml || podman --runtime /usr/local/bin/rootlet play kube pod.yaml");
        assert_eq!(podman.says("exec kube-a cat /sys/fs/cgroup/memory.max"), "67108864\n");
        assert_eq!(podman.says("logs kube-b"), "hello\n");
        podman.says("pod rm -f -t 0 kube");
        podman.says("run -d --name health --health-cmd 'test -e /bin/sh' --health-interval 1h box sleep 1000");
        podman.says("healthcheck run health");
        assert_eq!(podman.says("inspect -f '{{.State.Health.Status}}' health"), "healthy\n");
        podman.says("rm -f -t 0 health");
    });
}

#[test]
fn images_are_built() {
    Podman::each("build of a Containerfile with RUN", |podman| {
        podman.0.write(
            "build/Containerfile",
            "FROM localhost/box\nRUN echo built >/built && test $(id -u) = 0\nUSER 1000\nRUN id -u\nCMD cat /built\n",
        );
        let done = podman.run("build -q -t built build").ok();
        assert!(!done.err.contains("warning"), "{done:?}");
        assert_eq!(podman.says("run --rm built"), "built\n");
    });
}

#[test]
fn it_is_the_runtime_of_containers_conf() {
    Podman::each("containers.conf, exit codes 125, 126 and 127, --cgroups=disabled", |podman| {
        podman.0.write("conf", include_str!("../../../examples/podman/containers.conf"));
        let conf = format!("CONTAINERS_CONF={}/conf podman", podman.0.home().display());
        let run = |arguments: &str| podman.0.shell(&format!("{conf} {arguments}"));
        assert_eq!(run("info --format '{{.Host.OCIRuntime.Name}}'").ok().out, "rootlet\n");
        assert_eq!(run("run --rm box echo hi").ok().out, "hi\n");
        assert_eq!(run("--runtime-flag limits=try run --rm box echo hi").ok().out, "hi\n");
        let missing = run("run --rm box nosuch");
        assert!(missing.code == 127 && missing.err.contains("executable file not found"), "{missing:?}");
        let refused = run("run --rm box /etc/passwd");
        assert!(refused.code == 126 && refused.err.contains("permission denied"), "{refused:?}");
        // What is not the program's fault is not taken for it.
        let limit = run("run --rm --cpuset-cpus 99 box true");
        assert!(matches!(limit.code, 125 | 126) && limit.err.contains("cpu"), "{limit:?}");
        let shown = run("run --rm --cgroups=disabled box cat /proc/self/cgroup").ok().out;
        assert!(!shown.contains("libpod"), "{shown}");
    });
}

#[test]
fn containers_are_checkpointed() {
    if !have_engines() {
        return;
    }
    let _row = Row::new("podman", "rootful", "container checkpoint, restore");
    let podman = Podman::new(Caller::Root);
    let count = "i=0; while :; do i=$((i+1)); echo $i >/count; sleep 0.1; done";
    podman.says(&format!("run -d --name counter box sh -c '{count}'"));
    podman.says("container checkpoint --leave-running counter");
    podman.says("container checkpoint counter");
    let reached: u32 = podman
        .says("run --rm --volumes-from counter box true; podman cp counter:/count - | tar -xO")
        .trim()
        .parse()
        .unwrap();
    podman.says("container restore counter");
    let count = || podman.says("exec counter cat /count").trim().parse::<u32>().unwrap_or(0);
    crate::sandbox::eventually("it goes on", || count() > reached);
    podman.says("rm -f -t 0 counter");
}
