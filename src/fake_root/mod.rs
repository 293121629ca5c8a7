//! Fake root: with one mapped id, what package managers do as root succeeds, and what they see afterwards fits.
//!
//! A filter asks about the system calls that set and show owners and ids, and a process beside the container answers: it is in the
//! container's user namespace, as its root, but with the host's files and processes, where nobody in the container sees it. It ends
//! when the last filtered process has. It is a convenience and no boundary: whoever is answered by it may do all that the container
//! may.
//!
//! - Owners are kept where the file is ([`crate::owner`]); where it takes no attribute, as a symlink does not, as long as this lives.
//! - A thread's ids are looked up by its timer slack: the kernel hands that on to threads, children and programs as it does with
//!   ids, and nothing has to be followed. It counts nanoseconds, of which a thousand make no difference to a timer.
//! - What it does not have to change is the kernel's to do, so that only what was faked is answered here.

mod calls;
mod files;
mod ids;
mod task;

use crate::error::{Error, Result};
use crate::plan::Supervisor;
use crate::seccomp::{Action, Architecture, Condition, Operator, Profile, Rule};
use crate::sys::notification::{self, Answer, Asked};
use crate::sys::process::Ended;
use crate::sys::seccomp::Instruction;
use crate::sys::{self, Errno, creds, fd, namespace, process, sched, signal, socket};
use calls::CALLS;
use files::Owners;
pub use ids::PLAIN as PLAIN_SLACK;
use ids::{Credentials, Table};
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use task::Task;

/// The most threads that answer: as many calls can wait for file systems that a process of the container serves.
const MOST_THREADS: usize = 64;

/// How often an answer is tried for which there is no room.
const TRIES: usize = 500;

/// The filter: it asks about what is answered here, and lets all else pass.
pub fn filter() -> Vec<Instruction> {
    let rule = |names, conditions| Rule { names, action: Action::NOTIFY, conditions };
    let has_condition = |name: &str| name.starts_with("mknod") || name.starts_with("open") || name == "getsockopt";
    let plain = CALLS.iter().map(|(name, _)| *name).filter(|name| !has_condition(name));
    let mut rules = vec![rule(plain.collect(), Vec::new())];
    // Of nodes, only devices are what an ordinary user cannot make.
    for (name, argument) in [("mknod", 1), ("mknodat", 2)] {
        for kind in [notification::S_IFCHR, notification::S_IFBLK] {
            let operator = Operator::MaskedEqual(notification::S_IFMT.into());
            rules.push(rule(vec![name], vec![Condition { argument, operator, value: kind.into() }]));
        }
    }
    // And of files, those that may be made.
    for (name, argument) in [("open", 1), ("openat", 2)] {
        let operator = Operator::MaskedEqual(fd::O_CREAT as u64);
        rules.push(rule(vec![name], vec![Condition { argument, operator, value: fd::O_CREAT as u64 }]));
    }
    let options = [(1, notification::SOL_SOCKET), (2, notification::SO_PEERCRED)];
    let options =
        options.map(|(argument, value)| Condition { argument, operator: Operator::Equal, value: value as u64 });
    rules.push(rule(vec!["getsockopt"], options.to_vec()));
    // Those of other architectures are asked about as well, and left to the kernel: without a rule, they would be the end.
    let architectures = Architecture::family().to_vec();
    Profile { default: Action::ALLOW, architectures, rules }.compile()
}

/// A process that is about to answer.
#[derive(Debug)]
pub struct Starting {
    word: OwnedFd,
}

fn failed(error: sys::Error) -> Error {
    Error::from_call("the process that fakes root", error)
        .because("it cannot answer, and system calls would fail in the container that never do")
}

impl Starting {
    /// Waits until it answers, or says why it cannot. Whoever asks meanwhile waits, too.
    pub fn wait(self) -> Result<()> {
        let mut word = [0; 8];
        let length = fd::read(self.word.as_fd(), &mut word).map_err(failed)?;
        match (length, word) {
            (0, _) => Err(failed(sys::Error::new(sys::Call::Fork, Errno::ECHILD))),
            (_, [0, 0, ..]) => Ok(()),
            (_, [call, errno, ..]) => {
                let call = sys::Call::from_number(call.wrapping_sub(1)).unwrap_or(sys::Call::Fork);
                Err(failed(sys::Error::new(call, Errno::from_raw(errno.into()))))
            }
        }
    }
}

/// Starts the process that answers to `first`, which has just got the filter, and to whoever comes from it; `user_namespace` is the
/// container's. The caller has one thread.
pub fn start(listener: OwnedFd, user_namespace: OwnedFd, supervisor: &Supervisor, first: i32) -> Result<Starting> {
    let (ours, theirs) = socket::pair().map_err(failed)?;
    match process::fork().map_err(failed)? {
        Some(_) => Ok(Starting { word: ours }),
        None => {
            drop(ours);
            let tell = |error: sys::Error| {
                // The number of a call, from 1 on, and an errno.
                let _ = fd::write(theirs.as_fd(), &[error.call as u8 + 1, error.errno as u8]);
            };
            match process::open_pidfd(first).and_then(|first| Ok((first, process::fork()?))) {
                Ok((first, Some(server))) => {
                    drop(theirs);
                    stand_by(server, &listener, &first);
                }
                Ok((_, None)) => {
                    serve(listener, &user_namespace, supervisor, first, &theirs).unwrap_or_else(tell);
                }
                Err(error) => tell(error),
            }
            sys::exit_now(1)
        }
    }
}

/// Ends the container, if whoever answers has been ended before it. Without an answer its calls would fail as if the kernel had none of
/// them (ENOSYS), and what a program then takes for an id is none; here they wait, as the listener is open.
fn stand_by(server: i32, listener: &OwnedFd, first: &OwnedFd) {
    let hide = || {
        signal::block_all()?;
        creds::set_name(c"rootlet-guard")?;
        process::start_session()?;
        creds::set_dumpable(false)?;
        fd::close_all_but(0, || [listener.as_raw_fd(), first.as_raw_fd()].into_iter())
    };
    let _: sys::Result<()> = hide();
    if process::wait(server, true) != Ok(Some(Ended::Exited(0))) {
        let _ = process::send_signal(first.as_fd(), signal::SIGKILL);
    }
}

fn serve(
    listener: OwnedFd,
    user_namespace: &OwnedFd,
    supervisor: &Supervisor,
    first: i32,
    word: &OwnedFd,
) -> sys::Result<()> {
    // Whoever ends the container ends this.
    signal::block_all()?;
    creds::set_name(c"rootlet-ids")?;
    process::start_session()?;
    let null = fd::open(c"/dev/null", fd::O_RDWR, 0)?;
    (0..3).try_for_each(|number| fd::dup_to(null.as_fd(), number))?;
    let proc = fd::open(c"/proc", fd::O_PATH | fd::O_DIRECTORY, 0)?;
    if fd::file_system(proc.as_fd())? != fd::PROC_MAGIC {
        return Err(sys::Error::new(sys::Call::Fstatfs, Errno::ENOTSUP));
    }
    fd::chdir(proc.as_fd())?;
    // What it may do in the container's user namespace is nothing for who may trace there.
    creds::set_dumpable(false)?;
    let kept = [listener.as_raw_fd(), proc.as_raw_fd(), user_namespace.as_raw_fd(), word.as_raw_fd()];
    fd::close_all_but(3, || kept.into_iter())?;
    std::mem::forget(null);
    namespace::join(user_namespace.as_fd(), namespace::CLONE_NEWUSER)?;
    if supervisor.drops_groups {
        creds::set_groups(&[])?;
    }
    creds::set_gid(supervisor.gid)?;
    creds::set_uid(supervisor.uid)?;
    notification::hurry(listener.as_fd());
    // Whoever answers needs some descriptors for each answer.
    let room = sched::raise_descriptors()?;
    let table = Table::read();
    if table.has_others() {
        // In a namespace that was joined: others are there who have not the rights of who answers.
        return Err(sys::Error::new(sys::Call::Setns, Errno::EOPNOTSUPP));
    }
    let state = Arc::new(State {
        table: Mutex::new(table),
        calls: calls::numbered(),
        architecture: Architecture::native().audit(),
        owners: Owners::default(),
        turn: Mutex::new(()),
        idle: AtomicUsize::new(0),
        threads: AtomicUsize::new(1),
        most_threads: usize::try_from(room / 8).unwrap_or(MOST_THREADS).saturating_sub(1).clamp(1, MOST_THREADS),
        listener,
        proc,
    });
    if let Some(told) = &supervisor.told {
        let groups = told.groups.clone();
        let credentials = Credentials { uids: [told.uid; 4], gids: [told.gid; 4], groups, is_capable: false };
        lock(&state.table).tell(&Task::of(&state, first)?, credentials)?;
    }
    let watched = Arc::clone(&state);
    // Those who answer may all wait for a file system, and for ever.
    let watch = std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
        let _ = notification::wait_for_end(watched.listener.as_fd());
        sys::exit_now(0)
    });
    watch.map_err(|_| sys::Error::new(sys::Call::Fork, Errno::EAGAIN))?;
    notification::check(state.listener.as_fd())?;
    fd::write(word.as_fd(), &[0, 0])?;
    fd::close_all_but(3, || [state.listener.as_raw_fd(), state.proc.as_raw_fd()].into_iter())?;
    answer_calls(&state)
}

/// What the threads that answer share.
struct State {
    listener: OwnedFd,
    proc: OwnedFd,
    calls: HashMap<u32, calls::Call>,
    architecture: u32,
    table: Mutex<Table>,
    owners: Owners,
    /// Whose it is to wait for the next call.
    turn: Mutex<()>,
    idle: AtomicUsize,
    threads: AtomicUsize,
    most_threads: usize,
}

/// A lock is one also after a thread has panicked: what it guards is whole between two lines.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers until there is nobody left who could ask.
fn answer_calls(state: &Arc<State>) -> sys::Result<()> {
    // A umask of the thread's own.
    namespace::unshare_directories()?;
    loop {
        state.idle.fetch_add(1, Ordering::SeqCst);
        let asked = {
            let _turn = lock(&state.turn);
            if !notification::wait(state.listener.as_fd())? {
                sys::exit_now(0);
            }
            notification::receive(state.listener.as_fd())
        };
        let is_last_idle = state.idle.fetch_sub(1, Ordering::SeqCst) == 1;
        let Some(asked) = asked? else { continue };
        // An answer may wait for a process of the container's, which asks in turn.
        if is_last_idle && state.threads.load(Ordering::SeqCst) < state.most_threads {
            let more = Arc::clone(state);
            let builder = std::thread::Builder::new().stack_size(256 << 10);
            if builder.spawn(move || answer_calls(&more)).is_ok() {
                state.threads.fetch_add(1, Ordering::SeqCst);
            }
        }
        // An answer that nobody takes has nobody to wait for it.
        let _ = notification::answer(state.listener.as_fd(), asked.id, answer(state, &asked));
    }
}

fn answer(state: &State, asked: &Asked) -> Answer {
    let call = state.calls.get(&asked.number).filter(|_| asked.architecture == state.architecture);
    let Some(call) = call else { return Answer::Kernels };
    for _ in 0..TRIES {
        match call.answer(state, asked) {
            Ok(answer) => return answer,
            // The machine, or this process, is short of something: a wrong answer is worse than a late one.
            Err(sys::Error { errno: Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN, .. }) => {
                process::sleep(10)
            }
            // What cannot be found or read is as if nobody had asked: the kernel says what is wrong with it.
            Err(_) => return Answer::Kernels,
        }
    }
    Answer::Error(Errno::ENOMEM)
}
