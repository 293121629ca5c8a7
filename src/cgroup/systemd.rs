//! A scope of systemd, by its D-Bus interface (org.freedesktop.systemd1(5)).
//!
//! One method is called and one signal waited for, so the few messages are written here: zbus, the library for it,
//! doubled the number of crates (67 to 134), and its 0.8 MB cost each start that needs a sealed copy 0.13 ms.

use crate::error::{Error, Result, quote};
use crate::plan::Bus;
use crate::plan::unit_property::{UnitProperty, Value};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// No message of systemd's is longer.
const LONGEST: usize = 1 << 20;

/// A scope that is to be.
pub struct Scope<'a> {
    /// Slice that the scope is in.
    pub slice: &'a str,
    /// Name of the scope, with its suffix.
    pub name: &'a str,
    /// Description that systemctl shows.
    pub description: &'a str,
    /// Besides, or instead of what rootlet sets.
    pub properties: &'a [UnitProperty],
}

/// Makes a delegated scope around a process, and returns when it is there.
pub fn start_scope(bus: &Bus, scope: &Scope, pid: i32) -> Result<()> {
    let name = scope.name;
    let ask = |connection: &mut Connection| {
        let job = connection.start_transient_unit(scope, pid)?;
        match job {
            Ok(job) => connection.wait_for_job(&job).map(|result| match result.as_str() {
                "done" => Ok(()),
                result => Err(format!("its job ended as {result:?}")),
            }),
            Err(refusal) => Ok(Err(refusal)),
        }
    };
    converse(bus, &format!("makes no scope {name}"), name, ask)
}

/// Moves a process to a cgroup below a scope, which the caller may not do.
pub fn attach(bus: &Bus, scope: &str, below: &str, pid: i32) -> Result<()> {
    let ask = |connection: &mut Connection| connection.attach(scope, below, pid);
    converse(bus, &format!("takes no process to {scope}"), scope, ask)
}

/// What systemd says to a question, or why it refuses.
type Answer<T> = io::Result<std::result::Result<T, String>>;

fn converse(bus: &Bus, refusal: &str, unit: &str, ask: impl FnOnce(&mut Connection) -> Answer<()>) -> Result<()> {
    match Connection::open(bus).and_then(|mut connection| ask(&mut connection)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(words)) => {
            let which = if bus.is_user { "--user " } else { "" };
            Err(Error::new(format!("systemd {refusal}: {}", quote(&words)))
                .remedy(format!("see `systemctl {which}status {unit}`; stop it if it is an old one")))
        }
        Err(error) => Err(Error::from_io(format!("systemd at {}", bus.path.display()), &error)
            .because("the bus does not answer as D-Bus does, or not at all")
            .remedy("see `systemctl --user status`; or leave --systemd-cgroup and linux.cgroupsPath out")),
    }
}

const CALL: u8 = 1;
const REPLY: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// A message, as far as anybody here wants to know it.
#[derive(Debug, Default)]
struct Message {
    kind: u8,
    reply_to: u32,
    member: String,
    body: Vec<u8>,
}

struct Connection {
    stream: UnixStream,
    serial: u32,
    deadline: Instant,
}

impl Connection {
    fn open(bus: &Bus) -> io::Result<Connection> {
        let mut stream = UnixStream::connect(&bus.path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // Without a uid, the bus takes the socket's, which is right in a user namespace, too.
        stream.write_all(b"\0AUTH EXTERNAL\r\n")?;
        expect_line(&mut stream, "DATA")?;
        stream.write_all(b"DATA\r\n")?;
        expect_line(&mut stream, "OK")?;
        stream.write_all(b"BEGIN\r\n")?;
        let mut connection = Connection { stream, serial: 0, deadline: Instant::now() + PATIENCE };
        let hello = connection.call(&DAEMON, "Hello", "", &[])?;
        connection.reply(hello)?.map_err(io::Error::other)?;
        Ok(connection)
    }

    /// Calls a method; the serial number of the call.
    fn call(&mut self, to: &Destination, member: &str, signature: &str, body: &[u8]) -> io::Result<u32> {
        self.serial += 1;
        let mut fields = Writer::default();
        for (code, kind, text) in
            [(1, "o", to.path), (6, "s", to.name), (2, "s", to.interface), (3, "s", member), (8, "g", signature)]
        {
            if !text.is_empty() {
                fields.align(8);
                fields.byte(code);
                fields.signature(kind);
                if kind == "g" { fields.signature(text) } else { fields.text(text) }
            }
        }
        let mut message = Writer::default();
        // Little-endian, version 1 of the protocol.
        message.bytes.extend_from_slice(&[b'l', CALL, 0, 1]);
        message.number(body.len() as u32);
        message.number(self.serial);
        message.number(fields.bytes.len() as u32);
        message.bytes.extend_from_slice(&fields.bytes);
        message.align(8);
        message.bytes.extend_from_slice(body);
        self.stream.write_all(&message.bytes)?;
        Ok(self.serial)
    }

    /// The body of the answer to a call, or the words of its error.
    fn reply(&mut self, serial: u32) -> Answer<Vec<u8>> {
        loop {
            let message = self.receive()?;
            if message.reply_to == serial && matches!(message.kind, REPLY | ERROR) {
                let is_error = message.kind == ERROR;
                return Ok(if is_error { Err(Reader::new(&message.body).text()?) } else { Ok(message.body) });
            }
        }
    }

    fn receive(&mut self) -> io::Result<Message> {
        if Instant::now() > self.deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        let mut reader = Reader::new(&head);
        let (order, kind) = (reader.byte()?, reader.byte()?);
        reader.position = 4;
        let (body, _, fields) = (reader.number()? as usize, reader.number()?, reader.number()? as usize);
        if order != b'l' || body > LONGEST || fields > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a message of a little-endian bus"));
        }
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.stream.read_exact(&mut rest)?;
        let body = rest.split_off(fields.next_multiple_of(8));
        rest.truncate(fields);
        let mut message = Message { kind, body, ..Message::default() };
        let mut reader = Reader::new(&rest);
        while reader.position < rest.len() {
            reader.align(8);
            let code = reader.byte()?;
            match (code, reader.signature()?.as_str()) {
                (5, "u") => message.reply_to = reader.number()?,
                (3, "s") => message.member = reader.text()?,
                (_, "s" | "o") => drop(reader.text()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.number()?),
                _ => break,
            }
        }
        Ok(message)
    }

    /// The job that makes the scope, or why there is none.
    fn start_transient_unit(&mut self, scope: &Scope, pid: i32) -> Answer<String> {
        // systemd tells only those who have subscribed.
        let mut rule = Writer::default();
        rule.text("type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'");
        self.call(&DAEMON, "AddMatch", "s", &rule.bytes)?;
        self.call(&MANAGER, "Subscribe", "", &[])?;
        let mut body = Writer::default();
        body.text(scope.name);
        body.text("fail");
        body.array(8, |properties| {
            let is_own = |key: &str| scope.properties.iter().any(|property| property.name == key);
            let texts =
                [("Description", scope.description), ("Slice", scope.slice), ("CollectMode", "inactive-or-failed")];
            for (key, text) in texts.into_iter().filter(|(key, _)| !is_own(key)) {
                properties.property(key, "s", |value| value.text(text));
            }
            for (key, value) in
                [("Delegate", 1), ("DefaultDependencies", 0)].into_iter().filter(|(key, _)| !is_own(key))
            {
                properties.property(key, "b", |writer| writer.number(value));
            }
            scope.properties.iter().for_each(|property| properties.unit_property(property));
            properties.property("PIDs", "au", |value| value.array(4, |pids| pids.number(pid as u32)));
        });
        body.array(8, |_| {});
        let call = self.call(&MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", &body.bytes)?;
        Ok(match self.reply(call)? {
            Ok(body) => Ok(Reader::new(&body).text()?),
            Err(refusal) => Err(refusal),
        })
    }

    fn attach(&mut self, scope: &str, below: &str, pid: i32) -> Answer<()> {
        let mut body = Writer::default();
        body.text(scope);
        body.text(below);
        body.array(4, |pids| pids.number(pid as u32));
        let call = self.call(&MANAGER, "AttachProcessesToUnit", "ssau", &body.bytes)?;
        Ok(self.reply(call)?.map(drop))
    }

    /// How a job ended.
    fn wait_for_job(&mut self, job: &str) -> io::Result<String> {
        loop {
            let message = self.receive()?;
            if message.kind == SIGNAL && message.member == "JobRemoved" {
                let mut reader = Reader::new(&message.body);
                let (_, path, _, result) = (reader.number()?, reader.text()?, reader.text()?, reader.text()?);
                if path == job {
                    return Ok(result);
                }
            }
        }
    }
}

/// Whom a method belongs to.
struct Destination {
    name: &'static str,
    path: &'static str,
    interface: &'static str,
}

const DAEMON: Destination =
    Destination { name: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" };

const MANAGER: Destination = Destination {
    name: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// A line of the handshake that begins with that word.
fn expect_line(stream: &mut UnixStream, word: &str) -> io::Result<()> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\r\n") && line.len() < 1024 {
        stream.read_exact(&mut byte)?;
        line.extend_from_slice(&byte);
    }
    match line.starts_with(word.as_bytes()) {
        true => Ok(()),
        false => Err(io::Error::other(format!("the bus answers {:?}", String::from_utf8_lossy(&line).trim()))),
    }
}

/// Values as D-Bus has them (dbus-specification, marshaling): each aligned to its size.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.bytes.extend_from_slice(text.as_bytes());
        self.byte(0);
    }

    fn signature(&mut self, text: &str) {
        self.byte(text.len() as u8);
        self.bytes.extend_from_slice(text.as_bytes());
        self.byte(0);
    }

    /// An array whose elements are aligned to `to`; its length does not count the gap before the first.
    fn array(&mut self, to: usize, elements: impl FnOnce(&mut Writer)) {
        self.number(0);
        let at = self.bytes.len() - 4;
        self.align(to);
        let start = self.bytes.len();
        elements(self);
        let length = (self.bytes.len() - start) as u32;
        if let Some(slot) = self.bytes.get_mut(at..at + 4) {
            slot.copy_from_slice(&length.to_le_bytes());
        }
    }

    fn property(&mut self, key: &str, signature: &str, value: impl FnOnce(&mut Writer)) {
        self.align(8);
        self.text(key);
        self.signature(signature);
        value(self);
    }
}

impl Writer {
    fn unit_property(&mut self, property: &UnitProperty) {
        match &property.value {
            Value::Bool(value) => self.property(&property.name, "b", |writer| writer.number((*value).into())),
            Value::Text(text) => self.property(&property.name, "s", |writer| writer.text(text)),
            Value::Texts(texts) => self.property(&property.name, "as", |writer| {
                writer.array(4, |elements| texts.iter().for_each(|text| elements.text(text)));
            }),
            Value::Number { signature, bytes } => self.property(&property.name, signature, |writer| {
                writer.align(bytes.len());
                writer.bytes.extend_from_slice(bytes);
            }),
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, position: 0 }
    }

    fn align(&mut self, to: usize) {
        self.position = self.position.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let end = self.position.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.position..end));
        self.position = self.position.saturating_add(length);
        taken.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a message ends too soon"))
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.take(1).map(|bytes| bytes.first().copied().unwrap_or(0))
    }

    fn number(&mut self) -> io::Result<u32> {
        self.align(4);
        self.take(4).map(|bytes| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn text(&mut self) -> io::Result<String> {
        let length = self.number()? as usize;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1).map(|_| text)
    }

    fn signature(&mut self) -> io::Result<String> {
        let length = self.byte()?.into();
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1).map(|_| text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_aligned_and_read_back() {
        let mut writer = Writer::default();
        writer.byte(7);
        writer.text("ab");
        writer.array(8, |elements| elements.property("K", "u", |value| value.number(9)));
        assert_eq!(writer.bytes.len() % 4, 0);
        let mut reader = Reader::new(&writer.bytes);
        assert_eq!((reader.byte().unwrap(), reader.text().unwrap().as_str()), (7, "ab"));
        let length = reader.number().unwrap();
        reader.align(8);
        assert_eq!(length as usize, writer.bytes.len() - reader.position);
        assert_eq!((reader.text().unwrap().as_str(), reader.signature().unwrap().as_str()), ("K", "u"));
        assert_eq!(reader.number().unwrap(), 9);
        assert!(reader.number().is_err(), "nothing is read beyond the end");
    }
}
