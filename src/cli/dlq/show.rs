use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::queue::QueueOptions;
use crate::broker::ExportedLetter;
use crate::cli::output::{for_the_screen, note, write_stdout};
use crate::dead_letters::{Browse, DeadLettersError, Filter, find_one};
use crate::terminal::dash;

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
        self.queue.output.print_records(&found, |letters| letters.iter().map(record).collect())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What the worker wrote into the headers has names of its own; a header that repeats it is not shown.
fn record(letter: &ExportedLetter) -> Vec<(String, String)> {
    let shown = &letter.letter;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let attempt = letter.headers.get("lifecycle-attempt").map(|_| shown.attempt.to_string());
    let said = [
        ("lifecycle-reason", dash(shown.reason.clone())),
        ("lifecycle-error", dash(shown.error.clone())),
        ("lifecycle-dead-lettered-at", dash(shown.dead_lettered_at.clone())),
        ("lifecycle-attempt", shown.attempt.to_string()),
        ("lifecycle-replay-count", shown.replay_count.to_string()),
        ("lifecycle-exchange", shown.exchange.clone()),
        ("lifecycle-routing-key", shown.routing_key.clone()),
    ];
    let mut record = vec![
        ("message", dash(shown.message_id.clone())),
        ("reason", dash(shown.reason.clone())),
        ("error", dash(shown.error.clone())),
        ("dead-lettered at", dash(shown.dead_lettered_at.clone())),
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
