use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::queue::QueueOptions;
use crate::broker::DeadLetter;
use crate::cli::output::{JsonArray, note};
use crate::dead_letters::{Browse, Filter};
use crate::terminal::{Table, counted, dash, if_it_fits, text, to_the_second};

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
        let output = self.queue.output;
        let (mut table, mut array) = (empty_table(), JsonArray::new());
        let browse = Browse { filter: &Filter::from(&self.queue.filter), default_limit: DEFAULT_LIMIT };
        let visit = |position, held: crate::broker::HeldLetter| {
            if output.is_json() {
                array.push(&Element { position, letter: &held.letter })
            } else {
                table.push(row(position, held.letter));
                Ok(true)
            }
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
        if output.is_json() {
            array.end()?;
        } else {
            let footer = match report.matched {
                0 => "no dead letters".to_owned(),
                found => counted(found, "dead letter"),
            };
            output.print(&(), |()| table.footer(footer))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn empty_table() -> Table {
    Table::new([
        "#".into(),
        if_it_fits("dead-lettered at"),
        "reason".into(),
        "message".into(),
        text("error"),
        if_it_fits("event"),
        if_it_fits("status"),
        if_it_fits("replays"),
        if_it_fits("bytes"),
    ])
}

fn row(position: u32, letter: DeadLetter) -> [String; 9] {
    [
        position.to_string(),
        dash(letter.dead_lettered_at.as_deref().map(to_the_second)),
        dash(letter.reason),
        dash(letter.message_id),
        dash(letter.error),
        dash(letter.event_id),
        dash(letter.status),
        letter.replay_count.to_string(),
        letter.size.to_string(),
    ]
}
