//! Networks of a container's own with a way out, between network namespaces that the tests make.

use crate::sandbox::{Done, Sandbox, binary, finish, is_root, skip};
use std::fs;
use std::process::Command;

const HELPERS: [&str; 2] = ["pasta", "slirp4netns"];

/// A server of names that knows one address.
const NAMES: &str = r#"use IO::Socket::INET;
my $socket = IO::Socket::INET->new(LocalAddr => '10.77.0.1', LocalPort => 53, Proto => 'udp') or die;
while ($socket->recv(my $question, 512)) {
    my ($id, $asked) = (substr($question, 0, 2), substr($question, 12));
    my $answer = substr($question, -4, 2) eq "\0\1" ? "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\x4d\0\1" : '';
    $socket->send("$id\x81\x80\0\1\0" . ($answer ? "\1" : "\0") . "\0\0\0\0$asked$answer");
}"#;

fn has_helpers() -> bool {
    if !is_root() {
        skip("needs root to make network namespaces and a /dev/net/tun that everybody may open");
        return false;
    }
    let has_all = HELPERS.iter().chain(&["ip"]).all(|program| Command::new(program).arg("-h").output().is_ok());
    if !has_all || fs::metadata("/dev/net/tun").is_err() {
        skip("pasta, slirp4netns, ip or /dev/net/tun is missing");
    }
    has_all && fs::metadata("/dev/net/tun").is_ok()
}

/// Runs a script as root in a network namespace with one neighbour: `outside` runs a command there. The neighbour is 10.77.0.1, the way
/// to everything, and serves names and a file; this side is 10.77.0.2. `rootlet` is the sandbox's user's.
fn between(sandbox: &Sandbox, script: &str) -> Done {
    let place = sandbox.path().join("between");
    fs::create_dir_all(place.join("www")).unwrap();
    fs::create_dir_all(place.join("private")).unwrap();
    fs::create_dir_all(place.join("tun")).unwrap();
    fs::write(place.join("www/file"), "from outside\n").unwrap();
    fs::write(place.join("private/file"), "for the host alone\n").unwrap();
    fs::write(place.join("names.pl"), NAMES).unwrap();
    fs::write(place.join("resolv.conf"), "nameserver 10.77.0.1\nsearch example.test\n").unwrap();
    // Whatever the caller's umask is.
    for name in ["", "www", "private", "tun", "www/file", "private/file", "names.pl", "resolv.conf"] {
        let path = place.join(name);
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let text = format!(
        "set -e; cd {place}
        mount -t tmpfs -o mode=755 tun tun; mknod -m 666 tun/tun c 10 200; mount --bind tun /dev/net
        mount --bind resolv.conf $(realpath /etc/resolv.conf)
        unshare --net sleep 1000 & neighbour=$!; trap 'kill $neighbour $(jobs -p)' EXIT
        until [ $(readlink /proc/$neighbour/ns/net) != $(readlink /proc/self/ns/net) ]; do sleep 0.05; done
        outside() {{ nsenter --net=/proc/$neighbour/ns/net \"$@\"; }}
        ip link set lo up; ip link add near type veth peer name far netns $neighbour
        ip addr add 10.77.0.2/24 dev near; ip link set near up
        outside ip link set lo up; outside ip addr add 10.77.0.1/24 dev far; outside ip link set far up
        ip route add default via 10.77.0.1
        outside busybox httpd -f -p 10.77.0.1:80 -h www & outside perl names.pl &
        busybox httpd -f -p 127.0.0.1:81 -h private &
        rootlet() {{ XDG_RUNTIME_DIR={xdg} setpriv --reuid {uid} --regid {uid} --clear-groups {rootlet} \"$@\"; }}
        until busybox wget -q -O /dev/null http://10.77.0.1/file && busybox wget -q -O /dev/null http://127.0.0.1:81/file; do sleep 0.05; done
        cd {bundle}
        {script}",
        place = place.display(),
        xdg = sandbox.path().join("xdg").display(),
        uid = sandbox.uid(),
        rootlet = binary().display(),
        bundle = sandbox.bundle().display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &text]);
    finish(command)
}

#[test]
fn a_private_network_leads_out_and_published_ports_lead_in() {
    if !has_helpers() {
        return;
    }
    for helper in HELPERS {
        let sandbox = Sandbox::ordinary();
        for applet in ["wget", "httpd", "nslookup", "head", "ip"] {
            let _ = std::os::unix::fs::symlink("busybox", sandbox.rootfs().join("bin").join(applet));
        }
        // Names and files of the outside; what listens on the host's loopback is out of reach, whatever it is called.
        let inside = "cat /etc/resolv.conf | head -n 1 | grep -c nameserver; grep search /etc/resolv.conf; \
            for try in 1 2 3 4 5; do nslookup server.test | grep -o -m 1 \"Address: 10.77.0.1\" && break; done; wget -q -O - http://10.77.0.1/file; \
            for address in 127.0.0.1 10.77.0.1 10.77.0.2 10.0.2.2; do wget -q -T 1 -O - http://$address:81/file 2>/dev/null; done; echo end";
        let script = format!("rootlet run --no-tty --net {helper} box -- sh -c '{inside}'");
        let done = between(&sandbox, &script).ok();
        assert_eq!(done.out, "1\nsearch example.test\nAddress: 10.77.0.1\nfrom outside\nend\n", "{helper}");
        // From a sandbox, too.
        let script = format!("rootlet sandbox --net {helper} -- busybox wget -q -O - http://10.77.0.1/file");
        assert_eq!(between(&sandbox, &script).ok().out, "from outside\n", "{helper}");
        // In, while it runs; and whoever passes packets on is gone when it is, also by force.
        sandbox.write("bundle/rootfs/page", "from the container\n");
        let script = format!(
            "rootlet run -d --no-tty --net {helper} --publish 8080:80 --publish 10.77.0.2:8081:80/tcp box -- httpd -f -p 80 -h /
            for port in 8080 8081; do until outside busybox wget -q -O - http://10.77.0.2:$port/page; do sleep 0.1; done; done
            ps -e -o args= | grep -c '^{helper}'
            rootlet delete -f box
            ! ps -e -o args= | grep -q '^{helper}' || echo left
            for try in 1 2 3 4 5; do
                rootlet run -d --no-tty --net {helper} --publish 8090:80 box -- sleep 1000 && rootlet delete -f box
                rootlet run --no-tty --net {helper} --publish 8090:80 box -- true
            done
            rootlet run --no-tty --net {helper} box -- sh -c 'echo up; sleep 1000' & sleep 0.5; kill -KILL $!
            pkill -KILL -P 1 rootlet || true
            until ! ps -e -o args= | grep -q '^{helper}'; do sleep 0.05; done; echo gone"
        );
        let done = between(&sandbox, &script);
        assert!(done.out.starts_with("from the container\nfrom the container\n"), "{helper}: {done:?}");
        // Ports are free when a command has said that the container is gone.
        assert!(done.out.ends_with("up\ngone\n") && !done.out.contains("left"), "{helper}: {done:?}");
        assert!(!done.err.contains("error:"), "{helper}: {done:?}");
        let _ = sandbox.rootlet(&["delete", "-f", "box"]);
        sandbox.assert_clean();
    }
}

#[test]
fn what_stands_in_the_way_of_a_network_is_named() {
    if !has_helpers() {
        return;
    }
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let run = |arguments: &str| between(&sandbox, &format!("rootlet run {arguments} box -- true"));
    // A port that is taken, and a host without a way out.
    for helper in HELPERS {
        run(&format!("--net {helper} --publish 81:80")).fails(&["org.rootlet.publish", "port 81", "begin at 1024"]);
        let taken = format!(
            "busybox httpd -f -p 127.0.0.1:8181 & sleep 0.3; rootlet run --net {helper} --publish 8181:80 box -- true"
        );
        between(&sandbox, &taken).fails(&["org.rootlet.publish", "port 8181", "ss -lntu"]);
    }
    let closed = "umount /dev/net; chmod 600 /dev/net/tun; rootlet run --net private box -- true";
    between(&sandbox, closed).fails(&["org.rootlet.network", "/dev/net/tun cannot be opened", "chmod 666"]);
    sandbox.assert_clean();
    let on = |arguments: &[&str]| sandbox.on_bundle(&[&["run"], arguments, &["box"]].concat());
    on(&["--publish", "80:80"]).fails(&["org.rootlet.publish", "--net private"]);
    on(&["--net", "private", "--publish", "80"]).fails(&["org.rootlet.publish", "[IP:]HOST:CONTAINER"]);
    let mut command = sandbox.command_on_bundle(&["run", "--net", "private", "box"]);
    command.env("PATH", "/nosuch");
    finish(command).fails(&["pasta and slirp4netns are missing", "passt"]);
    sandbox.edit(|config| config["annotations"] = serde_json::json!({"org.rootlet.network": "pasta"}));
    on(&[]).fails(&["org.rootlet.network", "network namespace"]);
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    });
    on(&["--net", "private"]).fails(&["a private network", "pid namespace", "could trace"]);
    sandbox.assert_clean();
}
