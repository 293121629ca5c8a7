//! What the fuzzer has kept (`scripts/fuzz`), given to rootlet again.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

#[path = "fuzz/targets.rs"]
mod targets;

#[test]
fn half_of_what_the_grammar_makes_compiles_at_least() {
    let mut numbers = fastrand::Rng::with_seed(12);
    let data = |numbers: &mut fastrand::Rng| std::iter::repeat_with(|| numbers.u8(..)).take(96).collect::<Vec<_>>();
    let count = (0..500).filter(|_| targets::models::compiles(&data(&mut numbers))).count();
    assert!(count >= 250, "{count} of 500");
    println!("{count} of 500 compile");
    // Without the fuzzer, too.
    for _ in 0..500 {
        let data = data(&mut numbers);
        targets::models::seccomp(&data);
        targets::models::ids(&data);
        targets::models::options(&data);
    }
}

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
