//! The `rootlet` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    rootlet::command::main(std::env::args_os())
}
