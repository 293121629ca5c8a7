//! Where in the text of config.json a property stands.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// A position in a text, both counted from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// A part of a path: a key, or an index in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Key of an object.
    Key(String),
    /// Index in a list.
    Index(usize),
}

/// Objects whose keys are anybody's, with dots in them.
const MAPS: [&str; 3] = ["annotations.", "linux.sysctl.", "linux.resources.unified."];

/// `mounts[3].options` in parts. What follows after a blank is for people.
pub fn parts(property: &str) -> Vec<Part> {
    if let Some((map, key)) = MAPS.iter().find_map(|map| Some((map, property.strip_prefix(map)?))) {
        return [parts(map.trim_end_matches('.')), vec![Part::Key(key.to_owned())]].concat();
    }
    let path = property.split(' ').next().unwrap_or_default();
    let mut parts = Vec::new();
    for piece in path.split('.').filter(|piece| !piece.is_empty()) {
        let (key, indexes) = piece.split_once('[').unwrap_or((piece, ""));
        if !key.is_empty() {
            parts.push(Part::Key(key.to_owned()));
        }
        parts.extend(indexes.split(['[', ']']).filter_map(|index| index.parse().ok()).map(Part::Index));
    }
    parts
}

/// The parts as a JSON pointer (RFC 6901).
pub fn pointer(parts: &[Part]) -> String {
    let escape = |part: &Part| match part {
        Part::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Part::Index(index) => format!("/{index}"),
    };
    parts.iter().map(escape).collect()
}

/// Where the value of a property begins, or that of the nearest object around it, in a text that is JSON.
pub fn find(text: &str, parts: &[Part]) -> Position {
    let mut at = text.trim_start();
    for part in parts {
        let Ok(children) = serde_json::from_str::<Children>(at) else { break };
        let found = match (part, &children) {
            // Of a key that stands twice, the last counts.
            (Part::Key(key), Children::Object(fields)) => fields.iter().rev().find(|(known, _)| known == key),
            (Part::Index(index), Children::List(items)) => items.get(*index),
            _ => None,
        };
        match found {
            Some((_, value)) => at = value.get(),
            None => break,
        }
    }
    // A raw value is a part of the text that it was read from.
    let offset = at.as_ptr().addr().wrapping_sub(text.as_ptr().addr()).min(text.len());
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Position { line, column }
}

/// What an object or a list holds, one level deep.
enum Children<'a> {
    Object(Vec<(String, &'a RawValue)>),
    List(Vec<(String, &'a RawValue)>),
}

impl<'de> Deserialize<'de> for Children<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Children<'de>, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Children<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object or a list")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Children<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    fields.push(entry);
                }
                Ok(Children::Object(fields))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Children<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push((String::new(), item));
                }
                Ok(Children::List(items))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_found_by_line_and_column() {
        let text = "{\n\t\"mounts\": [\n\t\t{\"destination\": \"/ü\", \"options\": [\"ro\",\n  7]}\n\t]\n}";
        let position = |property: &str| {
            let Position { line, column } = find(text, &parts(property));
            (line, column)
        };
        assert_eq!(position("mounts"), (2, 12));
        assert_eq!(position("mounts[0].options"), (3, 36));
        assert_eq!(position("mounts[0].options[1]"), (4, 3));
        assert_eq!(position("mounts[0] (/data)"), (3, 3));
        assert_eq!(position("mounts[0].source"), (3, 3), "what is missing is at the object where it should be");
        assert_eq!(position("process.args"), (1, 1));
        assert_eq!(pointer(&parts("mounts[0].options[1]")), "/mounts/0/options/1");
        assert_eq!(pointer(&parts("linux.sysctl.net.ipv4.ip_forward")), "/linux/sysctl/net.ipv4.ip_forward");
    }
}
