//! Containers: their life and their state on disk.

pub mod cgroup;
pub mod console;
pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
pub mod follow;
pub mod fuse;
pub mod hooks;
pub mod identity;
pub mod kill;
pub mod listener;
pub mod notify;
pub mod passwd;
pub mod pause;
pub mod processes;
pub mod publish;
pub mod root;
pub mod run;
pub mod start;
pub mod state;
pub mod update;

pub use create::{Options, Start, create};
pub use delete::delete;
pub use exec::exec;
pub use kill::{kill, kill_all};
pub use pause::{pause, resume};
pub use processes::processes;
pub use root::Root;
pub use run::run;
pub use start::start;
pub use state::{Container, State, Status};
pub use update::update;
