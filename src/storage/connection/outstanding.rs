//! Transactions and connections that got no answer, so that an outage costs a bounded number of connections on either side.
//!
//! A transaction that gets no answer is given up, and its socket closed. Its backend does not notice: one whose COMMIT waits for a
//! synchronous standby waits for ever, and each retry would add one. So the backend is remembered, and ended over the next connection
//! that is answered. While too many are unanswered, no further connection is opened.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;

use crate::backoff::Backoff;
use crate::storage::statement::{query, query_as, sql};

/// A transaction of ours, by the process that serves it and its start. The start tells it from what the same process does later: behind a
/// pooler the next transaction on it may be anybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::storage) struct Backend {
    pub(in crate::storage) pid: i32,
    /// In microseconds since 1970.
    pub(in crate::storage) began: i64,
}

/// Those of one [`Database`](crate::storage::Database) and its clones.
pub(in crate::storage) struct Outstanding {
    /// At most these are unanswered.
    most: usize,
    state: Mutex<State>,
}

struct State {
    abandoned: Vec<Backend>,
    /// Given up by the caller, not because no answer came; most are over already. Never more than the latest few.
    dropped: VecDeque<Backend>,
    /// Attempts to connect, in a row, that got no answer.
    silent: usize,
    backoff: Backoff,
    next_check: Instant,
}

/// Whether to connect.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::storage) enum Advice {
    /// Nothing is unanswered.
    GoOn,
    /// Something is: check the server, and go on.
    CheckFirst,
    /// Some are, and it is not yet time to check again; there may be more.
    GoOnMeanwhile,
    /// As many as may be are unanswered, and the next check is due in this time.
    Wait(usize, Duration),
}

/// For a backend that is told to end.
const END_WITHIN_MS: i64 = 500;
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(20);

impl Outstanding {
    pub(in crate::storage) fn new(most: usize) -> Self {
        let state = State {
            abandoned: Vec::new(),
            dropped: VecDeque::new(),
            silent: 0,
            backoff: Backoff::between(FIRST_DELAY, LONGEST_DELAY),
            next_check: Instant::now(),
        };
        Self { most, state: Mutex::new(state) }
    }

    pub(in crate::storage) fn advice(&self) -> Advice {
        let state = self.state();
        let unanswered = state.abandoned.len() + state.silent;
        let wait = state.next_check.saturating_duration_since(Instant::now());
        match unanswered {
            0 => Advice::GoOn,
            _ if wait.is_zero() => Advice::CheckFirst,
            _ if unanswered < self.most => Advice::GoOnMeanwhile,
            _ => Advice::Wait(unanswered, wait),
        }
    }

    /// This one gave no answer in time.
    pub(in crate::storage) fn abandon(&self, backend: Backend) {
        self.state().abandoned.push(backend);
    }

    /// Its caller did not wait for it.
    pub(in crate::storage) fn dropped(&self, backend: Backend) {
        let mut state = self.state();
        state.dropped.push_back(backend);
        while state.dropped.len() > self.most {
            state.dropped.pop_front();
        }
    }

    /// Transactions of ours that may still be open, though nobody waits for them.
    pub(in crate::storage) fn backends(&self) -> Vec<Backend> {
        let state = self.state();
        state.abandoned.iter().chain(&state.dropped).copied().collect()
    }

    /// An attempt to connect failed.
    pub(in crate::storage) fn unanswered(&self, silent: bool) {
        let mut state = self.state();
        state.silent += usize::from(silent);
        state.next_check = Instant::now() + state.backoff.next_delay();
    }

    /// The server answered, and these transactions are over.
    pub(in crate::storage) fn answered(&self, over: &[Backend]) {
        let mut state = self.state();
        state.abandoned.retain(|backend| !over.contains(backend));
        state.dropped.retain(|backend| !over.contains(backend));
        state.silent = 0;
        if state.abandoned.is_empty() {
            state.backoff.reset();
            state.next_check = Instant::now();
        } else {
            state.next_check = Instant::now() + state.backoff.next_delay();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends those of the transactions that are still open, and returns those that are over.
pub(super) async fn end(connection: &mut PgConnection, backends: &[Backend]) -> sqlx::Result<Vec<Backend>> {
    const SETTINGS: &str = r"
        SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),
               pg_catalog.set_config('statement_timeout', '3s', true)";
    #[expect(clippy::disallowed_methods, reason = "not a connection of the pool; the limits are set below")]
    let mut tx = sqlx::Connection::begin_with(connection, "BEGIN READ ONLY").await?;
    query(SETTINGS).execute_on(&mut tx).await?;
    let statement = query_as(sql!("outstanding_end.sql"))
        .bind(backends.iter().map(|backend| backend.pid).collect::<Vec<_>>())
        .bind(backends.iter().map(|backend| backend.began).collect::<Vec<_>>())
        .bind(END_WITHIN_MS);
    let open: Vec<(i32, i64, bool)> = statement.fetch_all_on(&mut tx).await?;
    tx.commit().await?;
    let stays = |backend: &Backend| open.contains(&(backend.pid, backend.began, false));
    Ok(backends.iter().copied().filter(|backend| !stays(backend)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_connection_is_opened_while_as_many_as_may_be_are_unanswered() {
        let outstanding = Outstanding::new(2);
        let backend = |pid| Backend { pid, began: 0 };
        assert_eq!(outstanding.advice(), Advice::GoOn);
        outstanding.abandon(backend(1));
        assert_eq!(outstanding.advice(), Advice::CheckFirst);
        outstanding.unanswered(false);
        assert_eq!(outstanding.advice(), Advice::GoOnMeanwhile);
        outstanding.unanswered(true);
        assert!(matches!(outstanding.advice(), Advice::Wait(2, _)));
        outstanding.answered(&[]);
        assert_eq!(outstanding.advice(), Advice::GoOnMeanwhile, "the abandoned one is still remembered");
        outstanding.answered(&[backend(1)]);
        assert_eq!(outstanding.advice(), Advice::GoOn);
    }
}
