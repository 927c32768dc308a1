use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Postgres, Row, Transaction};

use super::connection::connect::{self, ConnectFailure};
use super::connection::database_url;
use super::connection::outstanding::{self, Advice, Backend, Outstanding};
use super::error::StorageError;
use crate::config::ConfigError;
use crate::policy::Rule;

/// The database, with a small pool: a batch, two passes and a probe at most are under way at once.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
    begin: &'static str,
}

struct Shared {
    /// As the URL has it.
    options: PgConnectOptions,
    connections: u32,
    /// Made at first use, because sqlx starts tasks with it, and replaced where it leads nowhere any more.
    pool: RwLock<Option<PgPool>>,
    /// The options that led to the server when it was last looked for: another address of the same name, perhaps.
    way: RwLock<PgConnectOptions>,
    outstanding: Outstanding,
    closed: AtomicBool,
    /// When the server was last looked for, and what came of it.
    looked: tokio::sync::Mutex<Option<(Instant, Result<(), ConnectFailure>)>>,
}

tokio::task_local! {
    /// The transaction that the work of [`Database::within`] has begun.
    static BEGUN: Arc<Mutex<Option<Backend>>>;
}

/// Not READ WRITE: a database that only reads by default (a nearly full disk's guard) is respected, and waited for.
const READ_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const READ_ONLY: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY";

/// How long one transaction may wait and work; enforced by the server, so that a statement whose answer nobody awaits
/// any more ends too.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For one row or table lock.
    pub lock: Duration,
    /// For one statement.
    pub statement: Duration,
}

impl Limits {
    /// For statements that are expected to take milliseconds.
    pub const SHORT: Self = Self { lock: Duration::from_secs(2), statement: Duration::from_secs(5) };
    /// For a sign of life.
    pub const PING: Self = Self { lock: Duration::from_millis(500), statement: Duration::from_millis(500) };
    /// For a stretch of a walk over the whole table, within the life of a lease.
    pub const LOOK: Self = Self { lock: Duration::from_secs(2), statement: Duration::from_secs(15) };
    /// For counting over the whole table on somebody's behalf.
    pub const LONG: Self = Self { lock: Duration::from_secs(5), statement: Duration::from_mins(5) };
}

/// For a free connection, a new one included.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// For what comes around a statement: begin, settings, commit.
const MARGIN: Duration = Duration::from_secs(3);
/// A transaction left open by a worker that was stopped (SIGSTOP, a frozen machine) gives its locks back after this.
const IDLE_IN_TRANSACTION: &str = "10s";

/// A connection that takes longer than this is looked into.
const SLOW_CONNECT: Duration = Duration::from_secs(1);
/// What was found out about the server holds for all who ask within this.
const LOOK_HOLDS: Duration = Duration::from_secs(1);
/// To end what was abandoned.
const END_WITHIN: Duration = Duration::from_secs(3);
/// What is unanswered at most, where the pool is smaller.
const UNANSWERED_AT_LEAST: usize = 3;

impl Database {
    /// Reads the URL; connects at first use, so a database that is away is no error here.
    pub fn new(url: Option<&SecretString>, connections: u32) -> Result<Self, ConfigError> {
        let mut options = database_url::parse(url.map(ExposeSecret::expose_secret))?
            // A pooler refuses start-up parameters that it does not know, and this one is sent by default.
            .extra_float_digits(None)
            // Named statements belong to a session, and behind a pooler there is none.
            .statement_cache_capacity(0);
        if options.get_application_name().is_none() {
            options = options.application_name("snapshot-lifecycle");
        }
        let shared = Shared {
            pool: RwLock::new(None),
            way: RwLock::new(options.clone()),
            options,
            connections,
            outstanding: Outstanding::new(UNANSWERED_AT_LEAST.max(connections as usize)),
            closed: AtomicBool::new(false),
            looked: tokio::sync::Mutex::new(None),
        };
        Ok(Self { shared: Arc::new(shared), begin: READ_WRITE })
    }

    /// The same, but the server itself refuses every change.
    pub fn read_only(url: Option<&SecretString>, connections: u32) -> Result<Self, ConfigError> {
        Ok(Self { begin: READ_ONLY, ..Self::new(url, connections)? })
    }

    /// Does a piece of work, but not for longer than its statements may take: a server that vanished without a word (a
    /// cut network, a COMMIT that waits for a standby) would be waited for as long as TCP does, which is a quarter of an
    /// hour. Its connections are let go of with it, all of them, for they lead to the same place, and its backend is ended as soon as
    /// the server answers.
    pub(super) async fn within<T>(
        &self,
        limits: Limits,
        operation: &'static str,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let longest = limits.lock + limits.statement + ACQUIRE_TIMEOUT + MARGIN;
        let mut begun = Begun { outstanding: &self.shared.outstanding, backend: Arc::default(), answered: false };
        let mut work = pin!(tokio::time::timeout(longest, BEGUN.scope(Arc::clone(&begun.backend), work)));
        let done = work.as_mut().await;
        begun.answered = done.is_ok();
        if done.is_err()
            && let Some(backend) = begun.take()
        {
            self.shared.outstanding.abandon(backend);
        }
        let done = done.unwrap_or_else(|_| Err(StorageError::no_answer(operation)));
        // A session keeps the default that it began with, and outlives a primary's turning into a standby: one that only reads
        // would go on so for as long as it lives. Before the work is dropped: its connection is closed then, where otherwise it
        // would be asked whether it is well, and hold its socket until it answers.
        if done.as_ref().is_err_and(|error| error.is_silence() || error.is_read_only()) {
            self.let_go();
        }
        done
    }

    /// Connects anew from now on.
    fn let_go(&self) {
        let mut pool = self.shared.pool.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(stale) = pool.take_if(|pool| !pool.is_closed()) {
            // Calling it marks the pool as closed here and now, so that whoever still has a connection of it closes that.
            drop(stale.close());
            tokio::spawn(async move { tokio::time::timeout(MARGIN, stale.close()).await.ok() });
        }
    }

    /// Begins a transaction whose time-outs are its own and whose isolation does not depend on the database's default. With a rule it is
    /// one that deletes by it, see [`begin_with_triggers`](Self::begin_with_triggers).
    ///
    /// `search_path` is ours: a function, an operator or a type that somebody has put into another schema under the name of one of
    /// PostgreSQL's is not even looked at. `pg_temp` is named last, because it comes first where it is not named.
    pub(super) async fn begin(
        &self,
        limits: Limits,
        rule: Option<Rule>,
    ) -> Result<Transaction<'static, Postgres>, StorageError> {
        match rule {
            None => self.begin_on(limits, None, true).await,
            Some(_) => self.begin_with_triggers(limits, rule).await,
        }
    }

    /// Begins a transaction in which triggers, policies and defaults of the backend may run. They may need the `search_path` of the role,
    /// so it stays as it is, but for `pg_catalog`, which comes first (as it does where it is not named).
    ///
    /// So a statement of ours runs nothing of another schema by two rules, which PostgreSQL 15 to 17 have in common. (1) Of an
    /// operator or function whose argument types fit exactly, the one in the first schema is taken: operands are of exactly the types of
    /// one of PostgreSQL's operators, with a cast where the column may be `varchar`. (2) A function with other argument types, or
    /// with `VARIADIC` or polymorphic ones, loses against one that fits exactly, in whatever schema: it is qualified, as in
    /// `pg_catalog.unnest($1)`; `now()`, `count(*)`, `max` of a timestamp fit exactly. `unnest` of several arrays in FROM is
    /// the grammar's own, and may not be qualified.
    pub(super) async fn begin_with_triggers(
        &self,
        limits: Limits,
        rule: Option<Rule>,
    ) -> Result<Transaction<'static, Postgres>, StorageError> {
        self.begin_on(limits, rule, false).await
    }

    async fn begin_on(
        &self,
        limits: Limits,
        rule: Option<Rule>,
        own_path: bool,
    ) -> Result<Transaction<'static, Postgres>, StorageError> {
        const WHAT: &str = "begin a transaction";
        self.settle().await?;
        let mut tx = self.connected(WHAT).await?;
        // The planner settings make every plan follow the indexes, whatever the statistics of a table that is
        // emptied and filled all day say: a hash join over a sequential scan is right only until the table grows. JIT off
        // belongs to it: a scan that is "off" still serves a table without an index, at a cost so high that each
        // statement would be compiled first, which halved the whole. PostgreSQL 17's transaction_timeout is off, because the
        // others bound what we do, and it ends the connection.
        let row = sqlx::query(
            "SELECT pg_catalog.pg_backend_pid() AS pid, pg_catalog.now() AS began, \
             pg_catalog.set_config('lock_timeout', $1, true), pg_catalog.set_config('statement_timeout', $2, true), \
             pg_catalog.set_config('idle_in_transaction_session_timeout', $3, true), \
             pg_catalog.set_config('snapshot_lifecycle.rule', $4, true), \
             CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL \
                  THEN pg_catalog.set_config('transaction_timeout', '0', true) END, \
             pg_catalog.set_config('search_path', CASE WHEN $5 THEN 'pg_catalog, pg_temp' \
                 WHEN pg_catalog.strpos(pg_catalog.current_setting('search_path'), 'pg_catalog') OPERATOR(pg_catalog.>) 1 \
                 THEN pg_catalog.concat('pg_catalog, ', pg_catalog.current_setting('search_path')) \
                 ELSE pg_catalog.current_setting('search_path') END, true), \
             pg_catalog.set_config('enable_hashjoin', 'off', true), pg_catalog.set_config('enable_mergejoin', 'off', true), \
             pg_catalog.set_config('enable_seqscan', 'off', true), pg_catalog.set_config('jit', 'off', true)",
        )
        .persistent(false)
        .bind(format!("{}ms", limits.lock.as_millis()))
        .bind(format!("{}ms", limits.statement.as_millis()))
        .bind(IDLE_IN_TRANSACTION)
        .bind(rule.map_or("", Rule::as_str))
        .bind(own_path)
        .fetch_one(&mut *tx)
        .await
        .map_err(StorageError::during(WHAT))?;
        let begun = || Ok::<_, sqlx::Error>(Backend { pid: row.try_get("pid")?, began: row.try_get("began")? });
        let begun = begun().map_err(StorageError::during(WHAT))?;
        BEGUN.try_with(|backend| *backend.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun)).ok();
        Ok(tx)
    }

    /// A connection of the pool, in a transaction; where that takes long, the reason why there is none.
    async fn connected(&self, what: &'static str) -> Result<Transaction<'static, Postgres>, StorageError> {
        loop {
            let pool = self.pool();
            let way = self.way();
            let mut begin = pin!(pool.begin_with(self.begin));
            let look = async {
                tokio::time::sleep(SLOW_CONNECT).await;
                self.look().await
            };
            let connected = tokio::select! {
                connected = &mut begin => connected,
                looked = look => match looked {
                    // It is reached: the pool is busy, or has gone to another address.
                    Ok(()) if way.get_host() == self.way().get_host() => begin.await,
                    Ok(()) => continue,
                    Err(failure) => {
                        if matches!(failure, ConnectFailure::Silence(_)) {
                            self.let_go(); // before what has begun is dropped, see `within`
                        }
                        return Err(self.unconnected(what, failure));
                    }
                },
            };
            match connected {
                // Another piece of work has let go of it.
                Err(sqlx::Error::PoolClosed) if !self.shared.closed.load(Ordering::Relaxed) => {}
                Err(sqlx::Error::PoolTimedOut) => {
                    return Err(match self.look().await {
                        Ok(()) => StorageError::busy(what, self.shared.connections),
                        Err(failure) => self.unconnected(what, failure),
                    });
                }
                Err(error @ sqlx::Error::PoolClosed) => return Err(StorageError::during(what)(error)),
                connected => return connected.map_err(|error| self.unconnected(what, error.into())),
            }
        }
    }

    fn unconnected(&self, what: &'static str, failure: ConnectFailure) -> StorageError {
        StorageError::unconnected(what, connect::place(&self.shared.options), failure)
    }

    /// Looks after what is unanswered, before anything more is asked.
    async fn settle(&self) -> Result<(), StorageError> {
        match self.shared.outstanding.advice() {
            Advice::GoOn | Advice::GoOnMeanwhile => return Ok(()),
            Advice::LookFirst => drop(self.look().await),
            Advice::Wait(..) => {}
        }
        match self.shared.outstanding.advice() {
            Advice::Wait(unanswered, next) => Err(StorageError::crowd("begin a transaction", unanswered, next)),
            _ => Ok(()),
        }
    }

    /// Looks for the server on a connection apart, and ends what was abandoned on it. One at a time, on behalf of all who ask meanwhile.
    async fn look(&self) -> Result<(), ConnectFailure> {
        let mut looked = self.shared.looked.lock().await;
        if let Some((at, found)) = &*looked
            && at.elapsed() < LOOK_HOLDS
        {
            return found.clone();
        }
        // Boxed, because it is rare, and part of every future that begins a transaction.
        let found = Box::pin(self.look_now()).await;
        *looked = Some((Instant::now(), found.clone()));
        found
    }

    /// Goes this way from now on.
    fn follow(&self, way: PgConnectOptions) {
        let mut followed = self.shared.way.write().unwrap_or_else(PoisonError::into_inner);
        if followed.get_host() != way.get_host() {
            *followed = way.clone();
            drop(followed); // a new pool asks for it
            self.pool().set_connect_options(way);
        }
    }

    async fn look_now(&self) -> Result<(), ConnectFailure> {
        let outstanding = &self.shared.outstanding;
        let (mut connection, way) = match connect::connect(&self.shared.options).await {
            Ok(connected) => connected,
            Err(failure) => {
                outstanding.unanswered(matches!(failure, ConnectFailure::Silence(_)));
                return Err(failure);
            }
        };
        self.follow(way);
        let backends = outstanding.backends();
        let over = if backends.is_empty() {
            Ok(Vec::new())
        } else {
            tokio::time::timeout(END_WITHIN, outstanding::end(&mut connection, &backends))
                .await
                .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        };
        match over {
            Ok(over) => outstanding.answered(&over),
            Err(error) => {
                tracing::warn!(%error, "could not end transactions that nobody waits for");
                outstanding.unanswered(false);
            }
        }
        tokio::time::timeout(MARGIN, sqlx::Connection::close(connection)).await.ok();
        Ok(())
    }

    pub(super) async fn commit(tx: Transaction<'static, Postgres>) -> Result<(), StorageError> {
        tx.commit().await.map_err(StorageError::during("commit"))
    }

    /// Whether the database answers at all.
    pub async fn ping(&self) -> Result<(), StorageError> {
        self.within(Limits::PING, "ask the database", async {
            let tx = self.begin(Limits::PING, None).await?;
            Self::commit(tx).await
        })
        .await
    }

    /// Ends transactions of ours whose callers have gone, so that what they locked is free at once and not when the server notices.
    pub async fn end_dropped(&self) {
        Box::pin(self.look_now()).await.ok();
    }

    /// Closes the pool, waiting at most a second for connections in use, and ends what it left open.
    pub async fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        let pool = self.pool();
        // Not waiting for ever: a statement under way on a server that does not answer would hold up the exit.
        let closed = tokio::time::timeout(Duration::from_secs(1), pool.close()).await.is_ok();
        if !closed || !self.shared.outstanding.backends().is_empty() {
            tokio::time::timeout(Duration::from_secs(1), Box::pin(self.look_now())).await.ok();
        }
    }

    /// The port in the URL.
    pub(super) fn port(&self) -> u16 {
        self.shared.options.get_port()
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.shared.options
    }

    /// A connection apart, for somebody who keeps it.
    pub(super) fn pool_of_one(&self) -> PgPool {
        pool(self.way(), 1)
    }

    pub(super) fn pool(&self) -> PgPool {
        let current = || self.shared.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        current().unwrap_or_else(|| {
            let mut current = self.shared.pool.write().unwrap_or_else(PoisonError::into_inner);
            current.get_or_insert_with(|| pool(self.way(), self.shared.connections)).clone()
        })
    }

    fn way(&self) -> PgConnectOptions {
        self.shared.way.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a piece of work has begun. Dropped with it, wherever that is given up.
struct Begun<'a> {
    outstanding: &'a Outstanding,
    backend: Arc<Mutex<Option<Backend>>>,
    answered: bool,
}

impl Begun<'_> {
    fn take(&self) -> Option<Backend> {
        self.backend.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.answered
            && let Some(backend) = self.take()
        {
            self.outstanding.dropped(backend);
        }
    }
}

fn pool(options: PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(options)
}
