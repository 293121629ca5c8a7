//! buildah, which calls the runtime without conmon.

use super::{Caller, INSTALLED, Row, archive, have_engines};

fn build(caller: Caller) {
    let _row = Row::new("buildah", caller.name(), "run, bud with RUN");
    let says = |arguments: &str| caller.shell(&format!("buildah {arguments}")).ok().out;
    let container = says("from scratch");
    let container = container.trim();
    says(&format!("add -q {container} {} /", archive()));
    let run = format!("run --runtime {INSTALLED} --isolation oci --network host");
    assert_eq!(says(&format!("{run} {container} -- sh -c 'echo built >/built; id -u'")), "0\n");
    assert_eq!(says(&format!("{run} --user 1000 {container} -- id -u")), "1000\n");
    assert_eq!(caller.shell(&format!("buildah {run} {container} -- sh -c 'exit 9'")).code, 9);
    says(&format!("commit -q {container} base"));
    caller.write("bud/Containerfile", "FROM localhost/base\nRUN cat /built && echo more >/more\n");
    let out = says(&format!("bud --runtime {INSTALLED} --isolation oci --network host -t more bud"));
    assert!(out.contains("built"), "{out}");
    says(&format!("rm {container}"));
}

#[test]
fn images_are_built() {
    if have_engines() {
        build(Caller::Root);
        build(Caller::User);
    }
}
