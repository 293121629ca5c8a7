//! The few parts of protobuf's wire format that CRIU's messages need (protobuf.dev, encoding).

/// A message that is written field by field.
#[derive(Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// The bytes of the message.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A number, an enum or a bool. Negative ones are as those of 64 bits.
    pub fn number(&mut self, field: u32, value: i64) {
        self.key(field, 0);
        self.varint(value as u64);
    }

    /// A bool, which is left out if it is false.
    pub fn flag(&mut self, field: u32, value: bool) {
        if value {
            self.number(field, 1);
        }
    }

    /// A text.
    pub fn text(&mut self, field: u32, value: &str) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value.as_bytes());
    }

    /// A message in the message.
    pub fn message(&mut self, field: u32, value: &Message) {
        self.key(field, 2);
        self.varint(value.0.len() as u64);
        self.0.extend_from_slice(&value.0);
    }

    fn key(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A field that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A number, an enum or a bool.
    Number(i64),
    /// A text or a message.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number; 0 if it is none.
    pub fn number(self) -> i64 {
        if let Value::Number(number) = self { number } else { 0 }
    }

    /// The bytes; none if it is a number.
    pub fn bytes(self) -> &'a [u8] {
        if let Value::Bytes(bytes) = self { bytes } else { &[] }
    }

    /// The text.
    pub fn text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

/// The fields of a message, with their numbers; it ends where the bytes make no sense.
pub fn fields(mut bytes: &[u8]) -> Vec<(u32, Value<'_>)> {
    let mut found = Vec::new();
    while let Some(field) = field(&mut bytes) {
        found.extend(field.1.map(|value| (field.0, value)));
    }
    found
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Option<Value<'a>>)> {
    let key = varint(bytes)?;
    let number = u32::try_from(key >> 3).ok()?;
    let value = match key & 7 {
        0 => Some(Value::Number(varint(bytes)? as i64)),
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Some(Value::Bytes(take(bytes, length)?))
        }
        1 => take(bytes, 8).map(|_| None)?,
        5 => take(bytes, 4).map(|_| None)?,
        _ => return None,
    };
    Some((number, value))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(bytes, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut inner = Message::default();
        inner.text(1, "key");
        let mut message = Message::default();
        message.number(2, 300);
        message.number(1, -1);
        message.flag(3, false);
        message.flag(63, true);
        message.message(23, &inner);
        // protobuf.dev's own example: field 1 with 150 is 08 96 01.
        assert_eq!(message.bytes().get(..3), Some(&[0x10, 0xac, 0x02][..]));
        let read = fields(message.bytes());
        assert_eq!(read.len(), 4);
        assert_eq!(read[0], (2, Value::Number(300)));
        assert_eq!(read[1], (1, Value::Number(-1)));
        assert_eq!(read[2], (63, Value::Number(1)));
        assert_eq!(fields(read[3].1.bytes()), [(1, Value::Bytes(b"key"))]);
    }

    #[test]
    fn what_makes_no_sense_ends_the_message() {
        for bytes in [&[0xff][..], &[0x0a, 0x7f, 1], &[0x07], &[0x80; 11]] {
            assert!(fields(bytes).is_empty(), "{bytes:?}");
        }
        assert_eq!(fields(&[0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 1]), [(1, Value::Number(1))]);
    }
}
