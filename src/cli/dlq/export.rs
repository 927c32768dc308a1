use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::queue::QueueOptions;
use crate::cli::output::{note, write_while_read};
use crate::dead_letters::{self, ExportReport, ExportTarget, Filter};
use crate::terminal::{Table, counted};

/// Saves dead letters whole, one JSON object per line; nothing is changed
///
/// Each line has what `list` shows, all properties and headers, and `body_base64` where the body is not UTF-8.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file to create, which must not exist yet; .partial is appended to its name until it is whole. - is stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    to: PathBuf,
    #[command(flatten)]
    queue: QueueOptions,
}

#[derive(Debug, Serialize)]
struct Answer {
    exported: u32,
    to: PathBuf,
    /// Stands for exactly these dead letters, for `purge --exactly`.
    selection: String,
}

impl Export {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let to_stdout = self.to == Path::new("-");
        let mut lines = write_while_read;
        let target = if to_stdout { ExportTarget::Lines(&mut lines) } else { ExportTarget::File(&self.to) };
        let export = dead_letters::Export { filter: Filter::from(&self.queue.filter) };
        let Some(ExportReport { exported, selection }) = export.run(&self.queue.dead_letters()?, target).await? else {
            return Ok(ExitCode::SUCCESS); // nobody reads any longer
        };
        let next =
            format!("`dlq purge` with the same filters and --exactly {selection} --yes removes these and no others");
        if to_stdout {
            note(&next);
            return Ok(ExitCode::SUCCESS);
        }
        self.queue.output.print(&Answer { exported, to: self.to, selection }, |answer| {
            Table::new(["exported", "file"])
                .row([answer.exported.to_string(), answer.to.display().to_string()])
                .footer(format!("{} saved, still in the queue; {next}", counted(answer.exported, "dead letter")))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
