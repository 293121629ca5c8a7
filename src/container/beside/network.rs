//! The program that passes the container's packets on.

use super::hooks::last_words;
use crate::container::interrupt::Interrupt;
use crate::container::state::Container;
use crate::container::state::directory::{Directory, NETWORK, PORTS};
use crate::error::{Error, Result};
use crate::init::Handle;
use crate::network::{self, Helper, Port};
use crate::plan::step::NamespaceStep;
use crate::plan::{Network, Plan, Step};
use crate::property::RESOLVER_FILE;
use crate::property::annotations;
use crate::sys::process::{Process, wait, wait_readable};
use crate::sys::{self, fd, signal};
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long it may take until there is a route.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a port that is taken is waited for.
const GRACE: Duration = Duration::from_millis(500);

/// Writes the container's resolv.conf.
pub fn write_resolver(helper: Helper, directory: &Directory) -> Result<()> {
    // A host without one has no servers; whoever answers does what it can.
    let hosts = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    directory.write(RESOLVER_FILE, network::resolver_text(helper, &hosts).as_bytes())?;
    // Whoever the program's user is must be able to read it; only the state's own directory is nobody else's.
    let file =
        directory.open_file(RESOLVER_FILE, fd::O_RDONLY).map_err(|error| Error::from_call(RESOLVER_FILE, error))?;
    fd::chmod(file.as_fd(), 0o644).map_err(|error| Error::from_call(RESOLVER_FILE, error))
}

/// Starts what a step asks for, and waits until it has led a way out. It ends with the container's first process.
pub fn connect(init: &Handle, plan: &Plan, container: &Container, step: u32, interrupt: &Interrupt) -> Result<()> {
    let step = plan.entries.get(step as usize).map(|entry| &entry.step);
    let Some(Step::Namespace(NamespaceStep::Connect(asked))) = step else {
        return Err(Error::new("a network was asked for that is not in the plan"));
    };
    let Network { helper, program, ports } = &**asked;
    let failed = |error| Error::from_call(program.display(), error);
    ports.iter().try_for_each(check_is_free)?;
    let output = fd::memory_file(c"network").map_err(failed)?;
    let lock = container.directory.open_lock(NETWORK)?.ok_or_else(|| Error::new("there is no room for the state"))?;
    fd::lock(lock.as_fd()).map_err(failed)?;
    let socket = container.directory.path().join(PORTS);
    let arguments = network::arguments(*helper, ports, init.process.pid, &socket);
    let keeper = network::start(program, arguments, output.as_fd(), init.process.pidfd.as_fd(), lock.as_fd())?;
    let connected = wait_for_route(init, &keeper, interrupt).and_then(|is_there| match is_there {
        true if *helper == Helper::Slirp4netns => publish(ports, &socket),
        true => Ok(()),
        false => Err(refused(program, &output, &keeper)),
    });
    if connected.is_err() {
        let _ = sys::process::send_signal(keeper.pidfd.as_fd(), signal::SIGKILL);
        let _ = wait(keeper.pid, true);
    }
    connected
}

/// True when there is a route; false if the program has ended before.
fn wait_for_route(init: &Handle, keeper: &Process, interrupt: &Interrupt) -> Result<bool> {
    let start = Instant::now();
    loop {
        if has_route(init.process.pid)? {
            return Ok(true);
        }
        if wait_readable(keeper.pidfd.as_fd(), 1).unwrap_or(false) || start.elapsed() > PATIENCE {
            return Ok(false);
        }
        // A signal ends all this.
        interrupt.wait_readable(keeper.pidfd.as_fd(), 1)?;
    }
}

/// Whether the network namespace of a process has a default route.
fn has_route(pid: i32) -> Result<bool> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/net/{name}");
        fs::read_to_string(&path).or_else(|error| match error.kind() {
            // A kernel without that protocol.
            std::io::ErrorKind::NotFound => Ok(String::new()),
            _ => Err(Error::from_io(path, &error)),
        })
    };
    let has_default = |text: &str, column: usize, is_default: &dyn Fn(&[&str]) -> bool| {
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .any(|fields| fields.get(column).is_some_and(|device| *device != "lo") && is_default(&fields))
    };
    let four = has_default(&read("route")?, 0, &|fields| fields.get(1) == Some(&"00000000"));
    let is_zero = |text: Option<&&str>| text.is_some_and(|text| text.bytes().all(|byte| byte == b'0'));
    Ok(four || has_default(&read("ipv6_route")?, 9, &|fields| is_zero(fields.first()) && is_zero(fields.get(1))))
}

/// A port that somebody has, or that this user may not have. (pasta is content with one of the protocol's two versions.)
fn check_is_free(port: &Port) -> Result<()> {
    let address = port.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let bind = || match port.is_udp {
        true => UdpSocket::bind((address, port.host)).map(drop),
        false => TcpListener::bind((address, port.host)).map(drop),
    };
    let start = Instant::now();
    let bound = loop {
        match bind() {
            // Who had it may be about to end, as after a SIGKILL.
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && start.elapsed() < GRACE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            bound => break bound,
        }
    };
    bound.map_err(|error| {
        let message = format!("org.rootlet.publish: port {} of {address} cannot be had", port.host);
        Error::in_config("annotations", message).because(error.to_string()).remedy(match error.kind() {
            std::io::ErrorKind::AddrInUse => "publish another port; `ss -lntu` shows who has this one",
            std::io::ErrorKind::PermissionDenied => "an ordinary user's ports begin at 1024: publish one of those",
            _ => "see `ip address` for the addresses of this host",
        })
    })
}

fn refused(program: &Path, output: &OwnedFd, keeper: &Process) -> Error {
    let mut text = Vec::new();
    let _ = fd::rewind(output.as_fd());
    let _ = output.try_clone().map(fs::File::from).and_then(|mut file| file.read_to_end(&mut text));
    let error =
        Error::in_config("annotations", format!("{}: {} leads no way out", annotations::NETWORK, program.display()));
    // pasta has no system log in many places, and says so with every line.
    let said: Vec<_> = text.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"Failed to send ")).collect();
    let said = last_words(&said.join(&b'\n'));
    let ended = match wait(keeper.pid, false) {
        Ok(Some(ended)) => format!("it ended with status {}", ended.code()),
        _ => format!("it has made no route in {} s", PATIENCE.as_secs()),
    };
    let error = error.because(if said.is_empty() { ended } else { format!("{ended}, and said: {said}") });
    // Everywhere but in containers, everybody may open it.
    match fd::open(c"/dev/net/tun", fd::O_RDWR, 0) {
        Err(error_of_device) => error.remedy(format!(
            "/dev/net/tun cannot be opened ({}): as root, `modprobe tun` and `chmod 666 /dev/net/tun`, or give the outer container the device",
            error_of_device.errno
        )),
        Ok(_) => error.remedy("see whether the host has a network, and run it by hand to see why"),
    }
}

/// Tells slirp4netns which ports lead into the container.
fn publish(ports: &[Port], socket: &Path) -> Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    let wrong = |because: String| {
        Error::in_config("annotations", "org.rootlet.publish: slirp4netns does not lead a port into the container")
            .because(because)
            .remedy("publish a port that is free, and for an ordinary user, one from 1024 on")
    };
    let failed = |error: std::io::Error| wrong(format!("{}: {error}", socket.display()));
    let start = Instant::now();
    for port in ports {
        let mut stream = loop {
            match UnixStream::connect(socket) {
                Err(_) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(1)),
                connected => break connected.map_err(failed)?,
            }
        };
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.write_all(port.as_slirp4netns_has_it().as_bytes()).map_err(failed)?;
        stream.shutdown(std::net::Shutdown::Write).map_err(failed)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(failed)?;
        if answer.contains("\"error\"") {
            return Err(wrong(format!("of {}, it said: {}", port.host, last_words(answer.as_bytes()))));
        }
    }
    Ok(())
}
