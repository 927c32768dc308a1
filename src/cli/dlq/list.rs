use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::queue::QueueOptions;
use super::table::{one_by_one, row};
use crate::broker::{DeadLetter, HeldLetter};
use crate::cli::listing::Listing;
use crate::cli::output::note;
use crate::dead_letters::{Browse, Filter};
use crate::terminal::counted;

/// Lists dead letters, the oldest first; nothing is changed
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    queue: QueueOptions,
}

/// An element of the answer.
#[derive(Serialize)]
struct Element<'a> {
    /// For `--position`.
    position: u32,
    #[serde(flatten)]
    letter: &'a DeadLetter,
}

const DEFAULT_LIMIT: u32 = 1000;

impl List {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut listing = Listing::new(self.queue.output, one_by_one());
        let browse = Browse { filter: &Filter::from(&self.queue.filter), default_limit: DEFAULT_LIMIT };
        let visit = |position, held: HeldLetter| {
            listing.push(&Element { position, letter: &held.letter }, |it| row(it.position, it.letter))
        };
        let report = browse.run(&self.queue.dead_letters()?, visit).await?;
        if report.unread {
            return Ok(ExitCode::SUCCESS);
        }
        if report.is_cut(&browse) {
            note(&format!(
                "the first {DEFAULT_LIMIT} of {} dead letters in the queue; --limit shows more, `dlq stats` counts all",
                report.letters
            ));
        }
        listing.end(match report.matched {
            0 => "no dead letters".to_owned(),
            found => counted(found, "dead letter"),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
