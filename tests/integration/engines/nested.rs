//! rootlet in the containers of others, as in CI: three levels deep, or an error that names the outer flag.

use super::{Caller, INSTALLED, Row, archive, have_engines};
use crate::sandbox::Done;

/// The script of an outer container: a bundle of a copy of its own files, and another one in that.
const INNER: &str = r#"
    set -e
    export XDG_RUNTIME_DIR=/tmp HOME=/tmp
    mkdir -p /tmp/b/rootfs/proc /tmp/b/rootfs/dev /tmp/b/rootfs/sys /tmp/b/rootfs/tmp
    cp -r /bin /etc /inner.sh /tmp/b/rootfs/
    cd /tmp/b
    level=$(($1 + 1))
    echo level $level
    test $level -lt 3 || exec sh -c 'id -u; hostname'
    rootlet spec --no-tty --cap-add SETFCAP --mount type=tmpfs,dst=/tmp --args sh /inner.sh $level
    sed -i 's/"maskedPaths": \[/"unused": [/; s/"readonlyPaths": \[/"unused2": [/' config.json
    rootlet run box 2>/tmp/errors || { code=$?; grep -v -A1 warning: /tmp/errors >&2; exit $code; }"#;

fn run(caller: Caller, flags: &str) -> Done {
    caller.write("inner.sh", INNER);
    let home = caller.home().display();
    caller.shell(&format!("podman run --rm --network none --tmpfs /tmp -v {INSTALLED}:/bin/rootlet:ro -v {home}/inner.sh:/inner.sh:ro {flags} outer sh /inner.sh 0"))
}

#[test]
fn it_runs_in_containers_of_podman_three_levels_deep() {
    if !have_engines() {
        return;
    }
    for caller in [Caller::Root, Caller::User] {
        let _row =
            Row::new("podman", caller.name(), "rootlet inside: three levels deep, and errors that name the outer flag");
        caller.shell(&format!("podman import -q {} outer", archive())).ok();
        let mut flags = String::new();
        let mut missing: Vec<&str> = match caller {
            Caller::Root => vec!["apparmor=unconfined", "unmask=/proc/*", "seccomp=unconfined"],
            // AppArmor has no profile for an ordinary user's containers.
            Caller::User => vec!["unmask=/proc/*", "seccomp=unconfined"],
        };
        // Each refusal names the flag that is missing next.
        while !missing.is_empty() {
            let done = run(caller, &flags);
            assert_eq!(done.code, 1, "{flags}: {done:?}");
            let named = missing.iter().position(|flag| done.err.contains(flag));
            let named = missing.remove(named.unwrap_or_else(|| panic!("{flags}: none of {missing:?} in {done:?}")));
            let named = if named.starts_with("unmask") { "unmask=ALL" } else { named };
            flags.push_str(&format!(" --security-opt {named}"));
        }
        let done = run(caller, &flags).ok();
        assert_eq!(done.out, "level 1\nlevel 2\nlevel 3\n0\nrootlet\n", "{done:?}");
    }
}
