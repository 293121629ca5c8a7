//! Listening to a new process until it is ready, or has become its program.

use super::beside::fuse::{self, Serving};
use super::beside::{audit, console, fake_root, hooks, listener, network};
use super::cgroup;
use super::interrupt::Interrupt;
use super::state::Container;
use crate::error::Result;
use crate::fake_root::Starting;
use crate::init::{Handle, Message};
use crate::plan::{Decision, Phase, Plan};
use std::os::fd::OwnedFd;

/// What there is to listen to.
pub struct Follow<'a> {
    /// The process.
    pub init: &'a Handle,
    /// The plan whose process is followed.
    pub plan: &'a Plan,
    /// The container that it belongs to.
    pub container: &'a Container,
    /// The container's status, for hooks and agents.
    pub status: &'a str,
    /// Whether its program starts_now at once: then the end of file is the beginning.
    pub starts_now: bool,
    /// Whether nobody asks how it ends: then it says that it is ready.
    pub is_alone: bool,
    /// What hooks in the container say: those of the host's, and those of the image's.
    pub outputs: [Option<OwnedFd>; 2],
    /// Where system calls are written down, if they are.
    pub audit: Option<&'a OwnedFd>,
    /// What makes an end of waiting.
    pub interrupt: Interrupt,
}

/// What the process has handed over.
#[derive(Default)]
pub struct Followed {
    /// The master of its terminal.
    pub terminal: Option<OwnedFd>,
    /// Steps that failed and may, each with what that means.
    pub tolerated: Vec<Decision>,
    /// The inode of its pid namespace, if it waits and nobody may look it up.
    pub pid_namespace: Option<u32>,
    /// Pid of the process that writes system calls down.
    pub audit: Option<i32>,
}

impl Follow<'_> {
    /// Answers until there is nothing more to answer.
    pub fn to_the_end(mut self) -> Result<Followed> {
        let mut servers = Vec::new();
        let followed = self.answer(&mut servers);
        if followed.is_err() {
            fuse::end(&servers);
        }
        followed
    }

    fn answer(&mut self, servers: &mut Vec<Serving>) -> Result<Followed> {
        let Follow { init, plan, container, status, .. } = *self;
        let mut followed = Followed::default();
        let mut faking = None;
        let mut may_begin = self.starts_now && !self.is_alone && !plan.is_filtered_early();
        loop {
            fuse::wait_for_word(init, servers, &self.interrupt)?;
            match init.receive()? {
                Some((Message::Console, master)) => {
                    followed.terminal = master.map(console::set_up).transpose()?;
                    init.go()?;
                }
                Some((Message::Hooks, _)) => {
                    cgroup::enter_leaf(plan, container.state()?.cgroup.as_ref(), init.process.pid)?;
                    hooks::run_before_start(container, &self.interrupt)?;
                    init.run_steps(plan, Phase::Hooked)?;
                    init.go()?;
                }
                Some((Message::Open { step }, _)) => init.open_source(plan, step)?,
                Some((Message::Serve { step }, None)) => {
                    network::connect(init, plan, container, step, &self.interrupt)?;
                    init.go()?;
                }
                Some((Message::Serve { step }, device)) => {
                    servers.push(fuse::serve(init, plan, step, device)?);
                    init.go()?;
                }
                Some((Message::Notify, Some(fd))) if plan.fake_root.is_some() => {
                    faking = fake_root::answer(init, plan, container, fd)?;
                    init.go()?;
                }
                Some((Message::Notify, Some(fd))) if let Some(output) = self.audit => {
                    followed.audit = Some(audit::answer(fd, output)?);
                    init.go()?;
                }
                Some((Message::Notify, fd)) => {
                    listener::hand_over(plan.listener.as_ref(), container, status, fd)?;
                    init.go()?;
                }
                Some((Message::Tolerated { step, error }, _)) => {
                    let blame = plan.blame(step as usize, error);
                    let done = "it failed, and the container goes on without".to_owned();
                    let property = blame.property.clone();
                    followed.tolerated.push(Decision { property, done, reason: blame.to_string() });
                }
                Some((Message::Ready { .. }, _)) if self.starts_now => may_begin = true,
                Some((Message::Ready { namespace }, _)) => {
                    followed.pid_namespace = Some(namespace).filter(|inode| *inode != 0);
                    return faking.map_or(Ok(()), Starting::wait).map(|()| followed);
                }
                Some((Message::Fail { step, error, status }, _)) => {
                    let failed = plan.entries.get(step as usize).map(|entry| &entry.step);
                    let blame = hooks::with_status(plan.blame(step as usize, error), error, status);
                    let blame = hooks::with_output(blame, std::mem::take(&mut self.outputs));
                    return Err(fuse::with_output(blame, failed, servers));
                }
                None if may_begin => return faking.map_or(Ok(()), Starting::wait).map(|()| followed),
                _ => return Err(init.death()),
            }
        }
    }
}
