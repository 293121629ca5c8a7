//! Properties of a unit, as annotations have them (`org.systemd.property.NAME`): values in the text form of GVariant, as runc
//! and crun read them.

/// A property of systemd.unit(5) and its like.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitProperty {
    /// Name of the property on the bus, such as `TimeoutStopUSec`.
    pub name: String,
    /// Value, by its type on the bus.
    pub value: Value,
}

/// A value, by its type on the bus.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `s`
    Text(String),
    /// `as`
    Texts(Vec<String>),
    /// `i`, `u`, `x` and `t`: its size in bytes is its alignment.
    Number {
        /// The type.
        signature: &'static str,
        /// Little-endian.
        bytes: Vec<u8>,
    },
}

impl UnitProperty {
    /// Reads an annotation's last part and its value; why that cannot be, if it cannot.
    pub fn parse(name: &str, text: &str) -> Result<UnitProperty, &'static str> {
        if name.len() < 3 || !name.bytes().all(|letter| letter.is_ascii_alphabetic()) {
            return Err("a property's name has letters only");
        }
        let value = Value::parse(text.trim()).ok_or(
            "the value is none of: true, 'text', ['text', ...], a number, or a number behind int32, uint32, int64 or uint64",
        )?;
        // systemd.unit(5) has seconds, and its bus microseconds, which podman gives by its name there: TimeoutStopUSec.
        let stem = name.strip_suffix("Sec").filter(|stem| stem.ends_with(|letter: char| letter.is_ascii_lowercase()));
        match (stem, value) {
            (Some(stem), Value::Number { bytes, .. }) => {
                let seconds = bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
                let micros = seconds.checked_mul(1_000_000).ok_or("so many seconds are more than systemd counts")?;
                let value = Value::Number { signature: "t", bytes: micros.to_le_bytes().to_vec() };
                Ok(UnitProperty { name: format!("{stem}USec"), value })
            }
            (_, value) => Ok(UnitProperty { name: name.to_owned(), value }),
        }
    }
}

impl Value {
    fn parse(text: &str) -> Option<Value> {
        if let Some(list) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return list_of_texts(list).map(Value::Texts);
        }
        match text {
            "true" => return Some(Value::Bool(true)),
            "false" => return Some(Value::Bool(false)),
            "@as []" => return Some(Value::Texts(Vec::new())),
            _ => {}
        }
        if text.starts_with(['\'', '"']) {
            let (text, rest) = quoted(text)?;
            return rest.is_empty().then_some(Value::Text(text));
        }
        let (kind, digits) = text.split_once(' ').map_or(("int32", text), |(kind, digits)| (kind, digits.trim_start()));
        let (signature, bytes) = match kind {
            "int32" => ("i", digits.parse::<i32>().ok()?.to_le_bytes().to_vec()),
            "uint32" => ("u", digits.parse::<u32>().ok()?.to_le_bytes().to_vec()),
            "int64" => ("x", digits.parse::<i64>().ok()?.to_le_bytes().to_vec()),
            "uint64" => ("t", digits.parse::<u64>().ok()?.to_le_bytes().to_vec()),
            _ => return None,
        };
        Some(Value::Number { signature, bytes })
    }
}

/// A quoted text, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next()?;
    let (mut unquoted, mut letters) = (String::new(), text.char_indices().skip(1));
    while let Some((index, letter)) = letters.next() {
        match letter {
            '\\' => unquoted.push(letters.next()?.1),
            letter if letter == quote => return Some((unquoted, text.get(index + 1..)?)),
            letter => unquoted.push(letter),
        }
    }
    None
}

fn list_of_texts(mut list: &str) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    loop {
        list = list.trim_start();
        if list.is_empty() {
            return Some(texts);
        }
        let (text, rest) = if list.starts_with(['\'', '"']) { quoted(list)? } else { return None };
        texts.push(text);
        list = rest.trim_start();
        list = match list.strip_prefix(',') {
            Some(rest) => rest,
            None if list.is_empty() => list,
            None => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_types() {
        let value = |text| UnitProperty::parse("Some", text).map(|property| property.value);
        assert_eq!(value("true"), Ok(Value::Bool(true)));
        assert_eq!(value("'a \\'b\\''"), Ok(Value::Text("a 'b'".to_owned())));
        assert_eq!(value("['a.service', \"b\"]"), Ok(Value::Texts(vec!["a.service".to_owned(), "b".to_owned()])));
        assert_eq!(value("uint64 5"), Ok(Value::Number { signature: "t", bytes: 5u64.to_le_bytes().to_vec() }));
        assert_eq!(value("-1"), Ok(Value::Number { signature: "i", bytes: (-1i32).to_le_bytes().to_vec() }));
        for wrong in ["", "'", "'a' b", "[1, 2]", "['a' 'b']", "uint32 -1", "word", "uint8 3"] {
            assert!(value(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_are_microseconds_on_the_bus_and_names_are_letters() {
        let micros = Value::Number { signature: "t", bytes: 3_000_000u64.to_le_bytes().to_vec() };
        let property = UnitProperty { name: "TimeoutStopUSec".to_owned(), value: micros };
        assert_eq!(UnitProperty::parse("TimeoutStopUSec", "uint64 3000000"), Ok(property.clone()));
        assert_eq!(UnitProperty::parse("TimeoutStopSec", "uint64 3"), Ok(property));
        for wrong in ["", "ab", "a.b", "x_y"] {
            assert!(UnitProperty::parse(wrong, "true").is_err(), "{wrong}");
        }
    }
}
