use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Command};
use clap_mangen::Man;

use super::output::write_stdout;

/// Prints the manual page to stdout, or writes one page per command into a folder
///
/// For instance: snapshot-lifecycle man | man -l -
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Write the pages of all commands into this folder, which must exist
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Options {
    pub(super) fn run(self, program: Command) -> anyhow::Result<ExitCode> {
        let mut command = program.disable_help_subcommand(true);
        match self.dir {
            Some(dir) => {
                command.build();
                write_pages(&command, &dir)?;
            }
            None => write_stdout(&page(command)?)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write_pages(command: &Command, dir: &Path) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let file = dir.join(format!("{name}.1"));
    std::fs::write(&file, page(command.clone())?).with_context(|| format!("could not write {}", file.display()))?;
    command.get_subcommands().try_for_each(|subcommand| write_pages(subcommand, dir))
}

fn page(command: Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}
