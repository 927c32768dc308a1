use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::output::write_stdout;

/// Prints completions of this program for a shell to stdout
///
/// For instance: snapshot-lifecycle completions bash > /etc/bash_completion.d/snapshot-lifecycle
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The shell
    shell: Shell,
}

impl Options {
    pub(super) fn run(self, mut program: Command) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "snapshot-lifecycle", &mut script);
        // clap_complete 4.6 takes the hyphen in our name for the one between a command and its subcommand, in one of two
        // places of bash's script only, so that it would complete nothing.
        let script = String::from_utf8(script)?.replace("snapshot__subcmd__lifecycle", "snapshot__lifecycle");
        write_stdout(script.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
