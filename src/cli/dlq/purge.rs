use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::queue::QueueOptions;
use super::table::by_reason;
use crate::cli::output::ConfirmOptions;
use crate::cli::usage_error::UsageError;
use crate::dead_letters::{self, Filter};

/// Removes dead letters for good; `dlq export` saves them first
///
/// Without --yes it shows what would be removed. The preview ends with a selection; `--exactly SELECTION --yes` removes the dead letters of
/// the preview and no others.
#[derive(Debug, Args)]
pub(super) struct Purge {
    /// Only if the dead letters are those of the preview that showed this
    #[arg(long, value_name = "SELECTION", requires = "yes")]
    exactly: Option<String>,
    /// Every dead letter in the queue; with --yes needed where neither a filter nor --exactly says which
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    confirm: ConfirmOptions,
    #[command(flatten)]
    queue: QueueOptions,
}

impl Purge {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let filter = Filter::from(&self.queue.filter);
        self.refuse_ambiguity(&filter)?;
        let letters = self.queue.dead_letters()?;
        let purge = dead_letters::Purge { filter, exactly: self.exactly };
        let report = if self.confirm.yes { purge.run(&letters).await } else { purge.preview(&letters).await }?;
        drop(letters);
        self.queue.output.print(&report, |report| by_reason(&report.reasons).footer(report.to_string()))?;
        match report.stopped {
            None => Ok(ExitCode::SUCCESS),
            Some(why) => bail!("stopped: {why}; what was not removed is still a dead letter"),
        }
    }

    /// Everything is removed only where somebody says so.
    fn refuse_ambiguity(&self, filter: &Filter) -> Result<(), UsageError> {
        if self.all && !filter.is_empty() {
            return Err(UsageError("--all means every dead letter; leave it out, or the filters".to_owned()));
        }
        if self.confirm.yes && filter.is_empty() && !self.all && self.exactly.is_none() {
            let fix =
                "add --all for every dead letter, a filter such as --reason, or --exactly with the preview's selection";
            return Err(UsageError(format!("nothing says which dead letters to remove; {fix}")));
        }
        Ok(())
    }
}
