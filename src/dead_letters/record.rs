use serde_json::Value;

use crate::broker::ExportedLetter;
use crate::terminal::dash;

/// A dead letter as names and values, with the body as it is to be shown. What the worker wrote into the headers has names of its own; a header
/// that repeats it is not shown.
#[must_use]
pub fn record(letter: &ExportedLetter, body: String) -> Vec<(String, String)> {
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
    record.push(("body".to_owned(), body));
    record
}
