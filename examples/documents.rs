//! Writes what is made from the command line's definition: man pages, and completions for bash, zsh and fish.
//! `scripts/documents DIRECTORY` calls it.

use clap::Command;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use std::io::Result;
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(std::io::Error::other("which directory?"));
    };
    let definition = rootlet::command::definition_of_all();
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    std::fs::create_dir_all(&man)?;
    std::fs::create_dir_all(&completions)?;
    write_page(&man, "rootlet", &definition)?;
    for subcommand in definition.get_subcommands() {
        write_page(&man, &format!("rootlet-{}", subcommand.get_name()), subcommand)?;
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut definition.clone(), "rootlet", &completions)?;
    }
    Ok(())
}

/// A page whose examples stay as they were written.
fn write_page(directory: &Path, name: &str, definition: &Command) -> Result<()> {
    let command = definition.clone().display_name(name).bin_name(name.replace('-', " "));
    let examples = command.get_after_help().map(ToString::to_string);
    let man = Man::new(command).title(name);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if name == "rootlet" {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(examples) = examples {
        let text = examples.replace('\\', "\\e").replace('-', "\\-").replace("\n'", "\n\\&'").replace("\n.", "\n\\&.");
        page.extend_from_slice(format!(".SH NOTES\n.nf\n{text}\n.fi\n").as_bytes());
    }
    page.extend_from_slice(b".SH SEE ALSO\nrootlet(1), https://github.com/opencontainers/runtime\\-spec\n");
    std::fs::write(directory.join(format!("{name}.1")), page)
}
