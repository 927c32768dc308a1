use crate::passes::{Retention, RetentionEntry, RetentionReport};
use crate::terminal::{Table, duration};

/// A row for each type of the policy.
pub(super) fn of_policy(entries: &[RetentionEntry]) -> Table {
    let rows = Table::new(["type", "ttl", "at the event's end", "snapshots", "with an event"]);
    let rows = entries.iter().fold(rows, |rows, entry| {
        rows.row([
            entry.snapshot_type.clone(),
            entry.ttl.clone(),
            entry.retention.at_event_end().to_owned(),
            entry.rows.to_string(),
            entry.rows_with_event.to_string(),
        ])
    });
    rows.footer("* applies to every type that is not listed")
}

/// What applies before a change, and after it.
pub(super) fn of_change(report: &RetentionReport) -> Table {
    let row = |when: &str, of: Retention| [when.to_owned(), duration(of.ttl_seconds), of.at_event_end().to_owned()];
    let before = report.change.before.map(|before| row("before", before));
    let table = Table::new(["", "ttl", "at the event's end"]);
    let table = before.into_iter().chain([row("after", report.change.after)]).fold(table, Table::row);
    table.footer(report.to_string())
}
