//! rootlet
pub mod command;
pub mod container;
pub mod error;
pub mod host;
pub mod init;
pub mod log;
pub mod plan;
pub mod property;
pub mod spec;
pub mod sys;
