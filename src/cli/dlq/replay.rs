use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::queue::QueueOptions;
use super::table::by_reason;
use crate::cli::output::ConfirmOptions;
use crate::config::parse_percent;
use crate::dead_letters::{self, EditedReplay, Filter};

/// Sends dead letters back to where they first came from
///
/// The broker confirms each one before it leaves the dead-letter queue. From then on it counts as replayed, whatever the worker does with it:
/// one that fails again comes back, and `dlq list --since` shows it. Stopped or killed at any point, no dead letter is lost; one that is
/// replayed twice does no harm. Without --yes the command shows what would be replayed. The preview ends with a selection, and
/// `--exactly SELECTION --yes` replays the dead letters of the preview and no others. Dead letters that arrive during a replay are not part
/// of it.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Only if the dead letters are those of the preview that showed this
    #[arg(long, value_name = "SELECTION", requires = "yes")]
    exactly: Option<String>,
    /// At most N dead letters per second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// A dead letter that was replayed N times stays, and is marked replayed_too_often
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    max_replays: u32,
    /// Stop when this share of what was replayed has come back, such as 20%; checked after 10 dead letters, then after twice as many each
    /// time, and counts all that fails meanwhile
    #[arg(long, value_name = "SHARE", value_parser = parse_percent)]
    stop_on_failures: Option<f64>,
    /// Send this file's content in place of the body of the one dead letter that matches; `lifecycle-replaces` names the old message
    #[arg(long, value_name = "FILE", conflicts_with_all = ["exactly", "rate", "stop_on_failures"])]
    body: Option<PathBuf>,
    #[command(flatten)]
    confirm: ConfirmOptions,
    #[command(flatten)]
    queue: QueueOptions,
}

impl Replay {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { exactly, rate, max_replays, stop_on_failures, body, confirm, queue } = self;
        let (letters, filter) = (queue.dead_letters()?, Filter::from(&queue.filter));
        let report = if let Some(body) = body {
            let replay = EditedReplay { filter, body, max_replays };
            if confirm.yes { replay.run(&letters).await } else { replay.preview(&letters).await }
        } else {
            let replay = dead_letters::Replay { filter, exactly, rate, max_replays, stop_on_failures };
            if confirm.yes { replay.run(&letters).await } else { replay.preview(&letters).await }
        }?;
        drop(letters);
        queue.output.print(&report, |report| by_reason(&report.reasons).footer(report.to_string()))?;
        report.failure().map_or(Ok(ExitCode::SUCCESS), |why| bail!(why))
    }
}
