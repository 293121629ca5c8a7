//! What rootlet translates, beside plain models of what it should come to: filters, id maps, mount options; and configs that
//! are made to be valid, so that the fuzzer gets behind the parser.

#[path = "machine.rs"]
mod machine;

use super::place;
use machine::{Call, decide};
use rootlet::host::Host;
use rootlet::plan::Plan;
use rootlet::plan::step::MountStep;
use rootlet::property::{Request, compile};
use rootlet::seccomp::{Action, Architecture, Condition, Operator, Profile, Rule};
use rootlet::spec::load;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Choices that are made by bytes; 0 when there are no more.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.next()) % limit
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn some_of<T: Copy>(&mut self, all: &[T], most: usize) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| self.one_of(all)).collect()
    }

    fn number(&mut self) -> u32 {
        // Small ones, and those at the edges.
        let low = u32::from(self.next());
        match self.next() % 8 {
            0 => u32::MAX - low,
            1 => low << 16,
            2 => u32::from_le_bytes([self.next(), self.next(), self.next(), self.next()]),
            _ => low,
        }
    }
}

fn hosts() -> [Host; 2] {
    [(1000, 0), (0, u64::MAX)].map(|(uid, capabilities)| {
        let host = Host { uid, gid: uid, capabilities, ..Host::default() };
        let _ = host.in_initial_user_namespace.set(true);
        let _ = host.hierarchy.set(None);
        host
    })
}

fn request() -> Request {
    Request { id: "box".to_owned(), bundle: "/bundle".into(), try_limits: true, ..Request::default() }
}

fn plan_of(config: &Value, host: &Host) -> Result<Plan, String> {
    let loaded = load::parse(&config.to_string()).map_err(|error| error.in_one_line())?;
    compile(&loaded.spec, &request(), host).map_err(|error| error.in_one_line())
}

/// A config that most likely compiles, with many properties.
pub fn grammar(data: &[u8]) -> Value {
    let mut bytes = Bytes(data);
    let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"];
    let sets = bytes.some_of(&capabilities, 4);
    let mut mounts = vec![json!({"destination": "/proc", "type": "proc", "source": "proc"})];
    for _ in 0..bytes.below(4) {
        let destination = format!("/{}", bytes.some_of(&["a", "b", "dev", "tmp", "c d"], 3).join("/"));
        let options = bytes.some_of(&["ro", "nosuid", "nodev", "noexec", "rw", "rro", "size=4k", "mode=755"], 4);
        mounts.push(match bytes.next() % 3 {
            0 => json!({"destination": destination + "/x", "type": "tmpfs", "source": "tmpfs", "options": options}),
            1 => {
                let options: Vec<_> =
                    options.into_iter().filter(|option| !option.contains('=')).chain(["rbind"]).collect();
                json!({"destination": destination + "/y", "type": "bind", "source": "/usr", "options": options})
            }
            _ => json!({"destination": destination + "/z", "type": "mqueue", "source": "mqueue"}),
        });
    }
    let namespaces: BTreeSet<_> = bytes.some_of(&["ipc", "uts", "network", "cgroup", "time"], 4).into_iter().collect();
    let namespaces: Vec<_> =
        namespaces.into_iter().chain(["mount", "pid", "user"]).map(|kind| json!({"type": kind})).collect();
    let has = |kind: &str| namespaces.iter().any(|namespace| namespace["type"] == kind);
    let mut config = json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": bytes.next() % 2 == 0},
        "process": {
            "args": ["sh", "-c", "true"], "cwd": bytes.one_of(&["/", "/tmp", "/a b"]), "terminal": false,
            "user": {"uid": 0, "gid": 0, "umask": bytes.below(512)},
            "env": bytes.some_of(&["A=1", "PATH=/bin", "EMPTY=", "HOME=/x"], 4),
            "noNewPrivileges": bytes.next() % 2 == 0,
            "oomScoreAdj": bytes.below(1000),
            "capabilities": {"bounding": sets, "effective": sets, "permitted": sets},
        },
        "mounts": mounts,
        "linux": {
            "namespaces": namespaces,
            "maskedPaths": bytes.some_of(&["/proc/kcore", "/sys/firmware", "/proc/keys"], 3),
            "readonlyPaths": bytes.some_of(&["/proc/bus", "/proc/sys", "/proc/irq"], 3),
        },
    });
    if has("uts") {
        config["hostname"] = json!(bytes.one_of(&["box", "a.b-c", ""]));
    }
    if bytes.next() % 2 == 0 {
        let soft = u64::from(bytes.next());
        config["process"]["rlimits"] =
            json!([{"type": "RLIMIT_NOFILE", "soft": soft, "hard": soft + u64::from(bytes.next())}]);
    }
    if has("network") && bytes.next() % 2 == 0 {
        config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "net.core.somaxconn": bytes.next().to_string()});
    }
    if bytes.next() % 3 == 0 {
        let names = bytes.some_of(&["mount", "ptrace", "bpf", "keyctl", "nobody_has_it"], 4);
        if !names.is_empty() {
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": bytes.next()}]
            });
        }
    }
    if bytes.next() % 3 == 0 {
        config["linux"]["resources"] = json!({
            "memory": {"limit": u64::from(bytes.next()) << 20}, "pids": {"limit": bytes.next()},
            "cpu": {"shares": 2 + u32::from(bytes.next()), "quota": 1000 + u32::from(bytes.next()), "period": 100_000},
        });
    }
    if bytes.next() % 4 == 0 {
        config["hooks"] =
            json!({"prestart": [{"path": "/bin/true", "args": ["true"], "timeout": 1 + u32::from(bytes.next())}]});
    }
    config
}

/// A config of the grammar: it compiles, or the error names a property. Whether it has compiled.
pub fn compiles(data: &[u8]) -> bool {
    let config = grammar(data);
    let [ordinary, root] = hosts().map(|host| plan_of(&config, &host));
    for plan in [&ordinary, &root] {
        match plan {
            Ok(plan) => assert!(!plan.to_string().chars().any(|letter| letter.is_control() && letter != '\n')),
            Err(error) => assert!(error.starts_with("config.json: "), "{error}"),
        }
    }
    ordinary.is_ok() || root.is_ok()
}

/// The same, for the fuzzer.
pub fn plan(data: &[u8]) {
    compiles(data);
}

fn holds(condition: &Condition, arguments: [u64; 6]) -> bool {
    let (argument, value) = (arguments[usize::from(condition.argument)], condition.value);
    match condition.operator {
        Operator::NotEqual => argument != value,
        Operator::Less => argument < value,
        Operator::LessOrEqual => argument <= value,
        Operator::Equal => argument == value,
        Operator::GreaterOrEqual => argument >= value,
        Operator::Greater => argument > value,
        Operator::MaskedEqual(mask) => argument & mask == value,
    }
}

/// What the rules say, read one after the other: of those without conditions the first; else, of those that hold, one that
/// refuses before one that allows. `None`: two of the same kind hold, of which any may count.
fn meaning(profile: &Profile, name: &str, arguments: [u64; 6]) -> Option<u32> {
    let rules: Vec<_> =
        profile.rules.iter().filter(|rule| rule.action != profile.default && rule.names.contains(&name)).collect();
    if let Some(rule) = rules.iter().find(|rule| rule.conditions.is_empty()) {
        return Some(rule.action.0);
    }
    let holding = rules.iter().filter(|rule| rule.conditions.iter().all(|condition| holds(condition, arguments)));
    let actions: BTreeSet<u32> = holding.map(|rule| rule.action.0).collect();
    let (kind, permissive) = (|action: &u32| Action(*action).is_permissive(), Action::is_permissive);
    let refusing: Vec<_> = actions.iter().copied().filter(|action| !permissive(Action(*action))).collect();
    let allowing: Vec<_> = actions.iter().copied().filter(kind).collect();
    match (&refusing[..], &allowing[..]) {
        ([], []) => Some(profile.default.0),
        ([one], _) | ([], [one]) => Some(*one),
        _ => None,
    }
}

/// Filters of the native architecture, run on calls at the edges of their conditions.
pub fn seccomp(data: &[u8]) {
    // Not multiplexed on other architectures, so that a name is one number.
    const NAMES: [&str; 8] = ["read", "write", "close", "mmap", "clone", "keyctl", "bpf", "openat2"];
    let mut bytes = Bytes(data);
    let actions = [Action::ALLOW, Action::errno(1), Action::errno(13), Action::KILL_PROCESS, Action::TRAP, Action::LOG];
    let default = bytes.one_of(&actions);
    let mut rules = Vec::new();
    for _ in 0..1 + bytes.below(6) {
        let names = bytes.some_of(&NAMES, 3);
        let action = bytes.one_of(&actions);
        // As in the config: one condition for each argument.
        let conditions: BTreeMap<u8, Condition> = (0..bytes.below(3))
            .map(|_| {
                let argument = bytes.next() % 6;
                let value = u64::from(bytes.number()) << if bytes.next() % 4 == 0 { 32 } else { 0 };
                let operator = match bytes.next() % 7 {
                    0 => Operator::NotEqual,
                    1 => Operator::Less,
                    2 => Operator::LessOrEqual,
                    3 => Operator::Equal,
                    4 => Operator::GreaterOrEqual,
                    5 => Operator::Greater,
                    _ => Operator::MaskedEqual(u64::from(bytes.number()) | value),
                };
                (argument, Condition { argument, operator, value })
            })
            .collect();
        rules.push(Rule { names, action, conditions: conditions.into_values().collect() });
    }
    let native = Architecture::native();
    let profile = Profile { default, architectures: vec![native], rules };
    let program = profile.compile();
    let numbers: BTreeMap<&str, u32> = native.system_calls().map(|(number, name)| (name, number)).collect();
    let edges: Vec<u64> = profile
        .rules
        .iter()
        .flat_map(|rule| &rule.conditions)
        .flat_map(|condition| [condition.value.wrapping_sub(1), condition.value, condition.value.wrapping_add(1)])
        .chain([0, u64::MAX, 1 << 32])
        .collect();
    let named = profile.rules.iter().filter(|rule| rule.action != default).flat_map(|rule| &rule.names);
    let newest = named.map(|name| numbers[name]).max();
    for name in NAMES {
        // Newer than all that the profile knows: programs are to fall back.
        let is_unknown = !default.is_permissive() && newest.is_some_and(|newest| numbers[name] > newest);
        for turn in 0..edges.len() {
            let arguments = std::array::from_fn(|index| edges[(turn + index * 5) % edges.len()]);
            let call = Call { number: numbers[name], audit: native.audit(), arguments };
            let expected = if is_unknown { Some(Action::errno(38).0) } else { meaning(&profile, name, arguments) };
            if let Some(expected) = expected {
                assert_eq!(decide(&program, call), expected, "{name} {arguments:x?} by {profile:?}");
            }
        }
    }
    let foreign = Call { number: 0, audit: 0x1234, arguments: [0; 6] };
    assert_eq!(decide(&program, foreign), Action::KILL_THREAD.0, "another architecture is no part of the profile");
}

/// Id maps: what compiles is what the kernel takes, and says what the config says.
pub fn ids(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut list = || -> Vec<[u32; 3]> {
        (0..1 + bytes.below(4)).map(|_| [bytes.number(), bytes.number(), bytes.number()]).collect()
    };
    let (uids, gids) = (list(), list());
    let json_of = |maps: &[[u32; 3]]| -> Value {
        maps.iter()
            .map(|[inside, outside, size]| json!({"containerID": inside, "hostID": outside, "size": size}))
            .collect()
    };
    let config = json!({
        "ociVersion": "1.2.0", "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": uids[0][0], "gid": gids[0][0]}},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "user"}], "uidMappings": json_of(&uids), "gidMappings": json_of(&gids)},
    });
    let overlap = |maps: &[[u32; 3]], side: usize| {
        maps.iter().enumerate().any(|(index, one)| {
            let (start, end) = (u64::from(one[side]), u64::from(one[side]) + u64::from(one[2]));
            maps.iter()
                .skip(index + 1)
                .any(|other| start < u64::from(other[side]) + u64::from(other[2]) && u64::from(other[side]) < end)
        })
    };
    let is_valid = |maps: &[[u32; 3]]| {
        let fits = |start: u32, size: u32| size > 0 && u64::from(start) + u64::from(size) <= u64::from(u32::MAX);
        maps.iter().all(|[inside, outside, size]| fits(*inside, *size) && fits(*outside, *size))
            && !overlap(maps, 0)
            && !overlap(maps, 1)
    };
    let [_, root] = hosts();
    match plan_of(&config, &root) {
        Ok(plan) => {
            assert!(is_valid(&uids) && is_valid(&gids), "the kernel would refuse {uids:?} {gids:?}");
            let (uid_map, gid_map) = plan.id_maps().expect("there are maps");
            for (text, maps) in [(uid_map, &uids), (gid_map, &gids)] {
                let lines = std::str::from_utf8(text).unwrap().lines();
                let said: Vec<Vec<u32>> =
                    lines.map(|line| line.split(' ').map(|word| word.parse().unwrap()).collect()).collect();
                assert_eq!(said, maps.iter().map(|map| map.to_vec()).collect::<Vec<_>>());
            }
        }
        Err(error) => assert!(!is_valid(&uids) || !is_valid(&gids), "{uids:?} {gids:?}: {error}"),
    }
}

/// Names of mount(8) with their flags (sys/mount.h), and whether they clear them.
const OPTIONS: [(&str, u64, bool); 14] = [
    ("ro", 1, false),
    ("rw", 1, true),
    ("nosuid", 2, false),
    ("suid", 2, true),
    ("nodev", 4, false),
    ("dev", 4, true),
    ("noexec", 8, false),
    ("exec", 8, true),
    ("sync", 16, false),
    ("async", 16, true),
    ("noatime", 1024, false),
    ("atime", 1024, true),
    ("dirsync", 128, false),
    ("nodiratime", 2048, false),
];

/// MS_NODEV.
const NODEV: u64 = 4;

/// Options of a mount: flags in their order, and the rest for the file system.
pub fn options(data: &[u8]) {
    let mut bytes = Bytes(data);
    let (mut flags, mut words, mut rest) = (0u64, Vec::new(), Vec::new());
    for _ in 0..bytes.below(12) {
        if bytes.next() % 4 == 0 {
            let word = format!("x{}={}", bytes.next(), bytes.next());
            words.push(word.clone());
            rest.push(word);
        } else {
            let (name, flag, clears) = bytes.one_of(&OPTIONS);
            flags = if clears { flags & !flag } else { flags | flag };
            words.push(name.to_owned());
        }
    }
    let config = json!({
        "ociVersion": "1.2.0", "root": {"path": "rootfs"}, "process": {"args": ["sh"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "mount"}]},
        "mounts": [{"destination": "/x", "type": "ramfs", "source": "none", "options": words}],
    });
    let [_, root] = hosts();
    let plan = plan_of(&config, &root).unwrap();
    let mounted = plan.entries.iter().find_map(|entry| match entry.mount_step()? {
        MountStep::Mount(mount) if mount.kind.as_c_str() == c"ramfs" => Some((mount.flags, mount.data.clone())),
        _ => None,
    });
    let (made, data) = mounted.expect("it is mounted");
    // rootlet may add nodev: nobody has said who may use devices.
    assert_eq!(made & !NODEV, flags & !NODEV, "{words:?}");
    assert!(flags & NODEV == 0 || made & NODEV != 0, "{words:?}");
    assert_eq!(data.unwrap_or_default().to_str().unwrap(), rest.join(","), "{words:?}");
}

/// Files of a cgroup, between NULs, as a kernel of another day might write them.
pub fn statistics(data: &[u8]) {
    const FILES: [&str; 12] = [
        "cpu.stat",
        "cpu.pressure",
        "cpuset.cpus.effective",
        "memory.current",
        "memory.max",
        "memory.swap.max",
        "memory.swap.current",
        "memory.stat",
        "memory.events",
        "pids.current",
        "pids.max",
        "io.stat",
    ];
    let cgroup = place().join("cgroup");
    let _ = std::fs::remove_dir_all(&cgroup);
    std::fs::create_dir(&cgroup).unwrap();
    std::fs::write(cgroup.join("cgroup.procs"), "").unwrap();
    for (file, text) in FILES.iter().zip(data.split(|byte| *byte == 0)) {
        std::fs::write(cgroup.join(file), text).unwrap();
    }
    if let Ok(stats) = rootlet::cgroup::stats::of(&cgroup, &|| Ok(0)) {
        let text = stats.to_string();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), stats, "what is written can be read");
    }
}
