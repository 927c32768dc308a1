use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::error::DeadLettersError;
use super::filter::Filter;
use super::selection::Selection;
use super::session::{DeadLetters, Progress, QueueSession};
use crate::broker::DeadLetter;
use crate::terminal::counted;

/// The dead letters that match, by reason.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Dead letters in the queue.
    pub letters: u32,
    /// Those that match.
    pub matched: u32,
    /// Of those, replayed as often as allowed.
    #[serde(skip)]
    pub(super) replayed_too_often: u32,
    /// The most frequent reason first.
    pub reasons: Vec<ReasonCount>,
    /// Stands for exactly these dead letters.
    pub selection: String,
}

/// The dead letters of one reason.
#[derive(Debug, Serialize)]
pub struct ReasonCount {
    /// The reason.
    pub reason: Option<String>,
    /// How many.
    pub count: u32,
    /// When the oldest was dead-lettered.
    pub oldest: Option<String>,
    /// When the newest was dead-lettered.
    pub newest: Option<String>,
    /// The first one.
    pub example: Example,
}

/// The first dead letter of a reason.
#[derive(Debug, Serialize)]
pub struct Example {
    /// Its position in the queue.
    pub position: u32,
    /// Its message id.
    pub message_id: Option<String>,
    /// Its event.
    pub event_id: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

/// The dead letters, and what may still become one.
#[derive(Debug, Serialize)]
pub struct Count {
    /// The dead letters.
    #[serde(flatten)]
    pub summary: Summary,
    /// Messages that wait for another attempt; not known where the user may not read the wait queues.
    pub waiting_for_retry: Option<u32>,
}

/// Counts the dead letters that match, by reason. Nothing is changed.
///
/// # Errors
/// Where the queue cannot be read, or the work is stopped.
pub async fn count(letters: &DeadLetters, filter: &Filter) -> Result<Count, DeadLettersError> {
    letters
        .with_queue(async |session| {
            let waiting_for_retry = session.queue.retries_waiting().await.ok();
            Ok(Count { summary: summarize(session, filter, u32::MAX).await?, waiting_for_retry })
        })
        .await
}

/// Reads all dead letters that match; they stay held until they are returned to the queue.
pub(super) async fn summarize(
    session: &mut QueueSession<'_>,
    filter: &Filter,
    max_replays: u32,
) -> Result<Summary, DeadLettersError> {
    let letters = session.queue.letters();
    let mut search = filter.search();
    let mut reasons: BTreeMap<Option<String>, ReasonCount> = BTreeMap::new();
    let mut replayed_too_often = 0;
    let mut selection = Selection::new(letters);
    while !search.is_over() {
        let Some(held) = session.read().await? else { break };
        let matches = search.matches(&held.letter);
        session.progress(Progress::Read(search.position(), letters));
        if !matches {
            continue;
        }
        selection.add(&held.letter);
        replayed_too_often += u32::from(held.letter.replay_count >= max_replays);
        let of_reason = reasons
            .entry(held.letter.reason.clone())
            .or_insert_with(|| ReasonCount::beginning_with(&held.letter, search.position()));
        of_reason.add(held.letter.dead_lettered_at);
    }
    let mut reasons: Vec<_> = reasons.into_values().collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    Ok(Summary { letters, matched: search.matched(), replayed_too_often, reasons, selection: selection.to_string() })
}

/// Makes sure that the dead letters are those of an earlier preview, and returns them to the queue for the work that follows. More may have
/// arrived behind them; that work does not read those.
pub(super) async fn require(
    session: &mut QueueSession<'_>,
    filter: &Filter,
    selection: &str,
) -> Result<(), DeadLettersError> {
    let letters = Selection::letters(selection)?;
    if session.queue.letters() >= letters {
        session.restart(letters).await?;
        if summarize(session, filter, u32::MAX).await?.selection == selection {
            return session.restart(letters).await;
        }
    }
    Err(DeadLettersError::OtherSelection)
}

/// As in `3 of 12 dead letters`.
pub(super) fn of_all(matched: u32, letters: u32) -> String {
    format!("{matched} of {}", counted(letters, "dead letter"))
}

/// The sentence under a table of the reasons.
impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&of_all(self.summary.matched, self.summary.letters))?;
        match self.waiting_for_retry {
            None | Some(0) => Ok(()),
            Some(1) => f.write_str("; in addition, 1 message waits for another attempt"),
            Some(more) => write!(f, "; in addition, {more} messages wait for another attempt"),
        }
    }
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

    fn add(&mut self, at: Option<String>) {
        self.count += 1;
        if at.is_some() && (self.oldest.is_none() || at < self.oldest) {
            self.oldest.clone_from(&at);
        }
        self.newest = self.newest.take().max(at);
    }
}
