use super::*;
use crate::host::{Cgroups, Hierarchy, Level};
use crate::plan::Step;
use crate::plan::step::{MountStep, NamespaceStep, ProgramStep};
use crate::spec::load::parse;
use crate::spec::schema::KEYS;
use crate::sys::fd;
use serde_json::{Value, json};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;

/// An ordinary user's host, as no machine has to be.
fn ordinary() -> Host {
    Host {
        uid: 1000,
        gid: 1000,
        capabilities: 0,
        in_initial_user_namespace: OnceCell::from(true),
        oom_score_adj: OnceCell::from(100),
        cgroups: OnceCell::from(Cgroups::Legacy),
        hierarchy: OnceCell::from(Some(Hierarchy { root: TREE.into(), own: TREE.into() })),
        levels: levels(false),
        bus: OnceCell::from(None),
        ..Host::default()
    }
}

/// Where no machine has one.
const TREE: &str = "/cgroups-of-a-test";

fn levels(is_writable: bool) -> RefCell<BTreeMap<PathBuf, Level>> {
    RefCell::from(BTreeMap::from([(PathBuf::from(TREE), Level { is_writable, ..Level::default() })]))
}

fn root() -> Host {
    Host { uid: 0, gid: 0, capabilities: u64::MAX, levels: levels(true), ..ordinary() }
}

fn config() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/", "env": ["PATH=/bin:/sbin"]},
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "user"}],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
        }
    })
}

fn plan(config: &Value, host: &Host) -> Result<Plan> {
    let request = Request { id: "box".to_owned(), bundle: "/bundle".into(), ..Request::default() };
    compile(&parse(&config.to_string())?.spec, &request, host)
}

fn steps(plan: &Plan) -> Vec<&Step> {
    plan.entries.iter().map(|entry| &entry.step).collect()
}

#[test]
fn phases_never_run_backwards() {
    assert!(ORDER.is_sorted_by_key(|property| property.phase));
    let plan = plan(&config(), &ordinary()).unwrap();
    assert!(plan.entries.is_sorted_by_key(|entry| entry.phase));
}

/// Plans of hosts that no machine has to be are written down; a change shows in review. ROOTLET_BLESS=1 writes them anew.
#[test]
fn plans_are_as_written_down() {
    let mut mapped = config();
    mapped["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [5]});
    mapped["process"]["terminal"] = json!(true);
    mapped["process"]["noNewPrivileges"] = json!(true);
    mapped["process"]["oomScoreAdj"] = json!(50);
    mapped["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}]);
    mapped["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .extend([json!({"type": "cgroup"}), json!({"type": "network"})]);
    for mappings in ["uidMappings", "gidMappings"] {
        mapped["linux"][mappings] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    }
    mapped["linux"]["cgroupsPath"] = json!("box");
    mapped["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
    mapped["linux"]["netDevices"] = json!({"eth1": {"name": "eth0"}});
    mapped["linux"]["maskedPaths"] = json!(["/proc/keys"]);
    mapped["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    mapped["mounts"] = json!([
        {"destination": "/data", "type": "bind", "source": "/data", "options": ["rbind", "ro"]},
        {"destination": "/mapped", "type": "bind", "source": "/data", "options": ["rbind", "idmap"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
    ]);
    let hook = json!([{"path": "/bin/hook", "args": ["hook", "word"], "timeout": 2}]);
    mapped["hooks"] = json!({"createRuntime": hook, "createContainer": hook, "startContainer": hook});
    let host = Host { levels: levels(true), ..root() };
    let request = Request { id: "box".to_owned(), bundle: "/bundle".into(), ..Request::default() };
    let spec = parse(&mapped.to_string()).unwrap().spec;
    let namespaces = crate::plan::print::namespace_flags(&["user", "mount", "pid"].map(str::to_owned));
    let mut sandboxed = config();
    sandboxed["process"]["noNewPrivileges"] = json!(true);
    sandboxed["mounts"] = json!([
        {"destination": "/", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/usr", "source": "/usr", "options": ["rbind", "rro", "rootlet.inode=8:2"]},
        {"destination": "/bin", "type": "rootlet.symlink", "source": "usr/bin"},
        {"destination": "/a/b", "type": "rootlet.directory", "options": ["mode=0700"]},
        {"destination": "/a/c", "type": "rootlet.file", "source": "/state/data/0", "options": ["mode=0640"]},
        {"destination": "/a", "type": "rootlet.mode", "options": ["mode=0711"]},
    ]);
    sandboxed["annotations"] = json!({
        "org.rootlet.init": "true", "org.rootlet.lock-files": "/usr/.ref", "org.rootlet.argument-0": "-sh", "org.rootlet.default-devices": "false",
    });
    let sandboxed = parse(&sandboxed.to_string()).unwrap().spec;
    for (name, plan) in [
        ("sandboxed.txt", compile(&sandboxed, &request, &ordinary()).unwrap()),
        ("mapped.txt", compile(&spec, &request, &host).unwrap()),
        ("exec.txt", compile_exec(namespaces, &spec, &request, &host).unwrap()),
    ] {
        let (path, text) =
            (std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan").join(name), plan.to_string());
        // Each architecture has its own.
        let text = text.lines().map(|line| match line.split_once(" system call filter of ") {
            Some((before, _)) => format!("{before} system call filter\n"),
            None => format!("{line}\n"),
        });
        let text: String = text.collect();
        if std::env::var_os("ROOTLET_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path).unwrap(), "{name}");
    }
}

#[test]
fn compiling_is_pure() {
    assert_eq!(plan(&config(), &ordinary()).unwrap(), plan(&config(), &ordinary()).unwrap());
}

#[test]
fn every_step_names_a_property() {
    let plan = plan(&config(), &ordinary()).unwrap();
    assert!(plan.entries.len() > 20 && plan.entries.iter().all(|entry| !entry.origin.property.is_empty()));
}

#[test]
fn one_own_id_is_mapped_by_the_child_and_more_by_the_parent() {
    let phase_of_maps = |config: &Value, host: &Host| {
        let plan = plan(config, host).unwrap();
        plan.entries
            .iter()
            .find(|entry| matches!(entry.step, Step::Namespace(NamespaceStep::MapIds { .. })))
            .map(|entry| entry.phase)
    };
    assert_eq!(phase_of_maps(&config(), &ordinary()), Some(Phase::Inside));
    let mut ranges = config();
    ranges["linux"]["uidMappings"][0]["size"] = json!(65536);
    assert_eq!(phase_of_maps(&ranges, &root()), Some(Phase::Born));
    assert!(plan(&ranges, &ordinary()).unwrap_err().to_string().contains("linux.uidMappings: you may map one id"));
}

#[test]
fn devices_are_made_by_root_and_bound_by_others() {
    let mut rootful = config();
    rootful["linux"] = json!({"namespaces": [{"type": "mount"}]});
    let made = |config: &Value, host: &Host| {
        steps(&plan(config, host).unwrap())
            .iter()
            .filter(|step| matches!(step, Step::Mount(MountStep::MakeNode(_))))
            .count()
    };
    assert_eq!(made(&rootful, &root()), 6);
    assert_eq!(made(&config(), &root()), 0, "not in a user namespace");
    assert_eq!(
        made(&rootful, &Host { in_initial_user_namespace: OnceCell::from(false), ..root() }),
        0,
        "nor as root of an outer one"
    );
}

#[test]
fn a_user_namespace_is_added_for_who_needs_one() {
    let mut config = config();
    config["linux"] = json!({"namespaces": [{"type": "mount"}]});
    let added = |host: &Host| {
        plan(&config, host).unwrap().decisions.iter().any(|decision| decision.done == "a user namespace is added")
    };
    assert!(added(&ordinary()) && !added(&root()));
}

#[test]
fn the_program_is_looked_for_in_path() {
    let plan = plan(&config(), &ordinary()).unwrap();
    let candidates = plan.entries.iter().find_map(|entry| match &entry.step {
        Step::Program(ProgramStep::FindExecutable { candidates, .. }) => {
            Some(candidates.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(candidates, Some(vec!["/bin/sh", "/sbin/sh"]));
}

#[test]
fn a_bind_keeps_the_flags_that_it_does_not_name() {
    let mut config = config();
    config["mounts"] =
        json!([{"destination": "/data", "type": "bind", "source": "data", "options": ["rbind", "ro", "rnosuid"]}]);
    let plan = plan(&config, &ordinary()).unwrap();
    let attributes = plan.entries.iter().find_map(|entry| match &entry.step {
        Step::Mount(MountStep::Bind(bind)) if bind.target.as_c_str() == c"/data" => Some(bind.attributes.to_vec()),
        _ => None,
    });
    use crate::plan::step::trees::Attributes;
    use crate::sys::mount::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MS_PRIVATE};
    let change = |set, recursive| Attributes { set, recursive, ..Attributes::default() };
    // No program decides about an ordinary user's devices, so those of the bundle are dead.
    assert_eq!(
        attributes.unwrap(),
        [
            change(MOUNT_ATTR_RDONLY, false),
            change(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, true),
            Attributes { propagation: MS_PRIVATE, recursive: true, ..Attributes::default() }
        ]
    );
}

#[test]
fn a_strict_request_refuses_every_decision() {
    let mut config = config();
    config["process"]["oomScoreAdj"] = json!(-1);
    let request = Request { id: "box".to_owned(), bundle: "/bundle".into(), strict: true, ..Request::default() };
    let error = compile(&parse(&config.to_string()).unwrap().spec, &request, &ordinary()).unwrap_err();
    assert_eq!(error.property, "process.oomScoreAdj");
    assert!(error.remedy.unwrap().contains("it stays 100"));
}

#[test]
fn every_key_of_the_schema_is_claimed() {
    for key in KEYS {
        let row = claim(key).unwrap_or_else(|| panic!("no row of ORDER claims {key}"));
        assert!(!row.path().is_empty());
    }
    // What is listed as refused is claimed by a row, too, and has a reason.
    for (path, reason) in REFUSED {
        assert!(claim(path).is_some() && !reason.is_empty(), "{path}");
        assert!(KEYS.iter().any(|key| key.starts_with(path)), "{path} is no key of the schema");
    }
    // No row claims what the schema does not have.
    for path in ORDER.iter().flat_map(|row| row.paths).filter(|path| !path.contains("(session keyring)")) {
        assert!(KEYS.iter().any(|key| key.starts_with(path)), "{path} is no key of the schema");
    }
}

#[test]
fn features_are_what_the_rows_do() {
    let features = features::document();
    for (pointer, path) in [
        ("/linux/seccomp/enabled", "linux.seccomp"),
        ("/linux/apparmor/enabled", "process.apparmorProfile"),
        ("/linux/selinux/enabled", "process.selinuxLabel"),
        ("/linux/intelRdt/enabled", "linux.intelRdt"),
        ("/linux/netDevices/enabled", "linux.netDevices"),
        ("/linux/cgroup/v2", "linux.resources"),
    ] {
        let is_done = claim(path).is_some() && !REFUSED.iter().any(|(refused, _)| *refused == path);
        assert_eq!(features.pointer(pointer), Some(&json!(is_done)), "{pointer}");
    }
    let strings = |pointer: &str| -> Vec<String> {
        let list = features.pointer(pointer).and_then(Value::as_array);
        list.unwrap_or_else(|| panic!("{pointer}")).iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    // What is named there is planned, and a name that is not there is refused.
    let tries = |change: &dyn Fn(&mut Value)| {
        let mut config = config();
        change(&mut config);
        plan(&config, &ordinary())
    };
    for hook in strings("/hooks") {
        assert!(KEYS.contains(&format!("hooks.{hook}[].path").as_str()), "{hook}");
    }
    for option in strings("/mountOptions") {
        let parsed = mounts::options::parse([&option]);
        assert!(parsed.data.is_empty(), "{option} would go to the file system");
    }
    for namespace in strings("/linux/namespaces") {
        let known = tries(&|config| config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": namespace}]));
        assert!(known.is_ok() || known.unwrap_err().to_string().contains("twice"), "{namespace}");
    }
    for capability in strings("/linux/capabilities") {
        let plan = tries(&|config| config["process"]["capabilities"] = json!({"bounding": [capability]})).unwrap();
        assert_eq!(plan.warnings, []);
    }
    let filter = |change: &dyn Fn(&mut Value)| {
        let mut profile =
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]});
        change(&mut profile);
        tries(&|config| config["linux"]["seccomp"] = profile.clone())
    };
    for action in strings("/linux/seccomp/actions").iter().filter(|action| *action != "SCMP_ACT_NOTIFY") {
        filter(&|profile| profile["syscalls"][0]["action"] = json!(action)).unwrap();
    }
    for operator in strings("/linux/seccomp/operators") {
        filter(&|profile| profile["syscalls"][0]["args"] = json!([{"index": 0, "op": operator}])).unwrap();
    }
    filter(&|profile| profile["architectures"] = features["linux"]["seccomp"]["archs"].clone()).unwrap();
    for flag in strings("/linux/seccomp/knownFlags").iter().filter(|flag| !flag.contains("KILLABLE")) {
        filter(&|profile| profile["flags"] = json!([flag])).unwrap();
    }
    for mode in strings("/linux/memoryPolicy/modes") {
        tries(&|config| config["linux"]["memoryPolicy"] = json!({"mode": mode})).unwrap();
    }
}

/// A config that has every property.
fn full() -> Value {
    let mut full = config();
    let more =
        [json!({"type": "uts"}), json!({"type": "time"}), json!({"type": "network", "path": "/proc/self/ns/net"})];
    full["linux"]["namespaces"].as_array_mut().unwrap().extend(more);
    full["hostname"] = json!("h");
    full["domainname"] = json!("d");
    full["annotations"] = json!({"a": "b"});
    full["mounts"] = json!([
        {"destination": "/d", "type": "tmpfs", "source": "t", "options": ["ro", "size=1", "tmpcopyup"]},
        {"destination": "/b", "type": "bind", "source": "b", "options": ["rbind", "rro", "rslave"]},
        {"destination": "/i", "type": "bind", "source": "i", "options": ["idmap"], "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}], "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]},
        {"destination": "/o", "type": "overlay", "options": ["lowerdir=a:b", "upperdir=c"]},
        {"destination": "/f", "type": "fuse.true", "source": "x", "options": ["max_read=1", "y"]},
        {"destination": "/sys", "type": "sysfs"},
        {"destination": "/sys/fs/cgroup", "type": "cgroup"},
    ]);
    let hooks = json!([{"path": "/p", "args": ["p"], "env": ["A=b"], "timeout": 1}]);
    full["hooks"] = json!({"prestart": hooks, "createRuntime": hooks, "createContainer": hooks, "startContainer": hooks, "poststart": hooks, "poststop": hooks});
    full["process"] = json!({
        "terminal": true, "consoleSize": {"height": 1, "width": 2}, "cwd": "/", "args": ["sh", "x"], "env": ["PATH=/bin", "A=b"],
        "user": {"uid": 0, "gid": 0, "umask": 18, "additionalGids": [1]},
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}], "noNewPrivileges": true, "oomScoreAdj": 500,
        "scheduler": {"policy": "SCHED_DEADLINE", "nice": 1, "priority": 0, "flags": ["SCHED_FLAG_RECLAIM"], "runtime": 1, "deadline": 2, "period": 3},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4}, "execCPUAffinity": {"initial": "0", "final": "0-1"},
        "apparmorProfile": "unconfined", "selinuxLabel": "",
    });
    full["linux"]["devices"] =
        json!([{"type": "c", "path": "/dev/x", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}]);
    full["linux"]["sysctl"] = json!({"user.max_user_namespaces": "1"});
    full["linux"]["maskedPaths"] = json!(["/m"]);
    full["linux"]["readonlyPaths"] = json!(["/r"]);
    full["linux"]["rootfsPropagation"] = json!("rslave");
    full["linux"]["cgroupsPath"] = json!("/c");
    full["linux"]["personality"] = json!({"domain": "LINUX", "flags": []});
    full["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    let rate = json!([{"major": 8, "minor": 0, "rate": 1000}]);
    full["linux"]["resources"] = json!({
        "devices": [{"allow": false, "type": "c", "major": 1, "minor": 2, "access": "rwm"}],
        "memory": {"limit": 2, "reservation": 1, "swap": 3, "kernel": 1, "kernelTCP": 1, "swappiness": 1, "disableOOMKiller": false, "useHierarchy": true, "checkBeforeUpdate": true},
        "pids": {"limit": -1},
        "cpu": {"cpus": "0", "mems": "0", "shares": 2, "quota": 1000, "burst": 10, "period": 1000, "realtimeRuntime": 0, "realtimePeriod": 0, "idle": 0},
        "unified": {"memory.high": "1"}, "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
        "blockIO": {
            "weight": 10, "leafWeight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 10, "leafWeight": 10}],
            "throttleReadBpsDevice": rate, "throttleWriteBpsDevice": rate, "throttleReadIOPSDevice": rate, "throttleWriteIOPSDevice": rate,
        },
        "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 1}]}, "rdma": {"mlx5_1": {"hcaHandles": 1, "hcaObjects": 1}},
    });
    full["linux"]["mountLabel"] = json!("");
    full["linux"]["netDevices"] = json!({"eth0": {"name": "eth1"}});
    full["linux"]["timeOffsets"] = json!({"monotonic": {"secs": 1, "nanosecs": 1}});
    full["root"]["readonly"] = json!(true);
    full["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/l", "listenerMetadata": "m",
        "syscalls": [{"names": ["execve", "execveat"], "action": "SCMP_ACT_ALLOW"}, {"names": ["read", "socket"], "action": "SCMP_ACT_ALLOW", "errnoRet": null, "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}],
    });
    full
}

#[test]
fn a_hundred_thousand_mutated_configs_never_panic() {
    let full = full();
    let parsed = parse(&full.to_string()).unwrap();
    assert!(parsed.unknown.is_empty());
    let (id, bundle, fuse) = ("box".to_owned(), "/bundle".into(), vec!["true".into()]);
    let request = Request { id, bundle, fuse, try_limits: true, ..Request::default() };
    let (problems, _) = check_all(&parsed.spec, &request, &root());
    assert_eq!(problems, [], "only what is mutated is wrong");
    let mut pointers = Vec::new();
    collect(&full, String::new(), &mut pointers);
    assert!(pointers.len() > 200);
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(u32::MAX),
        json!(1e300),
        json!(""),
        json!("a\u{0}b"),
        json!("/"),
        json!("../.."),
        json!("0-99999999999"),
        json!("SCMP_ACT_NOTIFY"),
        json!("write"),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"a": {}}),
        json!("x".repeat(fd::PATH_MAX)),
    ];
    // The same every time; a failure is repeated by its number.
    let mut random = fastrand::Rng::with_seed(42);
    let hosts = [ordinary(), root()];
    let mut good = 0;
    for round in 0..100_000 {
        let mut mutated = full.clone();
        for _ in 0..random.usize(1..5) {
            let pointer = pointers.get(random.usize(..pointers.len())).unwrap();
            match (random.u8(..8), pointer.rsplit_once('/')) {
                // Gone, doubled, or replaced by another part or by something that does not belong there.
                (0, Some((parent, key))) => match mutated.pointer_mut(parent) {
                    Some(Value::Object(fields)) => drop(fields.shift_remove(key)),
                    Some(Value::Array(items)) => drop(items.pop()),
                    _ => {}
                },
                (1, Some((parent, _))) => {
                    if let Some(Value::Array(items)) = mutated.pointer_mut(parent) {
                        items.extend(items.clone());
                    }
                }
                (2, _) => {
                    let other = pointers.get(random.usize(..pointers.len())).and_then(|other| full.pointer(other));
                    if let (Some(value), Some(other)) = (mutated.pointer_mut(pointer), other) {
                        *value = other.clone();
                    }
                }
                _ => {
                    if let Some(value) = mutated.pointer_mut(pointer) {
                        *value = values.get(random.usize(..values.len())).unwrap().clone();
                    }
                }
            }
        }
        let host = hosts.get(round % 2).unwrap();
        let Ok(loaded) = serde_json::from_value::<Spec>(mutated) else { continue };
        // All rows see it, also after one that has an error.
        let (problems, plan) = check_all(&loaded, &request, host);
        good += usize::from(problems.is_empty());
        assert!(round % 100 != 0 || !plan.to_string().is_empty());
    }
    assert!(good > 1000, "many of them still are configs: {good}");
}

fn collect(value: &Value, pointer: String, pointers: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| collect(value, format!("{pointer}/{key}"), pointers))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| collect(value, format!("{pointer}/{index}"), pointers))
        }
        _ => {}
    }
    if !pointer.is_empty() {
        pointers.push(pointer);
    }
}

/// True if something stands there: `[]` is any element of a list, `*` any key of a map.
fn stands(value: &Value, key: &str) -> bool {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let name = first.trim_end_matches("[]");
    let found: Vec<&Value> = match (name, value) {
        ("*", Value::Object(fields)) => fields.values().collect(),
        _ => value.get(name).into_iter().collect(),
    };
    let found = found.into_iter().flat_map(|value| match value {
        Value::Array(items) if first.ends_with("[]") => items.iter().collect(),
        value => vec![value],
    });
    found.into_iter().any(|value| rest.is_none_or(|rest| stands(value, rest)))
}

#[test]
fn what_is_mutated_has_all_properties() {
    let full = full();
    let is_refused = |key: &str| REFUSED.iter().any(|(refused, _)| key.starts_with(refused));
    let missing: Vec<_> = KEYS.iter().copied().filter(|key| !is_refused(key) && !stands(&full, key)).collect();
    // There are none, says config-linux.md.
    assert_eq!(missing, ["linux.personality.flags[]"]);
}

#[test]
fn each_annotation_is_read_where_the_table_says() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let own = std::fs::read_to_string(source.join("property/annotations.rs")).unwrap();
    for (name, file) in annotations::KNOWN {
        let declared = own.lines().find(|line| line.ends_with(&format!("&str = \"{name}\";"))).unwrap();
        let constant = declared.trim_start_matches("pub const ").split(':').next().unwrap();
        assert!(std::fs::read_to_string(source.join(file)).unwrap().contains(constant), "{constant} in {file}");
    }
}
