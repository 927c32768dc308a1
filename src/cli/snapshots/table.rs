use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::import::ImportReport;
use crate::storage::SnapshotMetadata;
use crate::terminal::{Table, counted, dash, if_it_fits, text, to_the_second};

/// A row for each snapshot.
pub(super) fn of_snapshots(found: &[SnapshotMetadata]) -> Table {
    let rows = Table::new([
        "id".into(),
        "type".into(),
        if_it_fits("created at"),
        if_it_fits("expires at"),
        if_it_fits("bytes"),
        if_it_fits("event"),
        if_it_fits("team"),
    ]);
    let rows = found.iter().fold(rows, |rows, snapshot| rows.row(cells(snapshot)));
    rows.footer(counted(found.len() as u64, "snapshot"))
}

fn cells(snapshot: &SnapshotMetadata) -> [String; 7] {
    let time = |at: OffsetDateTime| Some(to_the_second(&at.format(&Rfc3339).ok()?));
    [
        snapshot.id.to_string(),
        snapshot.snapshot_type.clone(),
        dash(snapshot.created_at.and_then(time)),
        dash(time(snapshot.expires_at)),
        snapshot.bytes.to_string(),
        dash(snapshot.event_id.map(|id| id.to_string())),
        snapshot.team_id.to_string(),
    ]
}

/// A row for each snapshot of the file.
pub(super) fn of_import(report: &ImportReport) -> Table {
    let table = Table::new(["old id".into(), "outcome".into(), text("reason"), if_it_fits("id")]);
    let table = report.snapshots.iter().fold(table, |table, entry| {
        let reason = entry.reason.clone().unwrap_or_default();
        table.row([entry.old_id.clone(), entry.outcome.as_str().to_owned(), reason, entry.id.to_string()])
    });
    table.footer(report.to_string())
}
