//! `rootlet checkpoint`, and the arguments that it shares with `restore`.

use super::Globals;
use crate::container;
use crate::container::checkpoint::{Options, images};
use crate::criu::CgroupMode;
use crate::error::{Error, Result};
use crate::log::Log;
use clap::{Args, Parser, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a container to files, with CRIU, and delete it
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  rootlet checkpoint --image-path saved box && rootlet restore -d --image-path saved box
  rootlet checkpoint --pre-dump --image-path first box
  rootlet checkpoint --parent-path ../first --image-path second box     only what has changed since then

Up to CRIU 3.17 only root can do this.")]
pub struct Checkpoint {
    #[command(flatten)]
    images: Images,
    /// Images of an earlier --pre-dump, relative to --image-path
    #[arg(long, value_name = "DIR")]
    parent_path: Option<PathBuf>,
    /// Let the container run on
    #[arg(long)]
    leave_running: bool,
    /// Pass over TCP connections that are just being made
    #[arg(long)]
    tcp_skip_in_flight: bool,
    /// Allow files that are open and deleted
    #[arg(long)]
    link_remap: bool,
    /// Write a byte to this descriptor when the page server of --lazy-pages is ready
    #[arg(long, value_name = "FD")]
    status_fd: Option<i32>,
    /// Send memory to this page server
    #[arg(long, value_name = "ADDRESS:PORT")]
    page_server: Option<String>,
    /// Write the memory only, and let the container run on
    #[arg(long)]
    pre_dump: bool,
    /// Name of the container
    #[arg(value_name = "container-id")]
    id: String,
}

/// What `checkpoint` and `restore` have in common.
#[derive(Debug, Args)]
pub struct Images {
    /// Directory of the images
    #[arg(long, value_name = "DIR", default_value = "checkpoint")]
    image_path: PathBuf,
    /// Directory of CRIU's log and other files
    #[arg(long, value_name = "DIR")]
    work_path: Option<PathBuf>,
    /// Allow TCP connections that are open
    #[arg(long)]
    tcp_established: bool,
    /// Allow unix sockets whose other end is outside
    #[arg(long)]
    ext_unix_sk: bool,
    /// Allow a terminal that is the caller's
    #[arg(long)]
    shell_job: bool,
    /// Leave memory to a page server, until it is touched
    #[arg(long)]
    lazy_pages: bool,
    /// Allow file locks
    #[arg(long)]
    file_locks: bool,
    /// Options for CRIU from this file (the container's annotation org.criu.config must name the same)
    #[arg(long, value_name = "FILE")]
    criu_config: Option<PathBuf>,
    /// How cgroups are treated
    #[arg(long, value_name = "MODE", value_enum)]
    manage_cgroups_mode: Option<Mode>,
    /// Make this namespace, and nothing in it (network)
    #[arg(long, value_name = "NAMESPACE")]
    empty_ns: Vec<String>,
    /// Punch out of the parent's images what is written anew
    #[arg(long)]
    auto_dedup: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Soft,
    Full,
    Strict,
    Ignore,
}

impl Images {
    /// As the lifecycle takes them.
    pub fn options(&self) -> Result<images::Images> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path).map_err(|error| Error::from_io(format!("{}", path.display()), &error))
        };
        if let Some(other) = self.empty_ns.iter().find(|name| *name != "network") {
            return Err(Error::new(format!("--empty-ns {other:?} is not supported"))
                .because("CRIU leaves only network namespaces empty")
                .remedy("write --empty-ns network"));
        }
        Ok(images::Images {
            path: absolute(&self.image_path)?,
            work: self.work_path.as_ref().map(absolute).transpose()?,
            tcp_established: self.tcp_established,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            cgroups: self.manage_cgroups_mode.map(|mode| match mode {
                Mode::Soft => CgroupMode::Soft,
                Mode::Full => CgroupMode::Full,
                Mode::Strict => CgroupMode::Strict,
                Mode::Ignore => CgroupMode::Ignore,
            }),
            empty_network: !self.empty_ns.is_empty(),
            auto_dedup: self.auto_dedup,
            lazy_pages: self.lazy_pages,
            criu_config: self.criu_config.clone(),
        })
    }
}

impl super::Run for Checkpoint {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let container = globals.root()?.find(&self.id)?;
        let page_server = self.page_server.as_deref().map(|server| {
            server
                .rsplit_once(':')
                .and_then(|(address, port)| Some((address.to_owned(), port.parse().ok()?)))
                .ok_or_else(|| {
                    Error::new(format!("--page-server {server:?} is not ADDRESS:PORT"))
                        .remedy("write such as 10.0.0.2:7000")
                })
        });
        let options = Options {
            images: self.images.options()?,
            parent: self.parent_path,
            pre_dump: self.pre_dump,
            leave_running: self.leave_running,
            tcp_skip_in_flight: self.tcp_skip_in_flight,
            link_remap: self.link_remap,
            status: self.status_fd,
            page_server: page_server.transpose()?,
        };
        container::checkpoint(&container, &options, log)?;
        Ok(ExitCode::SUCCESS)
    }
}
