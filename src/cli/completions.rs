use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, output};

/// Prints a shell's completions of this program to stdout
///
/// For instance: snapshot-lifecycle completions bash > /etc/bash_completion.d/snapshot-lifecycle
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The shell
    shell: Shell,
}

impl Options {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "snapshot-lifecycle", &mut script);
        output::write_stdout(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
