//! containerd: ctr, and its CRI plugin, which Kubernetes talks to.

use super::{Caller, INSTALLED, Row, archive, have_engines};
use crate::sandbox::{Done, eventually, skip};
use std::fs;
use std::sync::OnceLock;

fn ctr(arguments: &str) -> Done {
    Caller::Root.shell(&format!("ctr {arguments}"))
}

/// A daemon with the configuration of the examples, and a network for pods.
fn daemon() {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        let example = include_str!("../../../examples/kubernetes/containerd.toml");
        // No registry is at hand, and Debian has its network plugins elsewhere.
        let here = "\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"localhost/pause:latest\"\n\
                    [plugins.\"io.containerd.grpc.v1.cri\".cni]\n  bin_dir = \"/usr/lib/cni\"\n";
        fs::create_dir_all("/etc/containerd").unwrap();
        fs::write("/etc/containerd/config.toml", format!("{example}{here}")).unwrap();
        fs::create_dir_all("/etc/cni/net.d").unwrap();
        let network = r#"{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods0", "isGateway": true,
            "ipam": {"type": "host-local", "subnet": "10.99.0.0/16"}}]}"#;
        fs::write("/etc/cni/net.d/10-pods.conflist", network).unwrap();
        Caller::Root.shell("systemctl restart containerd").ok();
        let image = "podman import -q --change 'ENTRYPOINT [\"/bin/sleep\", \"100000\"]' {archive} pause && podman save -q -o /tmp/pause.tar pause
            podman import -q {archive} box && podman save -q -o /tmp/box.tar box";
        Caller::Root.shell(&image.replace("{archive}", archive())).ok();
        for name in ["pause", "box"] {
            ctr(&format!("-n k8s.io images import /tmp/{name}.tar")).ok();
        }
    });
}

#[test]
fn ctr_drives_it() {
    if !have_engines() {
        return;
    }
    daemon();
    let _row = Row::new("containerd", "rootful, ctr", "run, task exec, pause, metrics, ps, kill, delete");
    Caller::Root.shell(&format!("mkdir -p /tmp/ctr && tar -C /tmp/ctr -xf {}", archive())).ok();
    let run = |flags: &str| format!("run {flags} --runc-binary {INSTALLED} --rootfs /tmp/ctr");
    assert_eq!(ctr(&format!("{} one echo hi", run("--rm"))).ok().out, "hi\n");
    assert_eq!(ctr(&format!("{} one sh -c 'exit 7'", run("--rm"))).code, 7);
    ctr(&format!("{} two sleep 1000", run("-d --memory-limit 67108864"))).ok();
    let done = ctr("task exec --exec-id added two sh -c 'cat /proc/1/comm; exit 5'");
    assert_eq!((done.code, done.out.as_str()), (5, "sleep\n"), "{done:?}");
    ctr("task pause two").ok();
    assert!(ctr("task ls").ok().out.contains("PAUSED"));
    ctr("task resume two").ok();
    let metrics = ctr("task metrics two").ok().out;
    assert!(
        metrics.lines().any(|line| line.starts_with("memory.usage_limit") && line.contains("67108864")),
        "{metrics}"
    );
    assert!(ctr("task ps two").ok().out.lines().count() == 2);
    ctr("task kill -s KILL two").ok();
    eventually("it has stopped", || ctr("task ls").ok().out.contains("STOPPED"));
    ctr("task rm two");
    ctr("container rm two").ok();
}

/// A message of protobuf: fields with numbers, texts and messages.
#[derive(Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Message {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Message {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Message {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u64, value: Message) -> Message {
        self.bytes(field, &value.0)
    }
}

/// The fields of an answer: numbers, and bytes as text.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = varint(&mut bytes);
        match key & 7 {
            0 => found.push((key >> 3, value, Vec::new())),
            2 => {
                let (taken, rest) = bytes.split_at(value as usize);
                found.push((key >> 3, 0, taken.to_vec()));
                bytes = rest;
            }
            kind => panic!("a field of kind {kind}"),
        }
    }
    found
}

/// One call of gRPC that succeeds; the answer.
#[track_caller]
fn call(method: &str, request: &Message) -> Vec<u8> {
    try_call(method, request).unwrap_or_else(|done| {
        let journal = Caller::Root.shell("journalctl -u containerd -n 5 --no-pager").out;
        panic!("{method}: {done:?}\n{journal}")
    })
}

/// One call of gRPC: a message of HTTP/2, by curl(1).
fn try_call(method: &str, request: &Message) -> Result<Vec<u8>, Done> {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let (sent, got) = (format!("/tmp/cri-{number}.request"), format!("/tmp/cri-{number}.answer"));
    let length = (request.0.len() as u32).to_be_bytes();
    fs::write(&sent, [&[0], &length[..], &request.0].concat()).unwrap();
    let done = Caller::Root.shell(&format!(
        "curl -s -S -m 50 --http2-prior-knowledge --unix-socket /run/containerd/containerd.sock -D - -o {got} -H 'content-type: application/grpc' \
         -H 'te: trailers' --data-binary @{sent} http://cri/runtime.v1.RuntimeService/{method}"
    ));
    match done.out.contains("grpc-status: 0") {
        true => Ok(fs::read(&got).unwrap().get(5..).unwrap_or_default().to_vec()),
        false => Err(done),
    }
}

/// The first field of an answer.
fn first(answer: &[u8]) -> String {
    fields(answer)
        .into_iter()
        .find(|(field, ..)| *field == 1)
        .map(|(_, _, text)| String::from_utf8(text).unwrap())
        .unwrap()
}

#[test]
fn a_pod_of_kubernetes_runs() {
    if !have_engines() {
        return;
    }
    daemon();
    let what = "pod sandbox and container by a RuntimeClass' handler; exec, update, stop, log, exit code";
    let _row = Row::new("containerd", "rootful, CRI", what);
    eventually("the plugin is ready", || try_call("Status", &Message::default()).is_ok());
    fs::create_dir_all("/tmp/pod-logs").unwrap();
    let metadata = Message::default().text(1, "pod").text(2, "uid").text(3, "default");
    let pod = Message::default().message(1, metadata).text(2, "podname").text(3, "/tmp/pod-logs");
    // As the kubelet's with systemd: linux.cgroup_parent.
    let pod = pod.message(8, Message::default().text(1, "/kubepods.slice"));
    let sandbox = first(&call("RunPodSandbox", &Message::default().message(1, pod.clone()).text(2, "rootlet")));
    let resources = |memory: u64| Message::default().number(4, memory);
    let mut container = Message::default()
        .message(1, Message::default().text(1, "main"))
        .message(2, Message::default().text(1, "localhost/box:latest"));
    for word in ["sh", "-c", "trap 'exit 3' TERM; echo in a pod; while :; do sleep 0.1; done"] {
        container = container.text(3, word);
    }
    let container = container.text(11, "main.log").message(15, Message::default().message(1, resources(64 << 20)));
    let create = Message::default().text(1, &sandbox).message(2, container).message(3, pod);
    let id = first(&call("CreateContainer", &create));
    let named = Message::default().text(1, &id);
    call("StartContainer", &named);
    let exec = |words: &[&str]| {
        let request = words.iter().fold(named.clone(), |request, word| request.text(2, word)).number(3, 20);
        let answer = fields(&call("ExecSync", &request));
        let out =
            answer.iter().find(|(field, ..)| *field == 1).map(|(_, _, out)| String::from_utf8_lossy(out).into_owned());
        let code = answer.iter().find(|(field, ..)| *field == 3).map_or(0, |(_, code, _)| *code);
        (out.unwrap_or_default(), code)
    };
    assert_eq!(
        exec(&["sh", "-c", "hostname; cat /sys/fs/cgroup/memory.max; ip -o addr | grep -c 10.99; exit 4"]),
        ("podname\n67108864\n1\n".to_owned(), 4)
    );
    call("UpdateContainerResources", &named.clone().message(2, resources(48 << 20)));
    assert_eq!(exec(&["cat", "/sys/fs/cgroup/memory.max"]).0, "50331648\n");
    call("StopContainer", &named.clone().number(2, 20));
    let status = fields(&call("ContainerStatus", &named));
    let status = fields(&status.iter().find(|(field, ..)| *field == 1).unwrap().2);
    assert_eq!(status.iter().find(|(field, ..)| *field == 7).map(|(_, code, _)| *code), Some(3), "the exit code");
    let log = fs::read_to_string("/tmp/pod-logs/main.log").unwrap();
    assert!(log.contains("stdout F in a pod"), "{log}");
    call("RemoveContainer", &named);
    let sandbox = Message::default().text(1, &sandbox);
    call("StopPodSandbox", &sandbox);
    call("RemovePodSandbox", &sandbox);
}

#[test]
fn a_pod_of_kubernetes_has_users_of_its_own() {
    if !have_engines() {
        return;
    }
    let version = Caller::Root.shell("containerd --version").ok().out;
    if version.contains(" 1.") {
        return skip("containerd 1 gives no pod a user namespace by CRI");
    }
    daemon();
    let _row = Row::new("containerd", "rootful, CRI", "pod with a user namespace of its own (hostUsers: false)");
    eventually("the plugin is ready", || try_call("Status", &Message::default()).is_ok());
    // NamespaceOption.userns_options: uids and gids; mode 0 is POD.
    let mapping = || Message::default().number(1, 700_000).number(3, 65536);
    let users = Message::default().message(2, mapping()).message(3, mapping());
    let namespaces = || Message::default().message(5, users.clone());
    let metadata = Message::default().text(1, "users").text(2, "uid-of-users").text(3, "default");
    let linux = Message::default().text(1, "/kubepods.slice").message(2, Message::default().message(1, namespaces()));
    let pod = Message::default().message(1, metadata).text(2, "podname").text(3, "/tmp/pod-logs").message(8, linux);
    let sandbox = first(&call("RunPodSandbox", &Message::default().message(1, pod.clone()).text(2, "rootlet")));
    let mut container = Message::default()
        .message(1, Message::default().text(1, "main"))
        .message(2, Message::default().text(1, "localhost/box:latest"));
    for word in ["sleep", "1000"] {
        container = container.text(3, word);
    }
    let security = Message::default().message(3, namespaces());
    let container = container.text(11, "users.log").message(15, Message::default().message(2, security));
    let create = Message::default().text(1, &sandbox).message(2, container).message(3, pod);
    let named = Message::default().text(1, &first(&call("CreateContainer", &create)));
    call("StartContainer", &named);
    let request = ["sh", "-c", "tr -s ' ' </proc/self/uid_map; stat -c %u /bin/sh; touch /made && stat -c %u /made"]
        .iter()
        .fold(named.clone(), |request, word| request.text(2, word))
        .number(3, 20);
    let answer = fields(&call("ExecSync", &request));
    let out =
        answer.iter().find(|(field, ..)| *field == 1).map(|(_, _, out)| String::from_utf8_lossy(out).into_owned());
    assert_eq!(out.as_deref(), Some(" 0 700000 65536\n0\n0\n"), "{answer:?}");
    call("StopContainer", &named.clone().number(2, 1));
    call("RemoveContainer", &named);
    let sandbox = Message::default().text(1, &sandbox);
    call("StopPodSandbox", &sandbox);
    call("RemovePodSandbox", &sandbox);
}
