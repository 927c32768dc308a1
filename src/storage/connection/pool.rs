//! The pool of one [`Database`](crate::storage::Database) and its clones: replaced where it leads nowhere any more, and able to say why
//! it has no connection to give.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Postgres, Transaction};

use super::connect::{self, ConnectFailure};
use super::outstanding::{self, Advice, Outstanding};
use crate::storage::error::StorageError;

/// Connections to one server.
pub(in crate::storage) struct ConnectionPool {
    settings: PoolSettings,
    /// Somebody else has made the pool: it is neither replaced nor closed.
    is_anothers: bool,
    /// Made at first use, because sqlx starts tasks with it.
    pool: RwLock<Option<PgPool>>,
    /// The options that led to the server when it was last checked: another address of the same name, perhaps.
    reachable: RwLock<PgConnectOptions>,
    /// Transactions and connections that got no answer.
    pub(in crate::storage) outstanding: Outstanding,
    closed: AtomicBool,
    /// When the server was last checked, and what came of it.
    checked: tokio::sync::Mutex<Option<(Instant, Result<(), ConnectFailure>)>>,
}

/// What a pool is made of.
#[derive(Clone)]
pub(in crate::storage) struct PoolSettings {
    /// As the URL has them.
    pub(in crate::storage) options: PgConnectOptions,
    /// At most.
    pub(in crate::storage) connections: u32,
    /// For a free connection, a new one included.
    pub(in crate::storage) acquire: Duration,
}

/// A connection that takes longer than this has its server checked.
const SLOW_CONNECT: Duration = Duration::from_secs(1);
/// The result of a check holds for all who ask within this.
const CHECK_HOLDS: Duration = Duration::from_secs(1);
/// To end what was abandoned.
const END_TIMEOUT: Duration = Duration::from_secs(3);
/// To close connections that may be dead.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// At exit, for each of the two: connections in use, and ending what is still open.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);
/// What is unanswered at most, where the pool is smaller.
const UNANSWERED_AT_LEAST: usize = 3;

impl ConnectionPool {
    /// Connects at first use.
    pub(in crate::storage) fn new(settings: PoolSettings) -> Self {
        Self {
            pool: RwLock::new(None),
            is_anothers: false,
            reachable: RwLock::new(settings.options.clone()),
            outstanding: Outstanding::new(UNANSWERED_AT_LEAST.max(settings.connections as usize)),
            settings,
            closed: AtomicBool::new(false),
            checked: tokio::sync::Mutex::new(None),
        }
    }

    /// On somebody else's pool.
    pub(in crate::storage) fn of_another(pool: PgPool) -> Self {
        let settings = PoolSettings {
            options: PgConnectOptions::clone(&pool.connect_options()),
            connections: pool.options().get_max_connections(),
            acquire: pool.options().get_acquire_timeout(),
        };
        Self { pool: RwLock::new(Some(pool)), is_anothers: true, ..Self::new(settings) }
    }

    /// Another one by other settings; `None` where this is somebody else's.
    pub(in crate::storage) fn changed(&self, change: impl FnOnce(PoolSettings) -> PoolSettings) -> Option<Self> {
        (!self.is_anothers).then(|| Self::new(change(self.settings.clone())))
    }

    /// As the URL has them.
    pub(in crate::storage) const fn options(&self) -> &PgConnectOptions {
        &self.settings.options
    }

    /// For a free connection.
    pub(in crate::storage) const fn acquire_timeout(&self) -> Duration {
        self.settings.acquire
    }

    /// A separate pool of one connection, for somebody who keeps it.
    pub(in crate::storage) fn separate(&self) -> PgPool {
        PoolSettings { options: self.reachable(), connections: 1, ..self.settings.clone() }.pool()
    }

    /// A connection of the pool, in a transaction; where that takes long, the reason why there is none.
    pub(in crate::storage) async fn begin(
        &self,
        statement: &'static str,
        operation: &'static str,
    ) -> Result<Transaction<'static, Postgres>, StorageError> {
        self.limit_unanswered(operation).await?;
        loop {
            let pool = self.pool();
            let reachable = self.reachable();
            #[expect(clippy::disallowed_methods, reason = "Database::begin comes here")]
            let mut begin = pin!(pool.begin_with(statement));
            let check = async {
                tokio::time::sleep(SLOW_CONNECT).await;
                self.check().await
            };
            let connected = tokio::select! {
                connected = &mut begin => connected,
                checked = check => match checked {
                    // It is reached: the pool is busy, or has gone to another address.
                    Ok(()) if reachable.get_host() == self.reachable().get_host() => begin.await,
                    Ok(()) => continue,
                    Err(failure) => {
                        if matches!(failure, ConnectFailure::Silence(_)) {
                            self.reset(); // before what has begun is dropped, see `reset`
                        }
                        return Err(self.unconnected(operation, failure));
                    }
                },
            };
            match connected {
                // Another transaction has reset it.
                Err(sqlx::Error::PoolClosed) if !self.is_anothers && !self.closed.load(Ordering::Relaxed) => {}
                Err(sqlx::Error::PoolTimedOut) => {
                    return Err(match self.check().await {
                        Ok(()) => StorageError::busy(operation, self.settings.connections),
                        Err(failure) => self.unconnected(operation, failure),
                    });
                }
                Err(error @ sqlx::Error::PoolClosed) => return Err(StorageError::during(operation)(error)),
                connected => return connected.map_err(|error| self.unconnected(operation, error.into())),
            }
        }
    }

    /// Replaces the pool, so that new calls open new connections: those that are open lead to a server that does not answer, or only
    /// reads.
    ///
    /// To be called before a transaction of the old pool is dropped: its connection is closed then, where otherwise it would be asked
    /// whether it is well, and hold its socket until it answers.
    pub(in crate::storage) fn reset(&self) {
        if self.is_anothers {
            return;
        }
        let mut pool = self.pool.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(stale) = pool.take_if(|pool| !pool.is_closed()) {
            // Calling it marks the pool as closed here and now, so that whoever still has a connection of it closes that.
            drop(stale.close());
            #[expect(clippy::disallowed_methods, reason = "bounded, and nobody needs its end")]
            tokio::spawn(async move { tokio::time::timeout(CLOSE_TIMEOUT, stale.close()).await.ok() });
        }
    }

    /// Connects outside of the pool, and ends what was abandoned.
    pub(in crate::storage) async fn check_now(&self) -> Result<(), ConnectFailure> {
        let (mut connection, reachable) = match connect::connect(&self.settings.options).await {
            Ok(connected) => connected,
            Err(failure) => {
                self.outstanding.unanswered(matches!(failure, ConnectFailure::Silence(_)));
                return Err(failure);
            }
        };
        self.follow(reachable);
        let backends = self.outstanding.backends();
        let over = if backends.is_empty() {
            Ok(Vec::new())
        } else {
            tokio::time::timeout(END_TIMEOUT, outstanding::end(&mut connection, &backends))
                .await
                .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        };
        match over {
            Ok(over) => self.outstanding.answered(&over),
            Err(error) => {
                tracing::warn!(%error, "could not end transactions that nobody waits for");
                self.outstanding.unanswered(false);
            }
        }
        tokio::time::timeout(CLOSE_TIMEOUT, sqlx::Connection::close(connection)).await.ok();
        Ok(())
    }

    /// Closes the pool, waiting at most a second for connections in use, and ends what it left open.
    pub(in crate::storage) async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        // Not waiting for ever: a statement under way on a server that does not answer would hold up the exit.
        let closed = self.is_anothers || tokio::time::timeout(EXIT_TIMEOUT, self.pool().close()).await.is_ok();
        if !closed || !self.outstanding.backends().is_empty() {
            tokio::time::timeout(EXIT_TIMEOUT, Box::pin(self.check_now())).await.ok();
        }
    }

    /// Fails while too many transactions and connections are unanswered; ends those first where that is due.
    async fn limit_unanswered(&self, operation: &'static str) -> Result<(), StorageError> {
        match self.outstanding.advice() {
            Advice::GoOn | Advice::GoOnMeanwhile => return Ok(()),
            Advice::CheckFirst => drop(self.check().await),
            Advice::Wait(..) => {}
        }
        match self.outstanding.advice() {
            Advice::Wait(unanswered, next) => Err(StorageError::crowd(operation, unanswered, next)),
            _ => Ok(()),
        }
    }

    /// Checks the server. One at a time, on behalf of all who ask meanwhile.
    async fn check(&self) -> Result<(), ConnectFailure> {
        let mut checked = self.checked.lock().await;
        if let Some((at, result)) = &*checked
            && at.elapsed() < CHECK_HOLDS
        {
            return result.clone();
        }
        // Boxed, because it is rare, and part of every future that begins a transaction.
        let result = Box::pin(self.check_now()).await;
        *checked = Some((Instant::now(), result.clone()));
        result
    }

    /// Connects with these options from now on.
    fn follow(&self, reachable: PgConnectOptions) {
        if self.is_anothers {
            return;
        }
        let mut followed = self.reachable.write().unwrap_or_else(PoisonError::into_inner);
        if followed.get_host() != reachable.get_host() {
            *followed = reachable.clone();
            drop(followed); // a new pool asks for it
            self.pool().set_connect_options(reachable);
        }
    }

    fn unconnected(&self, operation: &'static str, failure: ConnectFailure) -> StorageError {
        StorageError::unconnected(operation, connect::place(&self.settings.options), failure)
    }

    fn pool(&self) -> PgPool {
        let current = || self.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        current().unwrap_or_else(|| {
            let mut current = self.pool.write().unwrap_or_else(PoisonError::into_inner);
            let settings = || PoolSettings { options: self.reachable(), ..self.settings.clone() };
            current.get_or_insert_with(|| settings().pool()).clone()
        })
    }

    fn reachable(&self) -> PgConnectOptions {
        self.reachable.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl PoolSettings {
    fn pool(self) -> PgPool {
        let options = PgPoolOptions::new().max_connections(self.connections).acquire_timeout(self.acquire);
        options.connect_lazy_with(self.options)
    }
}
