//! Hooks that are run in the runtime's namespaces (runtime.md, lifecycle). Those in the container are steps of the plan.

use crate::container::interrupt::Interrupt;
use crate::container::state::Container;
use crate::error::{Error, Result, quote};
use crate::plan::c_string;
use crate::property::annotations::{HOOKS_ERROR, HOOKS_OUTPUT};
use crate::spec::{Hook, Spec};
use crate::sys::process::Ended;
use crate::sys::program::{Invocation, Strings};
use crate::sys::{self, Call, Errno, fd, process, program, signal};
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// prestart and createRuntime: the namespaces are made, the root is not entered.
pub fn run_before_start(container: &Container, interrupt: &Interrupt) -> Result<()> {
    let Some(hooks) = container.state.as_ref().and_then(|state| state.hooks.as_ref()) else { return Ok(()) };
    run_all("prestart", &hooks.prestart, container, "creating", interrupt)?;
    run_all("createRuntime", &hooks.create_runtime, container, "creating", interrupt)
}

/// poststart: the program has begun.
pub fn run_poststart(container: &Container, interrupt: &Interrupt) -> Result<()> {
    match container.state.as_ref().and_then(|state| state.hooks.as_ref()) {
        Some(hooks) => run_all("poststart", &hooks.poststart, container, "running", interrupt),
        None => Ok(()),
    }
}

/// Whether there are poststop hooks.
pub fn has_poststop(container: &Container) -> bool {
    container.state.as_ref().and_then(|state| state.hooks.as_ref()).is_some_and(|hooks| !hooks.poststop.is_empty())
}

/// Whether there are other hooks than poststop's.
pub fn runs_some_before_its_end(container: &Container) -> bool {
    let hooks = container.state.as_ref().and_then(|state| state.hooks.as_ref());
    hooks.is_some_and(|hooks| hooks.lists().iter().any(|(name, list)| *name != "poststop" && !list.is_empty()))
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
    let lost = |error: sys::Error| Error::from_call(&hook.path, error);
    let text = |text: &str| c_string(|| format!("hooks.{name}[{index}]"), OsStr::new(text));
    let strings = |texts: &[String]| texts.iter().map(|one| text(one)).collect::<Result<_>>().map(Strings::new);
    let path = text(&hook.path)?;
    let arguments = strings(if hook.args.is_empty() { std::slice::from_ref(&hook.path) } else { &hook.args })?;
    let environment = hook.env.as_deref().map(strings).transpose()?;
    if let Err(error) = fd::open(&path, fd::O_PATH, 0).and_then(|file| fd::check_executable(file.as_fd())) {
        let remedy = "correct the path of the hook, or make it executable";
        let named = failed(hook.path.clone());
        return Err(Error { property: named.property, errno: Some(error.errno), ..named }.remedy(remedy));
    }
    let state = serde_json::to_vec(&container.view(status)).map_err(|error| failed(error.to_string()))?;
    // It may be longer than a pipe is, and a hook need not read it.
    let input = fd::memory_file(c"state").map_err(lost)?;
    fd::write_all(input.as_fd(), &state).and_then(|()| fd::rewind(input.as_fd())).map_err(lost)?;
    let (words, said) = Words::open().map_err(|error| Error::from_io(&hook.path, &error))?;
    let annotations = container.state.as_ref().and_then(|state| state.annotations.as_ref());
    let [out, err] = [HOOKS_OUTPUT, HOOKS_ERROR].map(|name| open_annotated(annotations, name));
    let (out, err) = (out?, err?);
    // As with runc. A bundle that is gone is no reason to leave the last hooks out.
    let bundle = container.state.as_ref().and_then(|state| CString::new(state.bundle.as_os_str().as_bytes()).ok());
    let directory = match bundle.map(|bundle| fd::open(&bundle, fd::O_PATH | fd::O_DIRECTORY, 0)).transpose() {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => None,
        other => other.map_err(lost)?,
    };
    let invocation = Invocation {
        path: &path,
        arguments: &arguments,
        environment: environment.as_ref().map(|environment| (environment, None)),
        directory: directory.as_ref().map(AsFd::as_fd),
        input: input.as_fd(),
        output: out.as_ref().unwrap_or(&said).as_fd(),
        error: err.as_ref().unwrap_or(&said).as_fd(),
    };
    let process = program::start_program(&invocation).map_err(lost)?;
    drop(said);
    let timeout = hook.timeout.map_or(-1, |seconds| i32::try_from(seconds.saturating_mul(1000)).unwrap_or(i32::MAX));
    let waited = interrupt.wait_readable(process.pidfd.as_fd(), timeout).and_then(|has_ended| match has_ended {
        true => Ok(()),
        false => {
            let seconds = hook.timeout.unwrap_or(0);
            Err(failed(format!("{} took longer than {seconds} s and was ended", hook.path)))
        }
    });
    if let Err(error) = waited {
        let _ = process::kill_group(process.pid, signal::SIGKILL);
        // It may not lead its group yet.
        let _ = process::send_signal(process.pidfd.as_fd(), signal::SIGKILL);
        let _ = process::wait(process.pid, true);
        return Err(error);
    }
    let how = match process::wait(process.pid, true).map_err(lost)? {
        Some(Ended::Exited(0)) => return Ok(()),
        Some(Ended::Exited(status)) => format!("exit status {status}"),
        Some(Ended::Signaled(signal)) => format!("signal {signal}"),
        None => "it is gone".to_owned(),
    };
    let error = failed(format!("{}: {how}", hook.path))
        .remedy("run it by hand: on its standard input it gets the container's state, as `rootlet state` prints it");
    let said = words.last();
    Err(if said.is_empty() { with_meaning(error, &how) } else { with_words(error, &said) })
}

/// Adds what shells and `execve` mean by an exit status, of a hook that says nothing.
fn with_meaning(error: Error, how: &str) -> Error {
    match how {
        "exit status 126" => error
            .because("it may not be executed, or is neither a program for this machine nor a script with a #! line")
            .remedy("chmod +x it, and see `file` of it; a script needs a first line such as #!/bin/sh"),
        "exit status 127" if error.property.starts_with("hooks.startContainer") => error
            .because("such a hook is looked up in the container, which has no program of that path, or not the interpreter or loader that it names")
            .remedy("put it into the root file system or bind it, or make it a createContainer hook, which is looked up on the host"),
        "exit status 127" => error
            .because("there is no program of that path, or not the interpreter or loader that it names")
            .remedy("correct the path of the hook, or its #! line; see `ldd` of it"),
        _ => error,
    }
}

/// What a hook says, as much of the end as is shown. Somebody whom it has left behind may hold the pipe for ever.
struct Words {
    kept: Arc<Mutex<Vec<u8>>>,
    is_over: mpsc::Receiver<()>,
}

impl Words {
    fn open() -> std::io::Result<(Words, OwnedFd)> {
        let (mut heard, said) = std::io::pipe()?;
        let (over, is_over) = mpsc::channel();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let words = Words { kept: kept.clone(), is_over };
        std::thread::Builder::new().spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = heard.read(&mut buffer)
                && let Ok(mut kept) = kept.lock()
            {
                kept.extend_from_slice(buffer.get(..length).unwrap_or_default());
                let excess = kept.len().saturating_sub(SHOWN);
                kept.drain(..excess);
            }
            let _ = over.send(());
        })?;
        Ok((words, said.into()))
    }

    /// All of it, or as much as has come when the hook has ended.
    fn last(&self) -> Vec<u8> {
        let _ = self.is_over.recv_timeout(GRACE);
        self.kept.lock().map(|kept| kept.clone()).unwrap_or_default()
    }
}

/// As much as a message has of what a hook says.
const SHOWN: usize = 1024;

/// How long the last words of a hook that has ended may take.
const GRACE: Duration = Duration::from_millis(200);

/// The last kilobyte of a text, on one line.
pub fn last_words(text: &[u8]) -> String {
    let end = text.get(text.len().saturating_sub(SHOWN)..).unwrap_or_default();
    quote(String::from_utf8_lossy(end).trim())
}

/// Files in memory for what hooks in the container say, as far as there are any: those of the host's, and those of the image's.
/// Not one for both, as the image would read in it.
pub fn outputs(spec: &Spec) -> Result<[Option<OwnedFd>; 2]> {
    let Some(hooks) = &spec.hooks else { return Ok([None, None]) };
    // What the image's hooks say goes to no file of the host's, as they could read in it.
    let named = match hooks.create_container.is_empty() {
        true => None,
        false => open_annotated(spec.annotations.as_ref(), HOOKS_OUTPUT)?,
    };
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
    // A fifo that nobody reads is an error, and not waited for. Hooks write as they always do.
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(fd::O_NONBLOCK | fd::O_NOCTTY);
    let file = options.open(path).map_err(|error| Error::from_io(format!("{name}: cannot open {path}"), &error))?;
    fd::set_blocking(file.as_fd()).map_err(|error| Error::from_call(path, error))?;
    Ok(Some(file.into()))
}

/// Adds how a hook in the container has ended.
pub fn with_status(mut error: Error, cause: sys::Error, status: u16) -> Error {
    if (cause.call, cause.errno) == (Call::Wait, Errno::ECHILD) {
        let how = if status > 128 { format!("signal {}", status - 128) } else { format!("exit status {status}") };
        error.message = format!("{}: {how}", error.message);
        error = with_meaning(error, &how);
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
    let Some(output) = output else { return error };
    let mut text = Vec::new();
    let _ = fd::rewind(output.as_fd());
    let _ = std::fs::File::from(output).take(LONGEST).read_to_end(&mut text);
    with_words(error, &text)
}

fn with_words(error: Error, text: &[u8]) -> Error {
    if text.is_empty() { error } else { error.because(format!("it said: {}", last_words(text))) }
}

/// What a hook says is not read further than that.
const LONGEST: u64 = 16 << 20;
