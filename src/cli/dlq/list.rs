use std::process::ExitCode;

use clap::Args;

use super::filter::Filter;
use crate::cli::output::{JsonArray, OutputOptions, Rows, note};
use crate::config::BrokerOptions;

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

/// Unless another limit is given.
const LIMIT: u32 = 1000;

impl List {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut queue = super::open(&self.broker).await?;
        let there = queue.there();
        let mut walk = self.filter.walk().limited_to(LIMIT);
        let mut rows =
            Rows::new(["#", "dead-lettered at", "reason", "error", "message", "event", "status", "replays", "bytes"]);
        let mut array = JsonArray::new();
        while !walk.is_over() {
            let Some(held) = queue.next().await? else { break };
            let letter = held.letter;
            if !walk.takes(&letter) {
                continue;
            }
            if self.output.is_json() {
                if !array.push(&letter)? {
                    queue.close().await;
                    return Ok(ExitCode::SUCCESS);
                }
                continue;
            }
            let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            rows.push([
                walk.position.to_string(),
                dash(letter.dead_lettered_at),
                dash(letter.reason),
                dash(letter.error),
                dash(letter.message_id),
                dash(letter.event_id),
                dash(letter.status),
                letter.replay_count.to_string(),
                letter.size.to_string(),
            ]);
        }
        queue.close().await;
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
                1 => "1 dead letter".to_owned(),
                more => format!("{more} dead letters"),
            };
            self.output.print(&(), |()| rows.remark(remark))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
