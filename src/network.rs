//! The way out of a network namespace of the container's own: a program of the host's that passes packets on, and who ends it.
//!
//! pasta and slirp4netns need no privileges. Neither ends with the namespace in all of their versions, so that a process of ours starts
//! it, waits for the container's end, and ends it then; the kernel ends it if that one is killed.

use crate::error::{Error, Result};
use crate::sys::fd;
use crate::sys::process::{self, Process};
use crate::sys::program::{Invocation, Strings, start_program};
use crate::sys::{self, creds, signal};
use std::ffi::CString;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

/// A program that passes packets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helper {
    /// Of passt: the addresses of the host, and no translation of them.
    Pasta,
    /// Of slirp4netns: a network of its own, translated.
    Slirp4netns,
}

/// Both, the better one first.
pub const HELPERS: [Helper; 2] = [Helper::Pasta, Helper::Slirp4netns];

impl Helper {
    /// Name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Helper::Pasta => "pasta",
            Helper::Slirp4netns => "slirp4netns",
        }
    }

    /// Where it answers questions of names, in the name of the host's server, which may be out of reach for all others.
    pub fn resolver(self) -> &'static str {
        match self {
            Helper::Pasta => "169.254.1.1",
            Helper::Slirp4netns => "10.0.2.3",
        }
    }
}

/// A port of the host that leads into the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Where it listens; everywhere, if that is not said.
    pub address: Option<IpAddr>,
    /// Port of the host.
    pub host: u16,
    /// Port of the container.
    pub container: u16,
    /// Whether it is of UDP, and not of TCP.
    pub is_udp: bool,
}

impl Port {
    /// Reads `[IP:]HOST:CONTAINER[/tcp|/udp]`; an address of IPv6 stands in brackets.
    pub fn parse(text: &str) -> Option<Port> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let is_udp = match protocol {
            "tcp" => false,
            "udp" => true,
            _ => return None,
        };
        let (rest, container) = ports.rsplit_once(':')?;
        let (address, host) = match rest.rsplit_once(':') {
            Some((address, host)) => {
                let address = address.strip_prefix('[').map_or(Some(address), |address| address.strip_suffix(']'))?;
                (Some(address.parse().ok()?), host)
            }
            None => (None, rest),
        };
        let number = |text: &str| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|number| is_number && *number != 0)
        };
        Some(Port { address, host: number(host)?, container: number(container)?, is_udp })
    }

    fn as_pasta_has_it(&self) -> String {
        let ports = format!("{}:{}", self.host, self.container);
        self.address.map_or(ports.clone(), |address| format!("{address}/{ports}"))
    }

    /// What slirp4netns is asked by its socket.
    pub fn as_slirp4netns_has_it(&self) -> String {
        let address = self.address.map_or("0.0.0.0".to_owned(), |address| address.to_string());
        let protocol = if self.is_udp { "udp" } else { "tcp" };
        format!(
            "{{\"execute\":\"add_hostfwd\",\"arguments\":{{\"proto\":\"{protocol}\",\"host_addr\":\"{address}\",\"host_port\":{},\"guest_port\":{}}}}}",
            self.host, self.container
        )
    }
}

/// The arguments with which a helper serves the network namespace of a process. Neither lets the container reach what listens on
/// the host's loopback.
pub fn arguments(helper: Helper, ports: &[Port], pid: i32, socket: &Path) -> Vec<String> {
    let mut all = vec![helper.name().to_owned()];
    let mut add = |arguments: &[&str]| all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    match helper {
        Helper::Pasta => {
            add(&["--foreground", "--quiet", "--config-net", "--no-map-gw", "--tcp-ns", "none", "--udp-ns", "none"]);
            add(&["--dns-forward", helper.resolver()]);
            for (flag, is_udp) in [("--tcp-ports", false), ("--udp-ports", true)] {
                let mut asked = ports.iter().filter(|port| port.is_udp == is_udp).peekable();
                if asked.peek().is_none() {
                    add(&[flag, "none"]);
                }
                asked.for_each(|port| add(&[flag, &port.as_pasta_has_it()]));
            }
            add(&["--userns", &format!("/proc/{pid}/ns/user"), "--netns", &format!("/proc/{pid}/ns/net")]);
        }
        Helper::Slirp4netns => {
            add(&["--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path"]);
            add(&[&format!("--userns-path=/proc/{pid}/ns/user")]);
            if !ports.is_empty() {
                add(&[&format!("--api-socket={}", socket.display())]);
            }
            add(&[&format!("/proc/{pid}/ns/net"), "tap0"]);
        }
    }
    all
}

/// The resolv.conf(5) of the container: the helper's server, and of the host's file what is no server.
pub fn resolver_text(helper: Helper, hosts: &str) -> String {
    let kept = hosts.lines().filter(|line| ["search", "domain", "options"].iter().any(|key| line.starts_with(key)));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    format!("nameserver {}\n{kept}", helper.resolver())
}

/// Starts a program that ends with another process: it has a keeper, which is what is started. What it says goes to `output`, and
/// `lock` is held until it has ended. The caller has one thread.
pub fn start(
    path: &Path,
    arguments: Vec<String>,
    output: BorrowedFd,
    other: BorrowedFd,
    lock: BorrowedFd,
) -> Result<Process> {
    let failed = |error| Error::from_call(path.display(), error);
    let string = |text: &str| CString::new(text).unwrap_or_default();
    let arguments = Strings::new(arguments.iter().map(|argument| string(argument)).collect());
    let path = string(&path.to_string_lossy());
    match process::fork().map_err(failed)? {
        Some(pid) => Ok(Process { pid, pidfd: process::open_pidfd(pid).map_err(failed)? }),
        None => sys::exit_now(keep(&path, &arguments, output, other, lock).unwrap_or(126)),
    }
}

fn keep(
    path: &CString,
    arguments: &Strings,
    output: BorrowedFd,
    other: BorrowedFd,
    lock: BorrowedFd,
) -> sys::Result<i32> {
    // Whoever ends the container ends this.
    signal::block_all()?;
    creds::set_name(c"rootlet-net")?;
    process::start_session()?;
    creds::set_dumpable(false)?;
    creds::become_subreaper()?;
    let null = fd::open(c"/dev/null", fd::O_RDWR, 0)?;
    (0..3).try_for_each(|number| fd::dup_to(null.as_fd(), number))?;
    let kept = [null.as_raw_fd(), output.as_raw_fd(), other.as_raw_fd(), lock.as_raw_fd()];
    fd::close_all_but(3, || kept.into_iter())?;
    let (input, error) = (null.as_fd(), output);
    let invocation = Invocation { path, arguments, environment: None, directory: None, input, output, error };
    let helper = start_program(&invocation)?;
    let [_, has_ended] = fd::wait_for_either([other, helper.pidfd.as_fd()], -1)?.unwrap_or_default();
    if has_ended {
        return Ok(process::wait(helper.pid, true)?.map_or(0, |ended| ended.code()));
    }
    // pasta has children for a moment, which have its sockets; they are this process's when it is gone.
    let _ = process::kill_group(helper.pid, signal::SIGKILL);
    helper.end();
    process::reap_all();
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_others_read_them() {
        let port = |address: Option<&str>, host, container, is_udp| {
            Some(Port { address: address.map(|address| address.parse().unwrap()), host, container, is_udp })
        };
        assert_eq!(Port::parse("8080:80"), port(None, 8080, 80, false));
        assert_eq!(Port::parse("127.0.0.1:53:5353/udp"), port(Some("127.0.0.1"), 53, 5353, true));
        assert_eq!(Port::parse("[::1]:8080:80/tcp"), port(Some("::1"), 8080, 80, false));
        for text in
            ["", "80", "0:80", "80:0", "80:65536", "+80:80", "a:80:80", "80:80/icmp", "1:2:3:4", "80:80/", "[::1:80:80"]
        {
            assert_eq!(Port::parse(text), None, "{text}");
        }
    }

    #[test]
    fn helpers_get_what_is_published_and_nothing_else() {
        let ports = ["8080:80", "127.0.0.1:53:53/udp"].map(|text| Port::parse(text).unwrap());
        let pasta = arguments(Helper::Pasta, &ports, 7, Path::new("/s")).join(" ");
        assert!(pasta.contains("--tcp-ports 8080:80 --udp-ports 127.0.0.1/53:53 --userns /proc/7/ns/user"), "{pasta}");
        let none = arguments(Helper::Pasta, &[], 7, Path::new("/s")).join(" ");
        assert!(none.contains("--tcp-ports none --udp-ports none") && none.contains("--no-map-gw"), "{none}");
        let slirp = arguments(Helper::Slirp4netns, &ports, 7, Path::new("/s")).join(" ");
        assert!(
            slirp.contains("--disable-host-loopback") && slirp.ends_with("--api-socket=/s /proc/7/ns/net tap0"),
            "{slirp}"
        );
        let text = resolver_text(Helper::Pasta, "# x\nnameserver 127.0.0.53\nsearch a b\noptions edns0\n");
        assert_eq!(text, "nameserver 169.254.1.1\nsearch a b\noptions edns0\n");
    }
}
