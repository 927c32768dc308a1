use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::bail;
use serde::Serialize;

use super::Hands;
use super::filter::Filter;
use crate::broker::DeadLetter;
use crate::cli::output::{counted, progress, to_the_second};
use crate::terminal::{Table, if_it_fits, text};

/// What a look at the matching letters found.
#[derive(Debug, Serialize)]
pub(super) struct Survey {
    /// Letters in the queue.
    pub(super) letters: u32,
    pub(super) matched: u32,
    /// Of those, replayed as often as allowed.
    #[serde(skip)]
    pub(super) replayed_often: u32,
    pub(super) reasons: Vec<ReasonCount>,
    /// Stands for exactly these letters.
    pub(super) selection: String,
}

/// Letters of one reason.
#[derive(Debug, Serialize)]
pub(super) struct ReasonCount {
    reason: Option<String>,
    count: u32,
    oldest: Option<String>,
    newest: Option<String>,
    example: Example,
}

/// The first letter of a reason.
#[derive(Debug, Serialize)]
struct Example {
    position: u32,
    message_id: Option<String>,
    event_id: Option<String>,
    error: Option<String>,
}

/// Looks at all matching letters; they stay held until they are given back.
pub(super) async fn survey(hands: &mut Hands, filter: &Filter, max_replays: u32) -> anyhow::Result<Survey> {
    let letters = hands.queue.there();
    let mut walk = filter.walk();
    let mut reasons: BTreeMap<Option<String>, ReasonCount> = BTreeMap::new();
    let mut replayed_often = 0;
    let mut selection = Selection::of(letters);
    let bar = progress(Some(letters.into()), "dead letters read");
    while let Some(held) = hands.next().await? {
        bar.inc(1);
        if walk.takes(&held.letter) {
            selection.add(&held.letter);
            replayed_often += u32::from(held.letter.replay_count >= max_replays);
            let position = walk.position;
            let of_reason = reasons
                .entry(held.letter.reason.clone())
                .or_insert_with(|| ReasonCount::beginning_with(&held.letter, position));
            of_reason.count += 1;
            let at = held.letter.dead_lettered_at;
            if at.is_some() && (of_reason.oldest.is_none() || at < of_reason.oldest) {
                of_reason.oldest.clone_from(&at);
            }
            of_reason.newest = of_reason.newest.take().max(at);
        }
        if walk.is_over() {
            break;
        }
    }
    bar.finish_and_clear();
    let mut reasons: Vec<_> = reasons.into_values().collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    Ok(Survey { letters, matched: walk.matched, replayed_often, reasons, selection: selection.to_string() })
}

/// Stands for certain letters among so many: their count, and a number made of all that they say.
pub(super) struct Selection {
    letters: u32,
    selected: u32,
    hasher: DefaultHasher,
}

impl Selection {
    /// Of none yet.
    pub(super) fn of(letters: u32) -> Self {
        Self { letters, selected: 0, hasher: DefaultHasher::new() }
    }

    pub(super) fn add(&mut self, letter: &DeadLetter) {
        self.selected += 1;
        letter.fingerprint().hash(&mut self.hasher);
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:016x}", self.letters, self.selected, self.hasher.finish())
    }
}

/// Makes sure that the letters are those of an earlier preview, and gives them back for the walk that follows. More may
/// have arrived behind them; they are not looked at.
pub(super) async fn require(hands: &mut Hands, filter: &Filter, selection: &str) -> anyhow::Result<()> {
    let Some(letters) = selection.split('-').next().and_then(|letters| letters.parse().ok()) else {
        bail!("{selection} is not a selection; copy the one that the preview shows");
    };
    if hands.queue.there() >= letters {
        hands.queue.give_back(letters).await?;
        if survey(hands, filter, u32::MAX).await?.selection == selection {
            hands.queue.give_back(letters).await?;
            return Ok(());
        }
    }
    bail!("these are not the letters of that preview any more; nothing was changed, look again without --yes");
}

impl ReasonCount {
    fn beginning_with(letter: &DeadLetter, position: u32) -> Self {
        Self {
            reason: letter.reason.clone(),
            count: 0,
            oldest: None,
            newest: None,
            example: Example {
                position,
                message_id: letter.message_id.clone(),
                event_id: letter.event_id.clone(),
                error: letter.error.clone(),
            },
        }
    }
}

/// The table of a survey.
pub(super) fn rows(reasons: &[ReasonCount]) -> Table {
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let time = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), to_the_second);
    let rows = Table::new([
        "reason".into(),
        "count".into(),
        if_it_fits("oldest"),
        text("example: error"),
        if_it_fits("newest"),
        if_it_fits("#"),
        if_it_fits("message"),
    ]);
    reasons.iter().fold(rows, |rows, reason| {
        rows.row([
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
