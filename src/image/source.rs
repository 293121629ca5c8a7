//! How a caller names an image.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// An image by its form, its path and its name in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Form that the name says it has.
    pub form: Form,
    /// A directory or a file; `-` is standard input.
    pub path: PathBuf,
    /// Which one, where there are several.
    pub name: Option<String>,
}

/// Form in which an image is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An OCI layout, a directory (image-layout.md).
    Layout,
    /// An OCI layout in a tar archive.
    OciArchive,
    /// What `docker save` writes.
    DockerArchive,
    /// What is recognised by what is in it: one of these, or a root file system in a tar archive.
    Any,
}

/// The prefixes that skopeo and podman use.
const FORMS: [(&str, Form); 3] =
    [("oci:", Form::Layout), ("oci-archive:", Form::OciArchive), ("docker-archive:", Form::DockerArchive)];

/// Their prefixes of what is elsewhere.
const ELSEWHERE: [&str; 6] = ["docker://", "docker-daemon:", "containers-storage:", "dir:", "http://", "https://"];

impl Source {
    /// Reads `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:NAME]`, a path, or `-`.
    pub fn parse(text: &str) -> Result<Source> {
        if let Some((rest, form)) = FORMS.iter().find_map(|(prefix, form)| Some((text.strip_prefix(prefix)?, *form))) {
            let (path, name) = rest.split_once(':').map_or((rest, None), |(path, name)| (path, Some(name)));
            let name = name.filter(|name| !name.is_empty()).map(str::to_owned);
            if path.is_empty() {
                return Err(Error::new(format!("{text:?} names no image")).remedy("write oci:DIR:TAG, or a path"));
            }
            return Ok(Source { form, path: path.into(), name });
        }
        if ELSEWHERE.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(Error::new(format!("{text}: rootlet unpacks what is in a file or a directory"))
                .because("it fetches nothing, and asks no daemon")
                .remedy(format!("`skopeo copy {text} oci:image:latest`, and then unpack oci:image:latest")));
        }
        match text {
            "" => Err(Error::new("\"\" names no image").remedy("write oci:DIR:TAG, or a path")),
            _ => Ok(Source { form: Form::Any, path: text.into(), name: None }),
        }
    }
}

/// What mends an image that is not there: a name that no file would have is one of a registry.
pub fn how_to_get(path: &Path) -> String {
    let text = path.display().to_string();
    match text.contains(".tar") || text.ends_with(".tgz") || text.starts_with(['/', '.']) {
        true => "correct its name; `rootlet unpack --help` has the forms".to_owned(),
        false => format!("`skopeo copy docker://{text} oci:image:latest`, and then name it as oci:image:latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_as_skopeo_names_them() {
        let parts = |text: &str| {
            let source = Source::parse(text).unwrap();
            (source.form, source.path.display().to_string(), source.name.unwrap_or_default())
        };
        assert_eq!(parts("oci:a/b:1.2"), (Form::Layout, "a/b".into(), "1.2".into()));
        assert_eq!(parts("oci:a"), (Form::Layout, "a".into(), "".into()));
        assert_eq!(
            parts("docker-archive:/x.tar:localhost:5000/a:b"),
            (Form::DockerArchive, "/x.tar".into(), "localhost:5000/a:b".into())
        );
        assert_eq!(parts("./oci:x"), (Form::Any, "./oci:x".into(), "".into()));
        assert_eq!(parts("-"), (Form::Any, "-".into(), "".into()));
        for text in ["", "oci:", "docker://alpine", "docker-archive::x"] {
            assert!(Source::parse(text).unwrap_err().remedy.is_some(), "{text}");
        }
    }
}
