//! `mounts` of type overlay: what its options mean in a bundle and in a user namespace.

use super::options::Options;
use crate::property::Planner;

/// Directories of an overlay may be relative to the bundle, and marks of deleted files are for a user namespace
/// extended attributes that it may set (`userxattr`, Linux 5.11).
pub fn adapt(planner: &Planner, options: &mut Options) {
    options.data = options.data.iter().flat_map(|option| split(option, ',')).map(str::to_owned).collect();
    for option in &mut options.data {
        let Some((key, paths)) = option.split_once('=') else { continue };
        let paths = match key {
            "lowerdir" => split(paths, ':'),
            "upperdir" | "workdir" => vec![paths],
            _ => continue,
        };
        let absolute = |path: &str| match path {
            // Two colons divide layers of data only.
            "" => String::new(),
            path => planner.request.bundle.join(path).to_string_lossy().into_owned(),
        };
        let paths: Vec<_> = paths.into_iter().map(absolute).collect();
        *option = format!("{key}={}", paths.join(":"));
    }
    if planner.has_other_user_namespace() && !options.data.iter().any(|option| option == "userxattr") {
        options.data.push("userxattr".to_owned());
    }
}

/// Parts of a text between separators that have no backslash before them, as overlayfs reads its options.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut is_escaped = false;
    text.split(|letter: char| {
        let divides = letter == separator && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        divides
    })
    .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_escaped_separator_is_none() {
        assert_eq!(super::split(r"a:b\:c::d", ':'), ["a", r"b\:c", "", "d"]);
    }
}
