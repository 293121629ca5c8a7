//! Containers: their life and their state on disk.

pub mod beside;
pub mod cgroup;
pub mod checkpoint;
pub mod create;
pub mod delete;
pub mod entrance;
pub mod events;
pub mod exec;
pub mod follow;
pub mod foreground;
pub mod interrupt;
pub mod kill;

pub mod pause;
pub mod processes;
pub mod run;
pub mod start;
pub mod state;
pub mod status;
pub mod update;
pub mod users;

pub use checkpoint::checkpoint;
pub use checkpoint::restore::restore;
pub use create::{Options, Start, create, create_waiting};
pub use delete::delete;
pub use exec::exec;
pub use kill::{kill, kill_all};
pub use pause::{pause, resume};
pub use processes::processes;
pub use run::run;
pub use start::start;
pub use state::directory::Directory;
pub use state::states::States;
pub use state::{Container, State};
pub use status::Status;
pub use update::update;
