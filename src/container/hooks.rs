//! Hooks that are run in the runtime's namespaces (runtime.md, lifecycle). Those in the container are steps of the plan.

use super::interrupt::Interrupt;
use super::state::Container;
use crate::error::{Error, Result, quote};
use crate::property::annotations::{HOOKS_ERROR, HOOKS_OUTPUT};
use crate::spec::{Hook, Spec};
use crate::sys::process::open_pidfd;
use crate::sys::{self, Call, fd, process, signal};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// prestart and createRuntime: the namespaces are made, the root is not entered.
pub fn run_before_start(container: &Container, interrupt: &Interrupt) -> Result<()> {
    let Some(hooks) = container.state.as_ref().and_then(|state| state.hooks.as_ref()) else { return Ok(()) };
    run_all("prestart", &hooks.prestart, container, "creating", interrupt)?;
    run_all("createRuntime", &hooks.create_runtime, container, "creating", interrupt)
}

/// poststart: the program has begun.
pub fn run_poststart(container: &Container) -> Result<()> {
    match container.state.as_ref().and_then(|state| state.hooks.as_ref()) {
        Some(hooks) => run_all("poststart", &hooks.poststart, container, "running", &Interrupt::default()),
        None => Ok(()),
    }
}

/// poststop: all is over, so a failure changes nothing; the next ones are run.
pub fn run_poststop(container: &Container) -> Vec<Error> {
    let Some(hooks) = container.state.as_ref().and_then(|state| state.hooks.as_ref()) else { return Vec::new() };
    let interrupt = Interrupt::default();
    let hooks = hooks.poststop.iter().enumerate();
    let results = hooks.map(|(index, hook)| run("poststop", index, hook, container, "stopped", &interrupt));
    results.filter_map(Result::err).collect()
}

fn run_all(name: &str, hooks: &[Hook], container: &Container, status: &str, interrupt: &Interrupt) -> Result<()> {
    hooks.iter().enumerate().try_for_each(|(index, hook)| run(name, index, hook, container, status, interrupt))
}

fn run(
    name: &str,
    index: usize,
    hook: &Hook,
    container: &Container,
    status: &str,
    interrupt: &Interrupt,
) -> Result<()> {
    let failed = |message: String| {
        Error::in_config(format!("hooks.{name}[{index}]"), format!("error running {name} hook #{index}: {message}"))
    };
    let mut command = Command::new(&hook.path);
    if let Some((first, rest)) = hook.args.split_first() {
        command.arg0(first).args(rest);
    }
    if let Some(variables) = &hook.env {
        command.env_clear().envs(variables.iter().filter_map(|variable| variable.split_once('=')));
    }
    // As with runc. A bundle that is gone is no reason to leave the last hooks out.
    if let Some(state) = container.state.as_ref().filter(|state| state.bundle.is_dir()) {
        command.current_dir(&state.bundle);
    }
    let output = fd::memory_file(c"hook").map_err(|error| Error::from_call(&hook.path, error))?;
    let annotations = container.state.as_ref().and_then(|state| state.annotations.as_ref());
    let [out, err] = [HOOKS_OUTPUT, HOOKS_ERROR].map(|name| match open_annotated(annotations, name)? {
        Some(file) => Ok(file),
        None => output.try_clone().map_err(|error| Error::from_io(&hook.path, &error)),
    });
    // A group of its own, so that a hook that takes too long is ended with its children.
    command.stdin(Stdio::piped()).stdout(out?).stderr(err?).process_group(0);
    // What the caller left open, or passes to the container, is not for hooks.
    fd::close_on_exec_from(3).map_err(|error| Error::from_call(&hook.path, error))?;
    let mut child = command.spawn().map_err(|error| {
        let failed = failed(hook.path.clone());
        let remedy = "correct the path of the hook, or make it executable";
        Error { property: failed.property, ..Error::from_io(failed.message, &error) }.remedy(remedy)
    })?;
    let timeout = hook.timeout.map_or(-1, |seconds| i32::try_from(seconds.saturating_mul(1000)).unwrap_or(i32::MAX));
    let pid = child.id() as i32;
    let mut attend = || {
        let system = |error: std::io::Error| Error::from_io(&hook.path, &error);
        let state = serde_json::to_vec(&container.view(status)).map_err(|error| failed(error.to_string()))?;
        match child.stdin.take().map(|mut input| input.write_all(&state)) {
            // A hook may end without reading its input.
            Some(Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(system(error)),
            _ => {}
        }
        let pidfd = open_pidfd(pid).map_err(|error| Error::from_call(&hook.path, error))?;
        match interrupt.wait_readable(pidfd.as_fd(), timeout)? {
            true => Ok(()),
            false => {
                let seconds = hook.timeout.unwrap_or(0);
                Err(failed(format!("{} took longer than {seconds} s and was ended", hook.path)))
            }
        }
    };
    if let Err(error) = attend() {
        let _ = process::kill_group(pid, signal::SIGKILL);
        let _ = child.wait();
        return Err(error);
    }
    let status = child.wait().map_err(|error| Error::from_io(&hook.path, &error))?;
    if status.success() {
        return Ok(());
    }
    let error = failed(format!("{}: {status}", hook.path)).remedy("run it by hand, with `rootlet state` as its input");
    Err(with_words(error, output))
}

/// The last kilobyte of a text, on one line.
pub fn last_words(text: &[u8]) -> String {
    let end = text.get(text.len().saturating_sub(1024)..).unwrap_or_default();
    quote(String::from_utf8_lossy(end).trim())
}

/// Files in memory for what hooks in the container say, as far as there are any: those of the host's, and those of the image's.
/// Not one for both, as the image would read in it.
pub fn outputs(spec: &Spec) -> Result<[Option<OwnedFd>; 2]> {
    let Some(hooks) = &spec.hooks else { return Ok([None, None]) };
    // What the image's hooks say goes to no file of the host's, as they could read in it.
    let named = open_annotated(spec.annotations.as_ref(), HOOKS_OUTPUT)?.filter(|_| !hooks.create_container.is_empty());
    let open = |hooks: &[Hook]| match hooks.is_empty() {
        true => Ok(None),
        false => fd::memory_file(c"hooks").map(Some).map_err(|error| Error::from_call("hooks", error)),
    };
    let own = if named.is_some() { named } else { open(&hooks.create_container)? };
    Ok([own, open(&hooks.start_container)?])
}

/// Where an annotation wants what hooks write.
fn open_annotated(annotations: Option<&BTreeMap<String, String>>, name: &str) -> Result<Option<OwnedFd>> {
    let Some(path) = annotations.and_then(|all| all.get(name)).filter(|path| !path.is_empty()) else { return Ok(None) };
    let file = OpenOptions::new().append(true).create(true).mode(0o700).open(path);
    let file = file.map_err(|error| Error::from_io(format!("{name}: cannot open {path}"), &error))?;
    Ok(Some(file.into()))
}

/// Adds how a hook in the container has ended.
pub fn with_status(mut error: Error, cause: sys::Error, status: u16) -> Error {
    if cause.call == Call::HookExit {
        let how = if status > 128 { format!("signal {}", status - 128) } else { format!("exit status {status}") };
        error.message = format!("{}: {how}", error.message);
    }
    error
}

/// Adds what hooks in the container said.
pub fn with_output(error: Error, outputs: [Option<OwnedFd>; 2]) -> Error {
    let [host, image] = outputs;
    let output = match error.property.as_str() {
        property if property.starts_with("hooks.createContainer") => host,
        property if property.starts_with("hooks.startContainer") => image,
        _ => None,
    };
    match output {
        Some(output) => with_words(error, output),
        None => error,
    }
}

/// Adds what was said, as far as it is there: a grandchild may go on for ever.
fn with_words(error: Error, output: OwnedFd) -> Error {
    let mut text = Vec::new();
    let _ = fd::rewind(output.as_fd());
    let _ = std::fs::File::from(output).take(LONGEST).read_to_end(&mut text);
    if text.is_empty() { error } else { error.because(format!("it said: {}", last_words(&text))) }
}

/// What a hook says is not read further than that.
const LONGEST: u64 = 16 << 20;
