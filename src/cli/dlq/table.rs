use crate::broker::DeadLetter;
use crate::dead_letters::ReasonCount;
use crate::terminal::{Table, dash, if_it_fits, text, to_the_second};

/// A row for each reason.
pub(super) fn by_reason(reasons: &[ReasonCount]) -> Table {
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
            dash(reason.reason.clone()),
            reason.count.to_string(),
            time(reason.oldest.as_deref()),
            dash(reason.example.error.clone()),
            time(reason.newest.as_deref()),
            reason.example.position.to_string(),
            dash(reason.example.message_id.clone()),
        ])
    })
}

/// A row for each dead letter, and no row yet.
pub(super) fn one_by_one() -> Table {
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

/// A row of [`one_by_one`].
pub(super) fn row(position: u32, letter: &DeadLetter) -> [String; 9] {
    [
        position.to_string(),
        time(letter.dead_lettered_at.as_deref()),
        dash(letter.reason.clone()),
        dash(letter.message_id.clone()),
        dash(letter.error.clone()),
        dash(letter.event_id.clone()),
        dash(letter.status.clone()),
        letter.replay_count.to_string(),
        letter.size.to_string(),
    ]
}

fn time(text: Option<&str>) -> String {
    dash(text.map(to_the_second))
}
