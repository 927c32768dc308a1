use super::session::QueueSession;
use crate::broker::{HeldLetter, Outgoing, PublishError, Publisher};

/// A dead letter and what is sent for it.
pub(super) struct ReplayItem {
    pub(super) letter: HeldLetter,
    pub(super) outgoing: Outgoing,
    /// Returns to the dead letters as one that was replayed too often.
    pub(super) marks: bool,
}

/// The outcome of some items.
#[derive(Debug, Default)]
pub(super) struct ItemsReport {
    pub(super) replayed: u32,
    pub(super) marked: u32,
    /// Those that cannot be delivered where they came from.
    pub(super) failed: u32,
    pub(super) first_failure: Option<String>,
    /// Why nothing further can be settled.
    pub(super) stopped: Option<String>,
}

/// Publishes, and removes what is confirmed. What cannot be delivered stays, and the others go on; a broker that does not answer, or a
/// queue that is full, stops it.
pub(super) async fn publish_and_remove(
    session: &mut QueueSession<'_>,
    publisher: &Publisher,
    items: &[ReplayItem],
) -> ItemsReport {
    let mut report = ItemsReport::default();
    if items.is_empty() {
        return report;
    }
    let outgoing: Vec<_> = items.iter().map(|item| &item.outgoing).collect();
    for (item, confirmed) in items.iter().zip(publisher.publish(&outgoing).await) {
        let error = match confirmed {
            Ok(()) => {
                if let Err(error) = session.queue.remove(&item.letter).await {
                    report.stopped = Some(error.one_line());
                    return report;
                }
                *(if item.marks { &mut report.marked } else { &mut report.replayed }) += 1;
                continue;
            }
            Err(error) => error,
        };
        let id = item.letter.letter.message_id.as_deref().unwrap_or("without an id");
        let failure = format!("message {id}: {error}");
        match error {
            PublishError::Unroutable { .. } | PublishError::Rejected(_) | PublishError::Invalid(_) => {
                report.failed += 1;
                report.first_failure.get_or_insert(failure);
            }
            PublishError::Refused | PublishError::Unconfirmed(_) => {
                report.stopped.get_or_insert(failure);
            }
        }
    }
    report
}
