//! What the fuzzer has kept (`scripts/fuzz`), given to rootlet again.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

#[path = "fuzz/targets.rs"]
mod targets;

#[test]
fn what_the_fuzzer_has_kept_is_read_or_refused() {
    for (name, target) in targets::TARGETS {
        let place = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpora/");
        let mut count = 0;
        for entry in std::fs::read_dir(format!("{place}{name}")).unwrap() {
            target(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 3, "{name} has a corpus");
    }
    targets::tidy();
}
