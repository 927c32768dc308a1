use std::fmt;

use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::publish_and_remove::ItemsReport;
use super::summary::{ReasonCount, Summary, of_all};
use crate::clock;
use crate::terminal::counted;

/// The outcome of a replay, or of its preview.
#[derive(Debug, Default, Serialize)]
pub struct ReplayReport {
    /// Whether this is a preview.
    pub dry_run: bool,
    /// Dead letters in the queue when it began.
    pub letters: u32,
    /// Those that matched.
    pub matched: u32,
    /// Those that a replay would send back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_replay: Option<u32>,
    /// Those sent back, each confirmed by the broker.
    pub replayed: u32,
    /// What is dead-lettered from then on may be what came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began_at: Option<String>,
    /// Marked `replayed_too_often`, now or before; in a preview, those that would be.
    pub replayed_too_often: u32,
    /// Those that cannot be delivered where they came from.
    pub failed: u32,
    /// Why the first of those cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<String>,
    /// The id of a message with a new body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Uuid>,
    /// Why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Stands for exactly the dead letters of the preview.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<String>,
    /// The dead letters of the preview, by reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<ReasonCount>,
}

impl ReplayReport {
    /// Why not all was replayed.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        match (&self.stopped, &self.first_failure) {
            (None, None) => None,
            (Some(why), _) => Some(format!("stopped: {why}; what was not replayed is still a dead letter")),
            (None, Some(why)) => {
                Some(format!("{} could not be replayed and are still dead letters; {why}", self.failed))
            }
        }
    }

    pub(super) fn preview(summary: Summary) -> Self {
        Self {
            dry_run: true,
            letters: summary.letters,
            matched: summary.matched,
            would_replay: Some(summary.matched - summary.replayed_too_often),
            replayed_too_often: summary.replayed_too_often,
            selection: Some(summary.selection),
            reasons: summary.reasons,
            ..Self::default()
        }
    }

    /// Of a replay that begins now.
    pub(super) fn begin(letters: u32) -> Self {
        let now = clock::now();
        let to_the_second = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
        Self { letters, began_at: Some(to_the_second), ..Self::default() }
    }

    pub(super) fn add(&mut self, settled: ItemsReport) {
        self.replayed += settled.replayed;
        self.replayed_too_often += settled.marked;
        self.failed += settled.failed;
        self.first_failure = self.first_failure.take().or(settled.first_failure);
        self.stopped = self.stopped.take().or(settled.stopped);
    }
}

/// The sentences under a table of the reasons.
impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let often = match self.replayed_too_often {
            0 => String::new(),
            many if self.dry_run => format!("; {many} more would stay, marked: replayed too often"),
            many => format!("; {many} stay, marked: replayed too often"),
        };
        match (&self.selection, self.would_replay) {
            (Some(selection), Some(number)) => {
                let would = of_all(number, self.letters);
                write!(
                    f,
                    "would replay {would}{often}; nothing was changed, add --yes to do it, or --exactly {selection} --yes for these and no others"
                )
            }
            (None, Some(number)) => {
                let would = counted(number, "dead letter");
                write!(f, "would replay {would} with the new body; nothing was changed, add --yes to do it")
            }
            (_, None) => {
                let rest = self.stopped.is_some() || self.failed > 0;
                let rest = if rest { "; the others are still in the queue" } else { "" };
                write!(f, "replayed {}{often}{rest}", counted(self.replayed, "dead letter"))?;
                // Confirmed is not applied.
                match &self.began_at {
                    Some(began_at) if self.replayed > 0 => write!(
                        f,
                        "\nThe broker has confirmed them. Whether they succeed is up to the worker; `dlq list --since {began_at}` shows what fails again."
                    ),
                    _ => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::summary::Example;

    #[test]
    fn preview_has_what_the_summary_counted_and_promises_what_may_be_replayed() {
        let example = Example { position: 1, message_id: None, event_id: None, error: None };
        let reason = ReasonCount { reason: None, count: 7, oldest: None, newest: None, example };
        let summary = Summary {
            letters: 9,
            matched: 7,
            replayed_too_often: 3,
            reasons: vec![reason],
            selection: "7-abc".to_owned(),
        };
        let preview = ReplayReport::preview(summary);
        assert!(preview.dry_run && preview.began_at.is_none() && preview.failure().is_none());
        assert_eq!((preview.letters, preview.matched, preview.replayed_too_often), (9, 7, 3));
        assert_eq!((preview.would_replay, preview.replayed), (Some(4), 0));
        assert_eq!((preview.selection.as_deref(), preview.reasons.len()), (Some("7-abc"), 1));
        let said =
            "would replay 4 of 9 dead letters; 3 more would stay, marked: replayed too often; nothing was changed";
        assert!(preview.to_string().starts_with(said), "{preview}");
    }

    #[test]
    fn replay_adds_up_its_parts_and_keeps_the_first_reason() {
        let part = |number, why: &str| ItemsReport {
            replayed: number,
            marked: number,
            failed: number,
            first_failure: Some(why.to_owned()),
            stopped: Some(why.to_owned()),
        };
        let mut report = ReplayReport::begin(9);
        assert!(report.began_at.is_some() && !report.dry_run);
        report.add(part(2, "first"));
        report.add(part(3, "second"));
        assert_eq!((report.letters, report.replayed, report.replayed_too_often, report.failed), (9, 5, 5, 5));
        assert_eq!((report.first_failure.as_deref(), report.stopped.as_deref()), (Some("first"), Some("first")));
    }
}
