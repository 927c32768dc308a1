use std::path::PathBuf;

use uuid::Uuid;

use super::browse::the_one;
use super::error::DeadLettersError;
use super::filter::Filter;
use super::publish_and_remove::{ReplayItem, publish_and_remove};
use super::replay_report::ReplayReport;
use super::session::{DeadLetters, QueueSession};
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
}

impl EditedReplay {
    /// Checks the body as the worker would. Nothing is changed.
    ///
    /// # Errors
    /// Where not exactly one dead letter matches, it was replayed too often, or the body would be dead-lettered again.
    pub async fn preview(&self, letters: &DeadLetters) -> Result<ReplayReport, DeadLettersError> {
        letters
            .with_queue(async |session| {
                let letters = session.queue.letters();
                let (_, message_id) = self.prepare(session).await?;
                Ok(ReplayReport {
                    dry_run: true,
                    letters,
                    matched: 1,
                    would_replay: Some(1),
                    message_id: Some(message_id),
                    ..ReplayReport::default()
                })
            })
            .await
    }

    /// Sends the message, and removes the dead letter when the broker has confirmed it.
    ///
    /// # Errors
    /// As for [`EditedReplay::preview`], and where the broker does not confirm. A message that cannot be delivered is in the report.
    pub async fn run(&self, letters: &DeadLetters) -> Result<ReplayReport, DeadLettersError> {
        letters
            .with_queue(async |session| {
                let letters = session.queue.letters();
                let (item, message_id) = self.prepare(session).await?;
                let mut report =
                    ReplayReport { matched: 1, message_id: Some(message_id), ..ReplayReport::begin(letters) };
                let publisher = Publisher::new(session.of.address.clone());
                let mut settled = publish_and_remove(session, &publisher, &[item]).await;
                publisher.close().await;
                if let Some(why) = settled.stopped.take() {
                    return Err(DeadLettersError::NotReplayed(why));
                }
                report.add(settled);
                Ok(report)
            })
            .await
    }

    async fn prepare(&self, session: &mut QueueSession<'_>) -> Result<(ReplayItem, Uuid), DeadLettersError> {
        let body = tokio::fs::read(&self.body).await;
        let body = body.map_err(|source| DeadLettersError::File { action: "read", file: self.body.clone(), source })?;
        let body = body.trim_ascii().to_vec();
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
        let outgoing = letter.replay_edited(&session.of.topology, message.routing_key(), message_id, body);
        Ok((ReplayItem { letter, outgoing, marks: false }, message_id))
    }
}
