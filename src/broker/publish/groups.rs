//! Publishes for many calls at once: what they ask for while one group waits for its confirms is the next group.
//!
//! A task owns the connection. So a call that is dropped costs its own messages and nothing else, and one round of confirms serves every
//! call that waits. A lock held over the confirms would serve one call per round.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::confirm::CONFIRM_TIMEOUT;
use super::error::PublishError;
use super::outgoing::Outgoing;
use super::publisher::Publisher;
use crate::broker::connection::address::BrokerAddress;

/// Messages in flight at once: the confirms of one group share a deadline.
pub(super) const GROUP: usize = 1_000;
/// For calls under way when the publisher is closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

type Results = Vec<Result<(), PublishError>>;

/// The calls' side: finds the task, and starts one where there is none.
pub(super) struct Groups {
    address: BrokerAddress,
    /// As the broker lists the connection.
    name: String,
    current: Mutex<Option<(Arc<Link>, JoinHandle<()>)>>,
}

/// A way to the task. It ends, and closes its connection, when nobody has one any more.
pub(super) struct Link {
    requests: UnboundedSender<Request>,
    /// Ends the calls that began before the publisher was closed.
    pub(super) closed: CancellationToken,
}

/// The messages of one call, no more than a group.
struct Request {
    messages: Vec<Arc<Outgoing>>,
    /// Until when the call waits.
    deadline: Instant,
    answer: oneshot::Sender<Results>,
}

impl Groups {
    pub(super) fn new(address: BrokerAddress, name: String) -> Self {
        Self { address, name, current: Mutex::new(None) }
    }

    /// The same broker under another name, without a connection.
    pub(super) fn renamed(&self, name: String) -> Self {
        Self::new(self.address.clone(), name)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// For a call that begins now.
    pub(super) fn link(&self) -> Arc<Link> {
        let mut current = self.current();
        if let Some((link, _)) = &*current
            && !link.requests.is_closed()
        {
            return Arc::clone(link);
        }
        let (requests, received) = unbounded_channel();
        let publisher = Publisher::new(self.address.clone()).with_name(self.name.clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "a program that uses the library has no Lifecycle; `close` waits for it"
        )]
        let task = tokio::spawn(drive(publisher, received));
        let link = Arc::new(Link { requests, closed: CancellationToken::new() });
        *current = Some((Arc::clone(&link), task));
        link
    }

    /// Lets the calls under way end, for [`CLOSE_WITHIN`] at most, then ends them. Closes the connection.
    pub(super) async fn close(&self) {
        let Some((link, mut task)) = self.current().take() else { return };
        // Also where this call is dropped: those that still wait are not left to their timeouts.
        let calls = link.closed.clone().drop_guard();
        drop(link);
        if timeout(CLOSE_WITHIN, &mut task).await.is_err() {
            drop(calls);
            task.abort();
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<(Arc<Link>, JoinHandle<()>)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Publishes with whatever else waits. `None` where the task has ended, as with its runtime.
    pub(super) async fn publish(&self, messages: Vec<Arc<Outgoing>>, deadline: Instant) -> Option<Results> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request { messages, deadline, answer }).ok()?;
        answered.await.ok()
    }
}

async fn drive(publisher: Publisher, mut requests: UnboundedReceiver<Request>) {
    while let Some(first) = requests.recv().await {
        let mut size = first.messages.len();
        let mut group = vec![first];
        while size < GROUP
            && let Ok(next) = requests.try_recv()
        {
            size += next.messages.len();
            group.push(next);
        }
        // Whose call has gone already is not sent at all.
        group.retain(|request| !request.answer.is_closed());
        let messages: Vec<&Outgoing> =
            group.iter().flat_map(|request| request.messages.iter().map(AsRef::as_ref)).collect();
        // No longer than anybody waits, so that the next calls find a new connection.
        let last = group.iter().map(|request| request.deadline).max();
        let deadline = (Instant::now() + CONFIRM_TIMEOUT).min(last.unwrap_or_else(Instant::now));
        let mut results = publish_group(&publisher, &messages, deadline).await.into_iter();
        for request in group {
            let results = results.by_ref().take(request.messages.len()).collect();
            request.answer.send(results).ok();
        }
    }
    publisher.close().await;
}

/// A message that the broker rejects ends the channel, and with it what is known of its neighbours. They are told apart by their routing
/// keys, of which there are as many as statuses: the exchange is the same, and bodies are small. So no call fails over another's message.
async fn publish_group(publisher: &Publisher, messages: &[&Outgoing], deadline: Instant) -> Results {
    let mut results = publisher.publish_together(messages, deadline).await;
    let is_rejected = |result: &Result<_, _>| matches!(result, Err(PublishError::Rejected(_)));
    if messages.len() < 2 || !results.iter().any(is_rejected) {
        return results;
    }
    let is_open =
        |result: &Result<_, _>| matches!(result, Err(PublishError::Rejected(_) | PublishError::Unconfirmed(_)));
    let open: Vec<usize> = (0..messages.len()).filter(|index| is_open(&results[*index])).collect();
    let keys: BTreeSet<&str> = open.iter().map(|index| messages[*index].routing_key.as_str()).collect();
    for key in keys {
        let of_key: Vec<usize> = open.iter().copied().filter(|index| messages[*index].routing_key == key).collect();
        let first = publisher.publish_together(&[messages[of_key[0]]], deadline).await.remove(0);
        let others: Vec<&Outgoing> = of_key[1..].iter().map(|index| messages[*index]).collect();
        let answers = match &first {
            // The broker would say the same of each, or is away.
            Err(PublishError::Rejected(_) | PublishError::Unconfirmed(_)) => vec![first.clone(); others.len()],
            _ if others.is_empty() => Vec::new(),
            _ => publisher.publish_together(&others, deadline).await,
        };
        for (index, answer) in of_key.into_iter().zip([first].into_iter().chain(answers)) {
            results[index] = answer;
        }
    }
    results
}
