use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::queue::QueueOptions;
use crate::broker::ExportedLetter;
use crate::cli::output::{for_the_screen, note, write_stdout};
use crate::dead_letters::{Browse, DeadLettersError, Filter, find_one, record};

/// Shows dead letters whole, with all properties and headers; nothing is changed
#[derive(Debug, Args)]
pub(super) struct Show {
    /// Print the body of the one dead letter that matches, byte for byte, and nothing else
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    queue: QueueOptions,
}

const DEFAULT_LIMIT: u32 = 10;

impl Show {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (letters, filter) = (self.queue.dead_letters()?, Filter::from(&self.queue.filter));
        if self.raw {
            write_stdout(find_one(&letters, &filter).await?.body())?;
            return Ok(ExitCode::SUCCESS);
        }
        let browse = Browse { filter: &filter, default_limit: DEFAULT_LIMIT };
        let mut found = Vec::new();
        let visit = |_, held: crate::broker::HeldLetter| {
            found.push(ExportedLetter::from(&held));
            Ok(true)
        };
        let report = browse.run(&letters, visit).await?;
        if found.is_empty() {
            bail!(DeadLettersError::NoMatch);
        }
        if report.is_cut(&browse) {
            note(&format!("the first {DEFAULT_LIMIT} that match; --limit shows more, `dlq list` is shorter"));
        }
        self.queue.output.print_records(&found, |letters| {
            letters.iter().map(|letter| record(letter, for_the_screen(&letter.letter.body, "--raw"))).collect()
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
