use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::Hands;
use super::filter::Filter;
use crate::broker::{ExportedLetter, HeldLetter};
use crate::cli::output::{OutputOptions, for_the_screen, note, write_stdout};
use crate::config::BrokerOptions;

/// Shows dead letters whole, with all properties and headers; nothing is changed
#[derive(Debug, Args)]
pub(super) struct Show {
    /// Print the body of the one letter that matches, byte for byte, and nothing else
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten, next_help_heading = "RabbitMQ")]
    broker: BrokerOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Unless another limit is given.
const LIMIT: u32 = 10;

impl Show {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        if self.raw {
            let letter = super::with_queue(&self.broker, async |hands| the_one(hands, &self.filter).await).await?;
            write_stdout(letter.body())?;
            return Ok(ExitCode::SUCCESS);
        }
        let look = async |hands: &mut Hands| {
            let mut walk = self.filter.walk().limited_to(LIMIT);
            let mut letters = Vec::new();
            while !walk.is_over() {
                let Some(held) = hands.next().await? else { break };
                if walk.takes(&held.letter) {
                    letters.push(held.exported());
                }
            }
            Ok((letters, walk.position < hands.queue.there()))
        };
        let (letters, more) = super::with_queue(&self.broker, look).await?;
        if letters.is_empty() {
            bail!("no dead letter matches; `dlq list` shows what is there");
        }
        if more && self.filter.limit.is_none() && letters.len() == LIMIT as usize {
            note(&format!("the first {LIMIT} that match; --limit shows more, `dlq list` is shorter"));
        }
        self.output.print_records(&letters, |letters| letters.iter().map(record).collect())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The letter that matches, which must be the only one.
pub(super) async fn the_one(hands: &mut Hands, filter: &Filter) -> anyhow::Result<HeldLetter> {
    let mut walk = filter.walk();
    let mut found = None;
    while let Some(held) = hands.next().await? {
        if walk.takes(&held.letter) {
            found.get_or_insert(held);
        }
        if walk.is_over() {
            break;
        }
    }
    match (found, walk.matched) {
        (Some(letter), 1) => Ok(letter),
        (None, _) => bail!("no dead letter matches; `dlq list` shows what is there"),
        (Some(_), more) => bail!("{more} dead letters match; choose one by --message-id or --position"),
    }
}

/// What the worker wrote into the headers is said in words; a header that says the same again is not shown.
fn record(letter: &ExportedLetter) -> Vec<(String, String)> {
    let shown = &letter.letter;
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let attempt = letter.headers.get("lifecycle-attempt").map(|_| shown.attempt.to_string());
    let said = [
        ("lifecycle-reason", dash(&shown.reason)),
        ("lifecycle-error", dash(&shown.error)),
        ("lifecycle-dead-lettered-at", dash(&shown.dead_lettered_at)),
        ("lifecycle-attempt", shown.attempt.to_string()),
        ("lifecycle-replay-count", shown.replay_count.to_string()),
        ("lifecycle-exchange", shown.exchange.clone()),
        ("lifecycle-routing-key", shown.routing_key.clone()),
    ];
    let mut record = vec![
        ("message", dash(&shown.message_id)),
        ("reason", dash(&shown.reason)),
        ("error", dash(&shown.error)),
        ("dead-lettered at", dash(&shown.dead_lettered_at)),
    ];
    record.extend(attempt.map(|attempt| ("attempt", attempt)));
    record.extend([
        ("replays", shown.replay_count.to_string()),
        ("exchange", shown.exchange.clone()),
        ("routing key", shown.routing_key.clone()),
    ]);
    let mut record: Vec<_> = record.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    let properties = letter.properties.iter().map(|(name, value)| (name, text(value)));
    let properties =
        properties.filter(|(name, value)| *name != "message_id" || shown.message_id.as_ref() != Some(value));
    record.extend(properties.map(|(name, value)| (format!("property {name}"), value)));
    let headers = letter.headers.iter().map(|(name, value)| (name, text(value)));
    let headers = headers.filter(|(name, value)| !said.iter().any(|(said, as_text)| said == name && as_text == value));
    record.extend(headers.map(|(name, value)| (format!("header {name}"), value)));
    record.push(("bytes".to_owned(), shown.size.to_string()));
    record.push(("body".to_owned(), for_the_screen(&shown.body, "--raw")));
    record
}
