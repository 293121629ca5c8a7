//! A container from Rust, without the command line: `cargo run --example embed BUNDLE`.
//!
//! It is planned, created, started, looked at, entered and waited for. The program's output is the container's.
//!
//! Where the container's root owns this program, `create` starts it again from its beginning, from a sealed copy: what is done before that is
//! done twice.

use rootlet::container::{self, Options, States, exec};
use rootlet::error::Error;
use rootlet::host::Host;
use rootlet::log::Log;
use rootlet::property::{Request, compile};
use rootlet::spec;
use rootlet::sys::process::wait;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(bundle) = std::env::args_os().nth(1) else {
        eprintln!("usage: embed BUNDLE");
        return ExitCode::FAILURE;
    };
    match live(bundle.into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.in_one_line());
            ExitCode::FAILURE
        }
    }
}

fn live(bundle: PathBuf) -> rootlet::error::Result<()> {
    let (root, log, id) = (States::new(None)?, Log::default(), format!("embed-{}", std::process::id()));
    let options = Options::new(&root, &id, bundle);

    // What would happen, as data: nothing is made yet.
    let plan = compile(&spec::load(&options.request.bundle)?.spec, &options.request, &Host::new()?)?;

    let created = container::create(&options, &log)?;
    println!("{} steps", plan.entries.len());
    plan.decisions.iter().for_each(|decision| println!("decided: {decision}"));
    println!("pid {} is {}", created.process.pid, created.container.status()?);
    let created = created.start(&log)?;

    // One more program in it, if the first one has not ended by now.
    let request = Request { arguments: vec!["id".into()], ..Request::default() };
    match container::exec(&created.container, exec::Options { request, ..exec::Options::default() }, &log) {
        Ok(code) => println!("id: {code}"),
        Err(error) => println!("id: {error}"),
    }
    println!("processes: {:?}", container::processes(&created.container)?);

    let ended = wait(created.process.pid, true).map_err(|error| Error::from_call("container", error))?;
    println!("ended: {ended:?}");
    created.forget()?.into_iter().for_each(|failure| eprintln!("{failure}"));
    Ok(())
}
