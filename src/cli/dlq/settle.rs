use super::replay::Answer;
use crate::broker::{DeadLetterQueue, HeldLetter, Outgoing, PublishError, Publisher};

/// With more of them something is wrong with all.
const MOST_FAILED: u32 = 100;

/// A letter and what is sent for it.
pub(super) struct Step {
    pub(super) letter: HeldLetter,
    pub(super) outgoing: Outgoing,
    /// Goes back as one that was replayed too often.
    pub(super) marks: bool,
}

/// Publishes, and removes what is confirmed. What nobody takes stays, and the others go on; a broker that does not answer, or a
/// queue that is full, ends it.
pub(super) async fn settle(
    queue: &mut DeadLetterQueue,
    publisher: &Publisher,
    steps: &[Step],
    answer: &mut Answer,
) -> anyhow::Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let outgoing: Vec<_> = steps.iter().map(|step| &step.outgoing).collect();
    let mut ends = None;
    for (step, confirmed) in steps.iter().zip(publisher.publish(&outgoing).await) {
        let error = match confirmed {
            Ok(()) => {
                queue.remove(&step.letter).await?;
                *(if step.marks { &mut answer.replayed_too_often } else { &mut answer.replayed }) += 1;
                continue;
            }
            Err(error) => error,
        };
        let id = step.letter.letter.message_id.clone().unwrap_or_else(|| "without an id".to_owned());
        let says = format!("message {id}: {error}");
        match error {
            PublishError::Unroutable { .. } | PublishError::Rejected(_) | PublishError::Invalid(_) => {
                answer.failed += 1;
                answer.first_failure.get_or_insert(says);
            }
            PublishError::Refused | PublishError::Unconfirmed(_) => {
                ends.get_or_insert(says);
            }
        }
    }
    if answer.failed > MOST_FAILED {
        let first = answer.first_failure.clone().unwrap_or_default();
        ends.get_or_insert(format!("more than {MOST_FAILED} could not be replayed, the first {first}"));
    }
    ends.map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))
}
