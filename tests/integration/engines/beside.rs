//! What today's engines ask for, beside what the runtime that they come with makes of it, in the same guest.

use super::{Caller, INSTALLED, Outcome, Row, archive, have_engines};
use crate::sandbox::Done;
use std::sync::OnceLock;

/// One thing that is asked for.
struct Case {
    what: &'static str,
    callers: &'static [Caller],
    /// A shell script for both. `$E` is the engine with its runtime, `$R` the runtime's path, and `$N` its name.
    script: &'static str,
    /// What it prints, if all is well.
    prints: &'static str,
}

const BOTH: &[Caller] = &[Caller::Root, Caller::User];
const ROOT: &[Caller] = &[Caller::Root];
const USER: &[Caller] = &[Caller::User];

/// Runs a case with rootlet and, if that fails, with the peer: nobody is behind it where both fail.
fn compare(engine: &str, caller: Caller, case: &Case, run: impl Fn(&str, &str) -> Done) -> Option<String> {
    let mut row = Row::new(engine, caller.name(), case.what);
    let is_good = |done: &Done| done.code == 0 && done.out.trim_end() == case.prints;
    let own = run("rootlet", INSTALLED);
    if is_good(&own) {
        return None;
    }
    let name = if engine == "podman" { "crun" } else { "runc" };
    let peer = run(name, if engine == "podman" { "/usr/bin/crun" } else { "/usr/sbin/runc" });
    if !is_good(&peer) {
        row.outcome = Outcome::As(name);
        eprintln!("{name} fails, too: {} as {}: {peer:?}", case.what, caller.name());
        return None;
    }
    row.outcome = Outcome::Fails;
    Some(format!("{} as {}: {own:?}", case.what, caller.name()))
}

const PODMAN: &[Case] = &[
    Case {
        what: "--network pasta",
        callers: USER,
        script: "$E run --rm --network pasta box sh -c 'ip -o link | grep -vc LOOPBACK'",
        prints: "1",
    },
    Case {
        what: "--userns=auto",
        callers: BOTH,
        script: "$E run --rm --userns=auto box sh -c 'id -u; test $(cut -c 12-22 /proc/self/uid_map) != 0 && echo mapped'",
        prints: "0\nmapped",
    },
    Case {
        what: "--userns=auto with a volume below a private directory",
        callers: ROOT,
        script: "mkdir -p -m 700 private; mkdir -p private/data; echo kept >private/data/file; chmod 755 private/data
                 $E run --rm --userns=auto -v $HOME/private/data:/v box cat /v/file",
        prints: "kept",
    },
    Case { what: "--userns=nomap", callers: USER, script: "$E run --rm --userns=nomap box id -u", prints: "0" },
    Case {
        what: "--userns=keep-id with other ids",
        callers: USER,
        script: "$E run --rm --userns=keep-id:uid=200,gid=210 box sh -c 'id -u; id -g'",
        prints: "200\n210",
    },
    Case {
        what: "--uidmap and --gidmap",
        callers: BOTH,
        script: "$E run --rm --uidmap 0:1:100 --gidmap 0:1:100 box sh -c 'wc -l </proc/self/uid_map; id -u'",
        prints: "1\n0",
    },
    Case {
        what: "pod with --userns",
        callers: BOTH,
        script: "$E pod create --userns=auto --name pod >/dev/null || exit
                 $E run --rm --pod pod box sh -c 'id -u'; code=$?
                 $E pod rm -f -t 0 pod >/dev/null; exit $code",
        prints: "0",
    },
    Case {
        what: "--rootfs DIR:idmap",
        callers: ROOT,
        script: "mkdir -p /var/lib/plain && tar -C /var/lib/plain -xf /tmp/busybox.tar && ln -sf /proc/mounts /var/lib/plain/etc/mtab
                 $E run --rm --uidmap 0:200000:1000 --rootfs /var/lib/plain:idmap stat -c %u /bin/busybox",
        prints: "0",
    },
    Case {
        what: "--rootfs DIR:O",
        callers: BOTH,
        script: "mkdir -p plain && tar -C plain -xf /tmp/busybox.tar --no-same-owner
                 $E run --rm --rootfs $HOME/plain:O sh -c 'echo x >/new && cat /new'; ! test -e plain/new",
        prints: "x",
    },
    Case {
        what: "-v DIR:/v:O",
        callers: BOTH,
        script: "mkdir -p over; echo old >over/file
                 $E run --rm -v $HOME/over:/v:O box sh -c 'echo new >/v/file; cat /v/file'; cat over/file",
        prints: "new\nold",
    },
    Case {
        what: "-v DIR:/v:idmap",
        callers: ROOT,
        script: "mkdir -p mapped && touch mapped/file
                 $E run --rm --userns=auto -v $HOME/mapped:/v:idmap box stat -c %u /v/file",
        prints: "0",
    },
    Case {
        what: "-v DIR:/v:U",
        callers: BOTH,
        script: "rm -rf given; mkdir given; touch given/file
                 $E run --rm --user 1000 -v $HOME/given:/v:U box stat -c %u /v/file",
        prints: "1000",
    },
    Case {
        what: "--preserve-fd",
        callers: BOTH,
        script: "echo text >text; $E run --rm --preserve-fd 5,9 box sh -c 'cat <&9; ls /proc/self/fd | grep -c 5' 9<text 5</dev/null",
        prints: "text\n1",
    },
    Case {
        what: "--sdnotify=container, a unit of Type=notify",
        callers: BOTH,
        script: "systemd-run $USERS -q --collect --unit told-$N -p Delegate=yes -p Type=notify -p NotifyAccess=all \
                     $E run --rm --name told --cgroups=split --sdnotify=container -v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro \
                     box /usr/bin/bash -c 'systemd-notify --ready; sleep 1000'
                 systemctl $USERS is-active told-$N; systemctl $USERS stop told-$N",
        prints: "active",
    },
    Case {
        what: "--cgroups=split in a unit",
        callers: BOTH,
        script: "systemd-run $USERS -q --collect --unit split-$N -p Delegate=yes -p Type=notify -p NotifyAccess=all \
                     $E run --rm --sdnotify=conmon --name split --cgroups=split box sleep 1000
                 sleep 1; $E exec split cat /proc/1/comm
                 systemctl $USERS show -P ControlGroup split-$N | grep -c split
                 systemctl $USERS stop split-$N",
        prints: "sleep\n1",
    },
    Case {
        what: "a unit of quadlet",
        callers: BOTH,
        script: r#"mkdir -p $QUADLETS; printf '[Container]\nImage=localhost/box\nExec=sleep 1000\nGlobalArgs=--runtime %s\n' $R >$QUADLETS/quad.container
                   systemctl $USERS daemon-reload
                   systemctl $USERS start quad && systemctl $USERS is-active quad
                   podman inspect -f '{{.OCIRuntime}}' systemd-quad | sed "s,.*/,," | grep -cx $N
                   systemctl $USERS stop quad; rm $QUADLETS/quad.container; systemctl $USERS daemon-reload"#,
        prints: "active\n1",
    },
    Case {
        what: "kube play with hostUsers: false",
        callers: BOTH,
        script: r#"printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: users}\nspec:\n  hostUsers: false\n  containers:\n  - {name: a, image: localhost/box, command: [sleep, "1000"]}\n' >users.yaml
                   $E kube play users.yaml >/dev/null && $E exec users-a id -u; $E pod rm -f -t 0 users >/dev/null"#,
        prints: "0",
    },
    Case {
        what: "health checks on start",
        callers: BOTH,
        script: "$E run -d --name startup --health-cmd 'test -e /bin/sh' --health-interval 1h --health-startup-cmd true box sleep 1000 >/dev/null
                 $E healthcheck run startup && $E inspect -f '{{.State.Health.Status}}' startup; $E rm -f -t 0 startup >/dev/null",
        prints: "healthy",
    },
    Case {
        what: "--memory-reservation, --blkio-weight, --cpu-shares, --pids-limit 0, --oom-score-adj",
        callers: BOTH,
        script: "$E run --rm --memory-reservation 32m --cpu-shares 512 --pids-limit 0 --oom-score-adj 500 box sh -c '
                     cat /sys/fs/cgroup/memory.low /sys/fs/cgroup/pids.max /proc/self/oom_score_adj'",
        prints: "33554432\nmax\n500",
    },
    Case {
        what: "--umask, --workdir, --env-host",
        callers: BOTH,
        script: "LEFT=here $E run --rm --umask 0077 --workdir /usr --env-host box sh -c 'umask; pwd; echo $LEFT'",
        prints: "0077\n/usr\nhere",
    },
    Case {
        what: "--mount type=tmpfs, type=image, --shm-size, --read-only-tmpfs",
        callers: BOTH,
        script: "$E run --rm --read-only --shm-size 1m --mount type=tmpfs,destination=/t,tmpfs-mode=1777 --mount type=image,source=box,destination=/i box sh -c '
                     df -k /dev/shm | tail -1 | tr -s \" \" | cut -d \" \" -f 2; stat -c %a /t; ls /i/bin/busybox; touch /tmp/x && echo tmp'",
        prints: "1024\n1777\n/i/bin/busybox\ntmp",
    },
    Case {
        what: "--device, --device-cgroup-rule, --security-opt unmask",
        callers: ROOT,
        script: "$E run --rm --device /dev/fuse:/dev/f:r --device-cgroup-rule 'c 10:200 rwm' --security-opt unmask=/proc/acpi box ls /dev/f",
        prints: "/dev/f",
    },
    Case {
        what: "container update, cp, commit, export",
        callers: BOTH,
        script: "$E run -d --name filled box sh -c 'echo inside >/made; exec sleep 1000' >/dev/null; sleep 1
                 echo outside >sent; $E cp sent filled:/sent; $E exec filled cat /sent; $E cp filled:/made got; cat got
                 $E commit -q filled filled >/dev/null && $E run --rm filled cat /made; $E export filled | tar -tf - | grep -cx sent
                 $E rm -f -t 0 filled >/dev/null",
        prints: "outside\ninside\ninside\n1",
    },
];

#[test]
fn podmans_options_of_today() {
    if !have_engines() {
        return;
    }
    // Before version 5, half of this is not there.
    let version = Caller::Root.shell("podman --version").out;
    if version.contains(" 4.") {
        return crate::sandbox::skip("needs podman 5: scripts/engines --suite trixie");
    }
    // Who has one interface with a route can use pasta; `containers` owns what --userns=auto takes.
    let stage = "ip link add uplink type dummy && ip addr add 192.0.2.1/24 dev uplink && ip link set uplink up && ip route add default via 192.0.2.254
         grep -q ^containers: /etc/subuid || { echo containers:2000000:1000000 >>/etc/subuid; echo containers:2000000:1000000 >>/etc/subgid; }";
    Caller::Root.shell(stage).ok();
    let mut faults = Vec::new();
    for case in PODMAN {
        for caller in case.callers {
            super::podman::import(*caller);
            let users = if *caller == Caller::User { "--user" } else { "" };
            let quadlets = match caller {
                Caller::User => "$HOME/.config/containers/systemd",
                Caller::Root => "/etc/containers/systemd",
            };
            let run = |name: &str, path: &str| {
                let login = "test $(id -u) = 0 || export XDG_RUNTIME_DIR=/run/user/$(id -u)";
                let set = format!(
                    "{login}; R={path}; N={name}; E=\"/usr/bin/podman --runtime {path}\"; USERS={users}; QUADLETS={quadlets}"
                );
                caller.shell(&format!("{set}\n{}", case.script))
            };
            faults.extend(compare("podman", *caller, case, run));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

const DOCKER: &[Case] = &[
    Case {
        what: "userns-remap: run, -v, --tmpfs, -it's /dev/console, exec",
        callers: ROOT,
        script: "mkdir -p /srv/v && echo kept >/srv/v/file
                 $E run -d --name mapped -v /srv/v:/v --tmpfs /t box sleep 1000 >/dev/null
                 docker exec mapped sh -c 'id -u; cat /v/file; touch /t/x && ls /t; wc -l </proc/self/uid_map; cut -c 1-11 /proc/self/uid_map | tr -d \" \"'
                 docker rm -f mapped >/dev/null",
        prints: "0\nkept\nx\n1\n0",
    },
    Case {
        what: "userns-remap: limits, --user, --read-only, --init",
        callers: ROOT,
        script: "$E run --rm -m 64m --pids-limit 20 --user 1000 --read-only --init box sh -c 'id -u; cat /sys/fs/cgroup/memory.max; touch /x || echo denied' 2>/dev/null",
        prints: "1000\n67108864\ndenied",
    },
    Case {
        what: "userns-remap: --userns=host, --privileged",
        callers: ROOT,
        script: "$E run --rm --userns=host --privileged box sh -c 'mount -t tmpfs x /tmp && echo mounted'",
        prints: "mounted",
    },
];

#[test]
fn dockers_remapped_users() {
    if !have_engines() {
        return;
    }
    let _alone = super::docker::daemon();
    let remap = r#"s/^{/{"userns-remap": "default",/"#;
    Caller::Root.shell(&format!("sed -i '{remap}' /etc/docker/daemon.json && systemctl restart docker")).ok();
    Caller::Root.shell(&format!("docker import {} box", archive())).ok();
    let mut faults = Vec::new();
    for case in DOCKER {
        let run = |name: &str, _: &str| {
            Caller::Root.shell(&format!(
                "E=\"docker\"; e() {{ docker \"$1\" --runtime {name} \"${{@:2}}\"; }}; E=e\n{}",
                case.script
            ))
        };
        faults.extend(compare("docker", Caller::Root, case, run));
    }
    super::docker::configure();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn docker_without_root() {
    if !have_engines() {
        return;
    }
    let script = "/usr/share/docker.io/contrib/dockerd-rootless.sh";
    if !std::path::Path::new(script).exists() {
        return crate::sandbox::skip("needs dockerd-rootless.sh of Debian's docker.io: scripts/engines --suite trixie");
    }
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let start = format!(
            "export XDG_RUNTIME_DIR=/run/user/1000
             systemd-run --user -q --unit docker-rootless -p Delegate=yes -E PATH=/usr/sbin:/usr/bin:/sbin:/bin -E DOCKERD_ROOTLESS_ROOTLESSKIT_NET=slirp4netns \
                 {script} --iptables=false --ip6tables=false --bridge=none --add-runtime rootlet={INSTALLED}
             for i in $(seq 100); do [ -S $XDG_RUNTIME_DIR/docker.sock ] && break; sleep 0.2; done
             docker -H unix://$XDG_RUNTIME_DIR/docker.sock import /tmp/busybox.tar box || {{ journalctl --user -u docker-rootless -n 20 --no-pager >&2; exit 1; }}"
        );
        archive();
        Caller::User.shell(&start).ok();
    });
    let cases = [
        Case {
            what: "rootless: run, exit code, -v, --tmpfs, exec, pause, stop",
            callers: USER,
            script: "echo kept >kept; $E run -d --name life -v $HOME/kept:/k --tmpfs /t box sh -c 'trap \"exit 3\" TERM; while :; do sleep 0.1; done' >/dev/null
                     $D exec life cat /k; $D pause life; $D unpause life; $D stop -t 20 life; $D inspect -f '{{.State.ExitCode}}' life; $D rm -f life >/dev/null",
            prints: "kept\nlife\nlife\nlife\n3",
        },
        Case {
            what: "rootless: limits by systemd, --user, --read-only",
            callers: USER,
            script: "$E run --rm -m 64m --pids-limit 20 --user 1000 --read-only box sh -c 'id -u; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; touch /x || echo denied' 2>/dev/null",
            prints: "1000\n67108864\n20\ndenied",
        },
    ];
    let mut faults = Vec::new();
    for case in &cases {
        let run = |name: &str, _: &str| {
            Caller::User.shell(&format!(
                "D=\"docker -H unix:///run/user/1000/docker.sock\"; e() {{ $D \"$1\" --runtime {name} \"${{@:2}}\"; }}; E=e\n{}",
                case.script
            ))
        };
        faults.extend(compare("docker", Caller::User, case, run));
    }
    Caller::User.shell("XDG_RUNTIME_DIR=/run/user/1000 systemctl --user stop docker-rootless");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
