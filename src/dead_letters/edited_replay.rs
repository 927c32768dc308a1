use std::path::PathBuf;

use uuid::Uuid;

use super::browse::the_one;
use super::error::DeadLettersError;
use super::filter::Filter;
use super::replay_report::ReplayReport;
use super::session::{DeadLetters, Session};
use super::settle::{Step, settle};
use crate::broker::Publisher;
use crate::message::decode;

/// Sends a new message in place of one dead letter, with another body.
#[derive(Debug)]
pub struct EditedReplay {
    /// Which dead letter; only one may match.
    pub filter: Filter,
    /// The file with the body.
    pub body: PathBuf,
    /// A dead letter that was replayed as often is refused.
    pub max_replays: u32,
    /// Whether it is only checked.
    pub dry_run: bool,
}

impl EditedReplay {
    /// Checks the body as the worker would, and sends it.
    ///
    /// # Errors
    /// Where not exactly one dead letter matches, the body would be dead-lettered again, or the broker does not confirm it. One that cannot be
    /// delivered is in the report.
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

    async fn replay(&self, session: &mut Session<'_>, publisher: &Publisher) -> Result<ReplayReport, DeadLettersError> {
        let body = tokio::fs::read(&self.body).await;
        let body = body.map_err(|source| DeadLettersError::File { action: "read", file: self.body.clone(), source })?;
        let body = body.trim_ascii().to_vec();
        let letters = session.queue.len();
        let letter = the_one(session, &self.filter).await?;
        // With the dead letter's own properties, which stay: the time may be one of them.
        let message = decode(&body, &letter.envelope())
            .map_err(|reject| DeadLettersError::InvalidBody { file: self.body.clone(), reject })?;
        // The body may still name the old message, which it replaces.
        let old = letter.letter.message_id.as_deref().and_then(|id| Uuid::parse_str(id).ok());
        let message_id = message.message_id.filter(|id| Some(*id) != old).unwrap_or_else(Uuid::new_v4);
        if letter.letter.replay_count >= self.max_replays {
            return Err(DeadLettersError::ReplayedTooOften(letter.letter.replay_count));
        }
        let about = ReplayReport { dry_run: self.dry_run, letters, matched: 1, ..ReplayReport::default() };
        if self.dry_run {
            return Ok(ReplayReport { would_replay: Some(1), message_id: Some(message_id), ..about });
        }
        let began_at = ReplayReport::begin(letters).began_at;
        let mut report = ReplayReport { began_at, message_id: Some(message_id), ..about };
        let outgoing = letter.replay_edited(&session.of.topology, message.routing_key(), message_id, body);
        let mut settled = settle(session, publisher, &[Step { letter, outgoing, marks: false }]).await;
        if let Some(why) = settled.stopped.take() {
            return Err(DeadLettersError::NotReplayed(why));
        }
        report.add(settled);
        Ok(report)
    }
}
