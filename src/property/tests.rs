use super::*;
use crate::host::Cgroups;
use crate::spec::load::parse;
use crate::sys::fd;
use serde_json::{Value, json};
use std::cell::OnceCell;

/// An ordinary user's host, as no machine has to be.
fn ordinary() -> Host {
    Host {
        uid: 1000,
        gid: 1000,
        capabilities: 0,
        in_initial_user_namespace: OnceCell::from(true),
        oom_score_adj: OnceCell::from(100),
        cgroups: OnceCell::from(Cgroups::Legacy),
        ..Host::default()
    }
}

fn root() -> Host {
    Host { uid: 0, gid: 0, capabilities: u64::MAX, ..ordinary() }
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
        plan.entries.iter().find(|entry| matches!(entry.step, Step::MapIds { .. })).map(|entry| entry.phase)
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
        steps(&plan(config, host).unwrap()).iter().filter(|step| matches!(step, Step::MakeNode { .. })).count()
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
        Step::FindExecutable { candidates, .. } => {
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
    let attributes: Vec<_> = plan
        .entries
        .iter()
        .filter_map(|entry| match &entry.step {
            Step::SetMountAttributes { target, set, clear, recursive, .. } if target.as_c_str() == c"/data" => {
                Some((*set, *clear, *recursive))
            }
            Step::Bind { source, .. } => Some((source.as_bytes().len() as u64, 0, false)),
            _ => None,
        })
        .collect();
    use crate::sys::mount::{MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
    assert_eq!(
        attributes,
        [("/bundle/data".len() as u64, 0, false), (MOUNT_ATTR_RDONLY, 0, false), (MOUNT_ATTR_NOSUID, 0, true)]
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
fn mutated_configs_never_panic() {
    // Every value of a full config is replaced by values of every other kind, one at a time.
    let mut full = config();
    full["mounts"] = json!([{"destination": "/d", "type": "tmpfs", "source": "t", "options": ["ro", "size=1"]}]);
    full["hooks"] = json!({"poststop": [{"path": "/p", "args": ["p"], "env": ["A=b"], "timeout": 1}]});
    full["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
    full["process"]["capabilities"] = json!({"bounding": ["CAP_KILL"]});
    full["linux"]["devices"] =
        json!([{"type": "c", "path": "/dev/x", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}]);
    full["linux"]["sysctl"] = json!({"user.max_user_namespaces": "1"});
    full["linux"]["maskedPaths"] = json!(["/m"]);
    let mut pointers = Vec::new();
    collect(&full, String::new(), &mut pointers);
    assert!(pointers.len() > 60);
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("a\u{0}b"),
        json!("/"),
        json!([]),
        json!([[]]),
        json!({}),
        json!("x".repeat(fd::PATH_MAX)),
    ];
    for pointer in &pointers {
        for value in &values {
            let mut mutated = full.clone();
            *mutated.pointer_mut(pointer).unwrap() = value.clone();
            for host in [ordinary(), root()] {
                if let Ok(plan) = plan(&mutated, &host) {
                    assert!(!plan.to_string().is_empty());
                }
            }
        }
    }
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
