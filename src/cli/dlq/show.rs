use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::Hands;
use super::filter::Filter;
use crate::broker::{ExportedLetter, HeldLetter};
use crate::cli::output::{OutputOptions, Rows, note, write_stdout};
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
        self.output.print(&letters, |letters| letters.iter().fold(Rows::new(["", ""]), add))?;
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

fn add(rows: Rows, letter: &ExportedLetter) -> Rows {
    let shown = &letter.letter;
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let row = |name: &str, text: String| [name.to_owned(), text];
    let rows = rows
        .row(row("message", dash(&shown.message_id)))
        .row(row("reason", dash(&shown.reason)))
        .row(row("error", dash(&shown.error)))
        .row(row("dead-lettered at", dash(&shown.dead_lettered_at)))
        .row(row("attempt", shown.attempt.to_string()))
        .row(row("replays", shown.replay_count.to_string()))
        .row(row("came from", format!("exchange {}, routing key {}", shown.exchange, shown.routing_key)));
    let named = letter.properties.iter().map(|(name, value)| (format!("property {name}"), value));
    let named = named.chain(letter.headers.iter().map(|(name, value)| (format!("header {name}"), value)));
    let rows = named.fold(rows, |rows, (name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        rows.row([name, text])
    });
    rows.row(row("bytes", shown.size.to_string())).row(row("body", shown.body.clone()))
}
