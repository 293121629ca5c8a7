use super::*;
use crate::spec::load::parse;

#[test]
fn phases_never_run_backwards() {
    assert!(ORDER.is_sorted_by_key(|property| property.phase));
}
