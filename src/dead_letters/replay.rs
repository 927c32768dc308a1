use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::error::DeadLettersError;
use super::filter::{Filter, Search};
use super::pace::FailureWatch;
use super::publish_and_remove::{ReplayItem, publish_and_remove};
use super::replay_report::ReplayReport;
use super::session::{DeadLetters, Progress, QueueSession};
use super::summary::{require, summarize};
use crate::broker::Publisher;
use crate::clock;
use crate::message::Reason;

/// Sends dead letters back to where they first came from. Each is confirmed by the broker before it leaves the dead-letter queue.
#[derive(Debug)]
pub struct Replay {
    /// Which ones.
    pub filter: Filter,
    /// Only if they are those of the preview with this selection.
    pub exactly: Option<String>,
    /// At most this many per second.
    pub rate: Option<u32>,
    /// A dead letter that was replayed as often stays, marked.
    pub max_replays: u32,
    /// Stops when this percentage of what was replayed has come back.
    pub stop_on_failures: Option<f64>,
}

/// Messages in flight at once.
const CHUNK: u32 = 500;
/// Bodies in flight at once, in bytes.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// RabbitMQ closes a channel on which something stays unacknowledged for 30 minutes; long before, everything is returned to the queue and
/// read again.
const HOLD_AT_MOST: Duration = Duration::from_mins(10);
/// With more failures something is wrong with all.
const MOST_FAILED: u32 = 100;

impl Replay {
    /// What a replay would do.
    ///
    /// # Errors
    /// Where the queue cannot be read, or the work is stopped.
    pub async fn preview(&self, letters: &DeadLetters) -> Result<ReplayReport, DeadLettersError> {
        letters
            .with_queue(async |session| {
                Ok(ReplayReport::preview(summarize(session, &self.filter, self.max_replays).await?))
            })
            .await
    }

    /// Replays.
    ///
    /// # Errors
    /// Where nothing was replayed: the queue cannot be read, or the selection is another. What happens later is in the report.
    pub async fn run(&self, letters: &DeadLetters) -> Result<ReplayReport, DeadLettersError> {
        letters
            .with_queue(async |session| {
                let publisher = Publisher::new(session.of.address.clone());
                let report = self.replay(session, &publisher).await;
                publisher.close().await;
                report
            })
            .await
    }

    async fn replay(
        &self,
        session: &mut QueueSession<'_>,
        publisher: &Publisher,
    ) -> Result<ReplayReport, DeadLettersError> {
        if let Some(selection) = &self.exactly {
            require(session, &self.filter, selection).await?;
        }
        let mut run = ReplayRun {
            replay: self,
            publisher,
            report: ReplayReport::begin(session.queue.letters()),
            search: self.filter.search(),
            marked_before: 0,
        };
        let watch = match self.stop_on_failures {
            Some(percent) => Some(FailureWatch::new(percent, &session.queue).await?),
            None => None,
        };
        // The report says what was replayed, however it ends.
        let ended = run.run_to_end(session, watch).await;
        let ReplayRun { mut report, marked_before, .. } = run;
        report.stopped = match ended {
            Ok(()) => report.stopped,
            Err(DeadLettersError::Interrupted) => Some("interrupted".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        report.replayed_too_often += marked_before;
        Ok(report)
    }
}

/// A replay under way.
struct ReplayRun<'a> {
    replay: &'a Replay,
    publisher: &'a Publisher,
    report: ReplayReport,
    search: Search<'a>,
    /// Those that an earlier replay marked.
    marked_before: u32,
}

impl ReplayRun<'_> {
    async fn run_to_end(
        &mut self,
        session: &mut QueueSession<'_>,
        mut watch: Option<FailureWatch>,
    ) -> Result<(), DeadLettersError> {
        let began = Instant::now();
        let mut held_since = began;
        loop {
            if session.is_interrupted() {
                return Err(DeadLettersError::Interrupted);
            }
            let most = watch.as_ref().map_or(CHUNK, |watch| watch.left_in_wave().min(CHUNK));
            // With a rate, a tenth of a second's worth, so that it is even.
            let most = self.replay.rate.map_or(most, |rate| most.min(rate.div_ceil(10)));
            let items = self.gather(session, most).await?;
            self.report.matched = self.search.matched();
            // Not interrupted: the confirms are waited for, at most fifteen seconds.
            let settled = publish_and_remove(session, self.publisher, &items).await;
            let replayed = settled.replayed;
            self.report.add(settled);
            session.progress(Progress::Replayed(self.report.replayed));
            if self.report.failed > MOST_FAILED {
                let first = self.report.first_failure.as_deref().unwrap_or_default();
                let why = format!("more than {MOST_FAILED} could not be replayed, the first {first}");
                self.report.stopped.get_or_insert(why);
            }
            if self.report.stopped.is_some() {
                return Ok(());
            }
            if let Some(watch) = &mut watch {
                self.report.stopped = self.check(session, watch, replayed, items.is_empty()).await?;
            }
            if items.is_empty() || self.report.stopped.is_some() {
                return Ok(());
            }
            if let Some(rate) = self.replay.rate {
                let due = Duration::from_secs_f64(f64::from(self.report.replayed) / f64::from(rate));
                tokio::select! {
                    () = session.interrupted() => return Err(DeadLettersError::Interrupted),
                    () = sleep(due.saturating_sub(began.elapsed())) => {}
                }
            }
            if held_since.elapsed() > HOLD_AT_MOST && self.replay.filter.position.is_none() {
                self.start_again(session).await?;
                held_since = Instant::now();
            }
        }
    }

    /// The next dead letters to replay or to mark, at most `most`; none when there are no more.
    async fn gather(&mut self, session: &mut QueueSession<'_>, most: u32) -> Result<Vec<ReplayItem>, DeadLettersError> {
        let (mut items, mut bytes) = (Vec::new(), 0);
        while items.len() < most as usize && bytes < CHUNK_BYTES && !self.search.is_over() && !session.is_interrupted()
        {
            let Some(letter) = session.queue.next().await? else { break };
            if !self.search.matches(&letter.letter) {
                continue;
            }
            let marks = letter.letter.replay_count >= self.replay.max_replays;
            if marks && letter.letter.reason.as_deref() == Some(Reason::ReplayedTooOften.as_str()) {
                self.marked_before += 1;
                continue;
            }
            bytes += letter.body().len();
            let topology = &session.of.topology;
            let outgoing = if marks { letter.marked(topology, clock::now()) } else { letter.replay(topology) };
            items.push(ReplayItem { letter, outgoing, marks });
        }
        Ok(items)
    }

    /// Counts what came back; at the end, whatever the wave.
    async fn check(
        &self,
        session: &QueueSession<'_>,
        watch: &mut FailureWatch,
        replayed: u32,
        at_the_end: bool,
    ) -> Result<Option<String>, DeadLettersError> {
        let (so_far, ours) = (self.report.replayed, self.report.replayed_too_often);
        let check = async {
            if at_the_end {
                watch.check(&session.queue, so_far, ours).await
            } else {
                watch.replayed(&session.queue, replayed, so_far, ours).await
            }
        };
        tokio::select! {
            checked = check => Ok(checked?),
            () = session.interrupted() => Err(DeadLettersError::Interrupted),
        }
    }

    /// Returns everything to the queue and begins at its front: what was left there matches again, and what has gone does not.
    async fn start_again(&mut self, session: &mut QueueSession<'_>) -> Result<(), DeadLettersError> {
        let gone = self.report.replayed + self.report.replayed_too_often;
        session.restart(self.report.letters - gone).await?;
        self.search.restart(gone);
        (self.report.failed, self.marked_before) = (0, 0);
        Ok(())
    }
}
