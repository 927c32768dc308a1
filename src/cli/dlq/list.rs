use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::Hands;
use super::filter::Filter;
use crate::broker::DeadLetter;
use crate::cli::output::{JsonArray, OutputOptions, counted, note, to_the_second};
use crate::config::BrokerOptions;
use crate::terminal::{Table, if_it_fits, text};

/// Lists dead letters, the oldest first; nothing is changed
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten, next_help_heading = "RabbitMQ")]
    broker: BrokerOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// An element of the answer.
#[derive(Serialize)]
struct Listed<'a> {
    /// For `--position`.
    position: u32,
    #[serde(flatten)]
    letter: &'a DeadLetter,
}

/// Unless another limit is given.
const LIMIT: u32 = 1000;

impl List {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut rows = Table::new([
            "#".into(),
            if_it_fits("dead-lettered at"),
            "reason".into(),
            "message".into(),
            text("error"),
            if_it_fits("event"),
            if_it_fits("status"),
            if_it_fits("replays"),
            if_it_fits("bytes"),
        ]);
        let mut array = JsonArray::new();
        let mut walk = self.filter.walk().limited_to(LIMIT);
        let look = async |hands: &mut Hands| {
            while !walk.is_over() {
                let Some(held) = hands.next().await? else { break };
                if !walk.takes(&held.letter) {
                    continue;
                }
                if !self.output.is_json() {
                    rows.push(row(walk.position, held.letter));
                } else if !array.push(&Listed { position: walk.position, letter: &held.letter })? {
                    return Ok(None); // nobody reads any longer
                }
            }
            Ok(Some(hands.queue.there()))
        };
        let Some(there) = super::with_queue(&self.broker, look).await? else { return Ok(ExitCode::SUCCESS) };
        if self.filter.limit.is_none() && walk.matched == LIMIT && walk.position < there {
            note(&format!(
                "the first {LIMIT} of {there} letters in the queue; --limit shows more, `dlq stats` counts all"
            ));
        }
        if self.output.is_json() {
            array.end()?;
        } else {
            let remark = match walk.matched {
                0 => "no dead letters".to_owned(),
                found => counted(found, "dead letter"),
            };
            self.output.print(&(), |()| rows.footer(remark))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(position: u32, letter: DeadLetter) -> [String; 9] {
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
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
