//! Loading config.json: one pass, and every complaint with its position.

use super::{Spec, schema};
use crate::error::{Error, Result};
use crate::sys::{self, Errno, fd};
use std::ffi::CString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A config larger than this is refused; real ones have some kilobytes.
const LARGEST: u64 = 16 << 20;

/// Most fit into this, and are read at once.
const USUAL: usize = 16 << 10;

/// A config, and the keys in it that the specification does not have.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The config.
    pub spec: Spec,
    /// Paths of unknown keys.
    pub unknown: Vec<String>,
}

/// Reads `config.json` of a bundle.
pub fn load(bundle: &Path) -> Result<Loaded> {
    parse(&read(&bundle.join("config.json"))?)
}

/// Reads the text of a config.
pub fn read(path: &Path) -> Result<String> {
    let bundle = path.parent().unwrap_or(path);
    let unreadable = |error: &std::io::Error| {
        let error_text = Error::from_io(format!("cannot read {}", path.display()), error);
        match error.kind() {
            std::io::ErrorKind::NotFound if bundle.join("runtime.json").exists() => pre_draft(),
            std::io::ErrorKind::NotFound if path.file_name() != Some("config.json".as_ref()) => {
                error_text.remedy("correct its name; that of --config is taken from the bundle's directory")
            }
            std::io::ErrorKind::NotFound => error_text
                .because("a container is started from a bundle: a directory with a config.json and a root file system")
                .remedy("name the directory of a bundle, or write a config.json with `rootlet spec`"),
            std::io::ErrorKind::NotADirectory => error_text
                .because(format!("{} is not a directory", bundle.display()))
                .remedy("name the directory of config.json, not the file"),
            std::io::ErrorKind::PermissionDenied => {
                match path.metadata().map(|metadata| (metadata.uid(), metadata.mode())) {
                    Ok((uid, mode)) => error_text
                        .because(format!("it belongs to uid {uid}, with mode {:o}", mode & 0o7777))
                        .remedy(format!(
                            "give it to who uses it, as by `sudo chown -R USER: {}`; or be its owner",
                            bundle.display()
                        )),
                    Err(_) => error_text
                        .because(format!("you may not search {}, or a directory above it", bundle.display()))
                        .remedy(format!("chmod a+x them (see `namei -l {}`)", path.display())),
                }
            }
            _ => error_text,
        }
    };
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::new("the bundle has a NUL character"))?;
    let file = match fd::open_file(&name) {
        // A bundle may be somebody else's.
        Err(sys::Error { errno: Errno::EINVAL, .. }) => {
            return Err(Error::new(format!("{} is not a file", path.display())).remedy("write one with `rootlet spec`"));
        }
        other => other.map_err(|error| unreadable(&std::io::Error::from_raw_os_error(error.errno as i32)))?,
    };
    read_opened(file.into(), path)
}

/// Reads a config that is opened, and is a file of that name.
pub fn read_opened(file: std::fs::File, path: &Path) -> Result<String> {
    let mut bytes = Vec::with_capacity(USUAL);
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::from_io(format!("cannot read {}", path.display()), &error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Error::new(format!("{} is too large", path.display()))
            .because(format!("a config has at most {LARGEST} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = valid.filter(|&&byte| byte == b'\n').count() + 1;
        Error::new(format!("config.json: line {line}: not UTF-8")).remedy("save the file as UTF-8, as JSON has to be")
    })
}

/// Parses a config.
pub fn parse(text: &str) -> Result<Loaded> {
    let mut unknown = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut spec: Spec = serde_ignored::deserialize(&mut deserializer, |path| unknown.push(path_of(&path.to_string())))
        .and_then(|spec| deserializer.end().map(|()| spec))
        .map_err(|_| explain(text))?;
    check_version(&spec, text)?;
    read_as_its_version_has_it(&mut spec);
    Ok(Loaded { spec, unknown })
}

/// What is said of JSON that is no config at all.
pub fn not_an_object() -> Error {
    Error::new("config.json: not an object").remedy("write a config to start from with `rootlet spec`")
}

/// Takes an object for `linux.resources`.
pub fn resources(value: serde_json::Value) -> Result<super::Resources> {
    let mut unknown = Vec::new();
    let mut note = |path: serde_ignored::Path| {
        unknown.push(format!("linux.resources.{}", path_of(&path.to_string())));
    };
    let deserializer = serde_ignored::Deserializer::new(value, &mut note);
    let resources = serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let property = format!("linux.resources.{}", error.path());
        wrong_type(property, &error.into_inner().to_string())
    })?;
    match unknown.first() {
        Some(path) => Err(Error { message: "unknown property".to_owned(), ..unknown_property(path) }),
        None => Ok(resources),
    }
}

/// Reads a file with a `process`.
pub fn process(path: &Path) -> Result<super::Process> {
    let failed = |error: std::io::Error| Error::from_io(format!("cannot read {}", path.display()), &error);
    let opened = std::fs::File::open(path).map_err(|error| failed(error).remedy("correct --process"))?;
    let text = read_opened(opened, path)?;
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let read = serde_path_to_error::deserialize(&mut deserializer);
    let rest = deserializer.end();
    if let (Ok(_), Err(error)) = (&read, rest) {
        return Err(Error::new(format!("{}: not JSON: {error}", path.display())).remedy("correct --process"));
    }
    read.map_err(|error: serde_path_to_error::Error<serde_json::Error>| {
        let at = format!("{} (line {}, column {})", path.display(), error.inner().line(), error.inner().column());
        let property = match error.path().to_string() {
            property if property == "." => "process".to_owned(),
            property => format!("process.{property}"),
        };
        let complaint = error.into_inner().to_string();
        let wrong = wrong_type("", complaint.split(" at line ").next().unwrap_or_default());
        Error { message: format!("{at}: {property}: {}", wrong.message), ..wrong }
    })
}

/// Refuses what does not follow a version 1 of the specification.
pub fn check_version(spec: &Spec, text: &str) -> Result<()> {
    if spec.oci_version.is_empty() {
        return Err(if looks_pre_draft(text) {
            pre_draft()
        } else {
            Error::in_config("ociVersion", "missing").remedy("add \"ociVersion\": \"1.0.0\"")
        });
    }
    if spec.oci_version.split('.').next() != Some("1") || spec.oci_version.split('.').count() < 3 {
        return Err(Error::in_config(
            "ociVersion",
            format!("{:?} is not a version that rootlet reads", spec.oci_version),
        )
        .because("rootlet follows versions 1.x.y of the OCI runtime specification")
        .remedy("write \"ociVersion\": \"1.0.0\" if the config follows it"));
    }
    Ok(())
}

/// Until version 1.3, 0 was no limit of pids (runtime-spec 1.2, config-linux.md); podman writes that for `--pids-limit -1`.
fn read_as_its_version_has_it(spec: &mut Spec) {
    let minor = spec.oci_version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    let resources = spec.linux.as_mut().and_then(|linux| linux.resources.as_mut());
    let pids = resources.and_then(|resources| resources.pids.as_mut());
    if let (Some(pids), true) = (pids, minor.is_some_and(|minor| minor < 3)) {
        pids.limit = pids.limit.map(|limit| if limit == 0 { -1 } else { limit });
    }
}

/// What is said of a key that the specification does not have.
pub fn unknown_property(path: &str) -> Error {
    let error = Error::in_config(path, "unknown property, ignored");
    match schema::nearest(path) {
        Some(known) => error.remedy(format!("did you mean {known}?")),
        None => error,
    }
}

impl Loaded {
    /// What is said of each unknown key.
    pub fn warnings(&self) -> impl Iterator<Item = Error> {
        self.unknown.iter().map(|path| unknown_property(path))
    }
}

/// serde's paths as they are written in config.json: `mounts[0].options`.
pub fn path_of(path: &str) -> String {
    let mut text = String::new();
    for part in path.split('.').filter(|part| *part != "?") {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push_str(&format!("[{part}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(part);
        }
    }
    text
}

/// Finds out where a config is wrong. A second pass, only for a config that cannot run.
fn explain(text: &str) -> Error {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        return Error::new(format!(
            "config.json: line {}, column {}: not JSON: {reason}",
            error.line(),
            error.column()
        ))
        .remedy(mend(text, error.line(), reason));
    }
    if looks_pre_draft(text) {
        return pre_draft();
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, Spec>(&mut deserializer) {
        Ok(_) => Error::new("config.json: it changed while it was read"),
        Err(error) => {
            let path = error.path().to_string();
            let inner = error.into_inner();
            let reason = inner.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            let path = if path == "." { String::new() } else { path };
            let mut error = match reason.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`')) {
                Some(name) => {
                    let property = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                    Error::in_config(property, "written twice")
                        .because("which of the two is meant cannot be told")
                        .remedy("leave one of them out")
                }
                None if path.is_empty() => return not_an_object(),
                None => wrong_type(path, reason),
            };
            error.message.push_str(&format!(" (line {}, column {})", inner.line(), inner.column()));
            error
        }
    }
}

/// What mends a text that is not JSON.
fn mend(text: &str, line: usize, reason: &str) -> &'static str {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    if text.trim().is_empty() {
        "the file is empty; remove it, and write one with `rootlet spec`"
    } else if text.starts_with('\u{feff}') {
        "save the file without a byte order mark"
    } else if line.trim_start().starts_with("//") || line.contains("/*") || line.trim_start().starts_with('#') {
        "remove the comment: JSON has none"
    } else if reason.contains("invalid number") {
        "write digits without a leading zero; JSON's numbers are decimal: octal 0022 is 18, 0644 is 420"
    } else {
        "mend the line; a comma too many or too few, or a missing quote, is the usual cause"
    }
}

/// What serde expects, in the words of JSON, and how to write it.
const TYPES: [(&str, &str, &str); 10] = [
    ("a sequence", "a list", "write a list such as [\"a\", \"b\"]"),
    ("a map", "an object", "write an object: { \"name\": value }"),
    ("struct", "an object", "write an object: { \"name\": value }"),
    ("a string", "a text", "write it in quotes"),
    ("a boolean", "true or false", "write true or false, without quotes"),
    ("u16", "a whole number from 0 to 65535", NUMBER),
    ("u32", "a whole number from 0 to 4294967295", NUMBER),
    ("u64", "a whole number from 0 on", NUMBER),
    ("i32", "a whole number from -2147483648 to 2147483647", NUMBER),
    ("i64", "a whole number from -9223372036854775808 to 9223372036854775807", NUMBER),
];
const DECIMAL: &str = "write digits alone; JSON's numbers are decimal: octal 0022 is 18, 0644 is 420";
const NUMBER: &str = "write digits alone, without quotes and without a unit";

/// serde's complaint about a value, as somebody who writes JSON understands it.
pub fn wrong_type(property: impl Into<String>, complaint: &str) -> Error {
    let found = complaint.split(", expected ").next().unwrap_or_default();
    let found = found.trim_start_matches("invalid type: ").trim_start_matches("invalid value: ");
    let found = match found {
        "map" => "an object",
        "sequence" => "a list",
        found => found,
    };
    let expected = complaint.split(", expected ").nth(1).unwrap_or_default();
    match TYPES.iter().find(|(word, ..)| expected.starts_with(word)) {
        Some((word, wanted, remedy)) => {
            let property = property.into();
            let remedy = match (found, *word) {
                ("an object", "a sequence") if property.ends_with(".env") => "write a list of texts: [\"NAME=value\"]",
                ("an object", "a sequence") => "put it into brackets: [{ ... }]",
                (_, "struct") if property.starts_with("linux.namespaces[") => "write an object: { \"type\": \"pid\" }",
                (_, "struct") if property.starts_with("mounts[") => {
                    "write an object: { \"destination\": \"/data\", \"source\": \"/data\", \"options\": [\"rbind\"] }"
                }
                (number, "a string") if number.starts_with("integer") || number.starts_with("floating") => remedy,
                (number, _) if number.starts_with("integer") || number.contains("e1") => "write a number in that range",
                _ if property.ends_with(".umask") || property.ends_with(".fileMode") => DECIMAL,
                _ => remedy,
            };
            Error::in_config(property, format!("{found}, where {wanted} is needed")).remedy(remedy)
        }
        None => Error::in_config(property, complaint),
    }
}

fn looks_pre_draft(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text)
        .is_ok_and(|config| config.get("ociVersion").is_none() && config.get("version").is_some())
}

/// The format of 2015, before runtime-spec 1.0.
fn pre_draft() -> Error {
    Error::new("config.json: this bundle is in the pre-draft format of 2015 (\"version\" instead of \"ociVersion\", at times with a runtime.json beside it)")
        .because("rootlet reads OCI runtime-spec 1.x, where one config.json holds everything")
        .remedy(
            "write \"ociVersion\": \"1.0.0\" for \"version\"; move \"linux\" and \"hooks\" of a runtime.json into config.json; \
             give each mount \"destination\", \"type\", \"source\" and \"options\" instead of \"name\" and \"path\" \
             (`rootlet spec` in an empty directory writes a config to start from)",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_json_is_mended_by_what_it_is() {
        for (text, word) in [
            ("", "empty"),
            ("\u{feff}{}", "byte order mark"),
            ("{\n  // mine\n}", "comment"),
            ("{\n  \"a\": 1\n  \"b\": 2\n}", "comma"),
        ] {
            assert!(parse(text).unwrap_err().remedy.unwrap().contains(word), "{text}");
        }
    }

    #[test]
    fn broken_json_is_named_by_line_and_column() {
        assert_eq!(
            complaint("{\n  \"ociVersion\": \"1.0.0\",,\n}"),
            "config.json: line 2, column 25: not JSON: key must be a string"
        );
    }

    #[test]
    fn a_wrong_type_is_named_by_its_path() {
        let text =
            complaint(r#"{"ociVersion":"1.0.0","mounts":[{"destination":"/a"},{"destination":"/b","options":"ro"}]}"#);
        assert!(text.starts_with("config.json: mounts[1].options: string \"ro\", where a list is needed"), "{text}");
    }

    #[test]
    fn unknown_keys_are_collected() {
        let loaded =
            parse(r#"{"ociVersion":"1.0.0","process":{"arg":[]},"mounts":[{"destination":"/","x":1}]}"#).unwrap();
        assert_eq!(loaded.unknown, ["process.arg", "mounts[0].x"]);
    }

    #[test]
    fn null_is_absence() {
        let loaded =
            parse(r#"{"ociVersion":"1.0.0","mounts":null,"hooks":null,"linux":{"maskedPaths":null,"resources":null}}"#)
                .unwrap();
        assert_eq!(loaded.spec.mounts.len(), 0);
        assert!(loaded.unknown.is_empty());
    }

    #[test]
    fn versions_other_than_1_are_refused() {
        for version in ["2.0.0", "0.5.0", "1.0", "x"] {
            assert!(complaint(&format!(r#"{{"ociVersion":"{version}"}}"#)).contains("ociVersion"));
        }
        assert!(complaint("{}").contains("ociVersion: missing"));
    }

    #[test]
    fn the_pre_draft_format_is_recognised() {
        for text in [r#"{"version":"pre-draft"}"#, r#"{"version":"0.1.0","mounts":{"proc":1}}"#] {
            assert!(complaint(text).contains("pre-draft format"), "{text}");
        }
    }
}
