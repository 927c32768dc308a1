use std::fmt;

use serde::Serialize;

use super::error::DeadLettersError;
use super::filter::Filter;
use super::session::{DeadLetters, Progress, QueueSession};
use super::summary::{ReasonCount, of_all, require, summarize};
use crate::terminal::counted;

/// Removes dead letters for good.
#[derive(Debug)]
pub struct Purge {
    /// Which ones.
    pub filter: Filter,
    /// Only if they are those of the preview with this selection.
    pub exactly: Option<String>,
}

/// The outcome of a purge, or of its preview.
#[derive(Debug, Default, Serialize)]
pub struct PurgeReport {
    /// Whether this is a preview.
    pub dry_run: bool,
    /// Dead letters in the queue when it began.
    pub letters: u32,
    /// Those that matched.
    pub matched: u32,
    /// Those that a purge would remove.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_purge: Option<u32>,
    /// Those removed.
    pub purged: u32,
    /// Why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Stands for exactly the dead letters of the preview.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<String>,
    /// The dead letters of the preview, by reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<ReasonCount>,
    /// Whether the filter has no condition, so that a purge needs --all.
    #[serde(skip)]
    pub(super) is_of_all: bool,
}

impl Purge {
    /// What a purge would remove.
    ///
    /// # Errors
    /// Where the queue cannot be read, or the work is stopped.
    pub async fn preview(&self, letters: &DeadLetters) -> Result<PurgeReport, DeadLettersError> {
        let summary = letters.with_queue(async |session| summarize(session, &self.filter, u32::MAX).await).await?;
        Ok(PurgeReport {
            dry_run: true,
            letters: summary.letters,
            matched: summary.matched,
            would_purge: Some(summary.matched),
            selection: Some(summary.selection),
            reasons: summary.reasons,
            is_of_all: self.filter.is_empty(),
            ..PurgeReport::default()
        })
    }

    /// Removes them.
    ///
    /// # Errors
    /// Where nothing was removed: the queue cannot be read, or the selection is another. What happens later is in the report.
    pub async fn run(&self, letters: &DeadLetters) -> Result<PurgeReport, DeadLettersError> {
        letters.with_queue(async |session| self.purge(session).await).await
    }

    async fn purge(&self, session: &mut QueueSession<'_>) -> Result<PurgeReport, DeadLettersError> {
        if let Some(selection) = &self.exactly {
            require(session, &self.filter, selection).await?;
        }
        let mut report = PurgeReport { letters: session.queue.letters(), ..PurgeReport::default() };
        let mut search = self.filter.search();
        while !search.is_over() {
            if session.is_interrupted() {
                report.stopped = Some("interrupted".to_owned());
                break;
            }
            let removed = match session.queue.next().await {
                Ok(None) => break,
                Ok(Some(held)) if search.matches(&held.letter) => session.queue.remove(&held).await,
                Ok(Some(_)) => continue,
                Err(error) => Err(error),
            };
            if let Err(error) = removed {
                report.stopped = Some(error.one_line());
                break;
            }
            report.purged += 1;
            session.progress(Progress::Removed(report.purged));
        }
        report.matched = search.matched();
        Ok(report)
    }
}

/// The sentence under a table of the reasons.
impl fmt::Display for PurgeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(selection) = &self.selection {
            let would = of_all(self.matched, self.letters);
            let yes = if self.is_of_all { "--all --yes" } else { "--yes" };
            return write!(
                f,
                "would purge {would}; nothing was changed, add {yes} to do it, or --exactly {selection} --yes for these and no others"
            );
        }
        let rest = if self.stopped.is_some() { ", the others are still in the queue" } else { "" };
        write!(f, "purged {}{rest}", counted(self.purged, "dead letter"))
    }
}
