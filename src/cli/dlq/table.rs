use crate::dead_letters::ReasonCount;
use crate::terminal::{Table, counted, if_it_fits, text, to_the_second};

/// A row for each reason.
pub(super) fn by_reason(reasons: &[ReasonCount]) -> Table {
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let time = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), to_the_second);
    let table = Table::new([
        "reason".into(),
        "count".into(),
        if_it_fits("oldest"),
        text("example: error"),
        if_it_fits("newest"),
        if_it_fits("#"),
        if_it_fits("message"),
    ]);
    reasons.iter().fold(table, |table, reason| {
        table.row([
            dash(&reason.reason),
            reason.count.to_string(),
            time(&reason.oldest),
            dash(&reason.example.error),
            time(&reason.newest),
            reason.example.position.to_string(),
            dash(&reason.example.message_id),
        ])
    })
}

/// As in `3 of 12 dead letters`.
pub(super) fn of_all(matched: u32, letters: u32) -> String {
    format!("{matched} of {}", counted(letters, "dead letter"))
}
