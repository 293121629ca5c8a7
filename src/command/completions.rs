//! `rootlet completions`.

use super::{Globals, definition_of_all};
use crate::log::Log;
use clap::Parser;
use clap_complete::{Shell, generate};
use std::process::ExitCode;

/// Print what completes rootlet's command line in a shell
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  rootlet completions bash > ~/.local/share/bash-completion/completions/rootlet
  rootlet completions zsh > ~/.zfunc/_rootlet      where fpath has ~/.zfunc
  rootlet completions fish > ~/.config/fish/completions/rootlet.fish

`mkdir -p` the directory first, where it is not there.")]
pub struct Completions {
    /// Of which shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

impl super::Run for Completions {
    fn run(self, _: &Globals, _: &Log) -> anyhow::Result<ExitCode> {
        let mut text = Vec::new();
        generate(self.shell, &mut definition_of_all(), "rootlet", &mut text);
        super::is_heard_raw(&String::from_utf8_lossy(&text))?;
        Ok(ExitCode::SUCCESS)
    }
}
