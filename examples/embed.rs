//! Starts a container from Rust: `cargo run --example embed BUNDLE`.
//!
//! The program's output is the container's; this prints what was decided, and how it ended.

use rootlet::container::{Options, Root, Start, create};
use rootlet::host::Host;
use rootlet::log::Log;
use rootlet::property::{Request, compile};
use rootlet::spec;
use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let bundle: PathBuf = std::env::args_os().nth(1).ok_or_else(|| anyhow::anyhow!("usage: embed BUNDLE"))?.into();
    let bundle = bundle.canonicalize()?;

    // What would happen, as data: nothing is made yet.
    let request = Request { id: format!("embed-{}", std::process::id()), bundle: bundle.clone(), ..Request::default() };
    let plan = compile(&spec::load(&bundle)?.spec, &request, &Host::new()?)?;
    println!("{} steps", plan.entries.len());
    for decision in &plan.decisions {
        println!("decided: {decision}");
    }

    // Created, then started, then waited for.
    let root = Root::new(None)?;
    let options = Options {
        root: &root,
        request,
        config: PathBuf::from("config.json"),
        start: Start::Later,
        pid_file: None,
        console_socket: None,
        pidfd_socket: None,
    };
    let created = create(&options, &Log::default())?;
    println!("pid {} is {}", created.process.pid, created.container.status()?);
    rootlet::container::start(&created.container, &Log::default())?;
    let ended = rootlet::sys::process::wait(created.process.pid, true)
        .map_err(|error| rootlet::error::Error::from_call("container", error))?;
    println!("ended: {ended:?}");
    created.forget()?.into_iter().for_each(|failure| eprintln!("{failure}"));
    Ok(())
}
