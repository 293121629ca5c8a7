//! The house keeps its floors: imports go downwards, `unsafe` stays at the bottom, the child neither formats nor collects.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by floor, as the crate's documentation draws them.
const FLOORS: [&[&str]; 11] = [
    &["sys"],
    &["capability", "error", "host", "log", "network", "owner", "passwd", "removal"],
    &["doctor"],
    &["seccomp", "spec", "plan"],
    &["fake_root"],
    &["cgroup", "criu"],
    &["property"],
    &["init"],
    &["container"],
    &["image"],
    &["command"],
];

/// Where all that the child runs is.
const CHILD: [&str; 5] = ["init/", "passwd.rs", "plan/slots.rs", "plan/step/", "sys/"];

/// What is there too, and is the parent's alone or makes something ready for the child.
const PARENT: [&str; 5] = ["init/mod.rs", "init/seal.rs", "init/spawn.rs", "sys/program.rs", "sys/signal.rs"];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut directories = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap();
                // Tests stand at the end of a file, and may do what they like.
                files.push((name, text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned()));
            }
        }
    }
    assert!(files.len() > 50, "the sources are found");
    files
}

/// Lines without comments and without what stands in quotes.
fn code(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.lines().enumerate().map(|(number, line)| {
        let line = line.split("//").next().unwrap_or_default();
        (number + 1, line.split('"').step_by(2).collect::<Vec<_>>().join("\"\""))
    })
}

#[test]
fn imports_go_downwards() {
    for (name, text) in sources() {
        let module = name.split(['/', '.']).next().unwrap();
        let Some(own) = floor(module) else { continue };
        for (number, line) in code(&text) {
            for part in line.split("crate::").skip(1) {
                let target = part.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap();
                if target == module {
                    continue;
                }
                let Some(other) = floor(target) else { continue };
                assert!(other <= own, "{name}:{number}: {module} (floor {own}) imports {target} (floor {other})");
            }
        }
    }
}

/// The names that follow `prefix` in a text: one, or those of a list in braces.
fn names_after(text: &str, prefix: &str) -> Vec<String> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut names = Vec::new();
    for rest in text.split(prefix).skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            names.push(rest.chars().take_while(|letter| is_name(*letter)).collect());
            continue;
        };
        let (mut depth, mut begins) = (1, true);
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && begins && is_name(letter) {
                names.push(list[at..].chars().take_while(|letter| is_name(*letter)).collect());
            }
            begins = depth == 1 && (letter == ',' || (begins && letter.is_whitespace()));
        }
    }
    names
}

#[test]
fn no_files_of_a_folder_are_in_a_circle() {
    let sources = sources();
    let folders: BTreeSet<_> = sources.iter().filter_map(|(name, _)| Some(name.rsplit_once('/')?.0)).collect();
    for folder in folders {
        let own = |name: &str| {
            let file = name.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".rs")?;
            (!file.contains('/') && file != "mod").then(|| file.to_owned())
        };
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, text) in &sources {
            let Some(file) = own(name) else { continue };
            let code: String = code(text).map(|(_, line)| line + "\n").collect();
            let path = format!("crate::{}::", folder.replace('/', "::"));
            let names = [names_after(&code, "super::"), names_after(&code, &path)].concat();
            uses.insert(file.clone(), names.into_iter().filter(|name| *name != file).collect());
        }
        // Who uses nobody that is left stands on the ground, and is taken away; what stays is a circle, or stands on one.
        while let Some(ground) = uses.iter().find(|(_, used)| !used.iter().any(|name| uses.contains_key(name))) {
            let ground = ground.0.clone();
            uses.remove(&ground);
        }
        assert!(uses.is_empty(), "src/{folder}: a circle is among {:?}", uses.keys());
    }
}

#[test]
fn unsafe_code_and_libc_stay_at_the_bottom() {
    for (name, text) in sources() {
        if name.starts_with("sys/") {
            continue;
        }
        for (number, line) in code(&text) {
            for word in ["unsafe ", "unsafe{", "libc::", " nix::"] {
                assert!(!line.contains(word), "{name}:{number}: {word}");
            }
        }
    }
}

#[test]
fn the_child_neither_formats_nor_collects_nor_panics() {
    let sources = sources();
    for known in CHILD.iter().chain(&PARENT) {
        assert!(sources.iter().any(|(name, _)| name.starts_with(known)), "{known} is gone");
    }
    let is_childs = |name: &str| CHILD.iter().any(|place| name.starts_with(place)) && !PARENT.contains(&name);
    for (name, text) in sources.iter().filter(|(name, _)| is_childs(name)) {
        for (number, line) in code(text) {
            for word in [
                "format!",
                "println!",
                "print!",
                "write!",
                "vec!",
                ".collect",
                ".to_owned()",
                ".to_string()",
                ".clone()",
                "String::",
                "Vec::",
                "Box::new",
                "panic!",
                "unwrap()",
                "expect(",
                "assert!",
                "assert_eq!",
            ] {
                assert!(!line.contains(word), "{name}:{number}: {word}");
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (name, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//!") || name == "property/tests.rs", "{name} has no first line of documentation");
    }
}
