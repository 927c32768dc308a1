use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Postgres, Transaction};

use super::StorageError;
use crate::config::ConfigError;
use crate::policy::Rule;

/// The database, with a small pool: a batch, two passes and a probe at most are under way at once.
#[derive(Clone)]
pub struct Database {
    pool: Arc<RwLock<PgPool>>,
    options: PgConnectOptions,
    connections: u32,
    begin: &'static str,
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

impl Database {
    /// Reads the URL and makes the pool; connects at first use, so a database that is away is no error here.
    pub fn new(url: Option<&SecretString>, connections: u32) -> Result<Self, ConfigError> {
        let options = url
            .map(ExposeSecret::expose_secret)
            // Anything else would be taken for a file name or a host without a word.
            .filter(|url| url.starts_with("postgres://") || url.starts_with("postgresql://"))
            .and_then(|url| PgConnectOptions::from_str(url).ok())
            .ok_or_else(|| {
                ConfigError::new("DATABASE_URL", "postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full")
            })?
            // A pooler refuses start-up parameters that it does not know, and this one is sent by default.
            .extra_float_digits(None)
            // Named statements belong to a session, and behind a pooler there is none.
            .statement_cache_capacity(0)
            .application_name("snapshot-lifecycle");
        let pool = Arc::new(RwLock::new(pool(&options, connections)));
        Ok(Self { pool, options, connections, begin: READ_WRITE })
    }

    /// The same, but the server itself refuses every change.
    pub fn read_only(url: Option<&SecretString>, connections: u32) -> Result<Self, ConfigError> {
        Ok(Self { begin: READ_ONLY, ..Self::new(url, connections)? })
    }

    /// Does a piece of work, but not for longer than its statements may take: a server that vanished without a word (a
    /// cut network, a COMMIT that waits for a standby) would be waited for as long as TCP does, which is a quarter of an
    /// hour. Its connections are let go of with it, all of them, for they lead to the same place.
    pub(super) async fn within<T>(
        &self,
        limits: Limits,
        operation: &'static str,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let longest = limits.lock + limits.statement + ACQUIRE_TIMEOUT + MARGIN;
        let done =
            tokio::time::timeout(longest, work).await.unwrap_or_else(|_| Err(StorageError::no_answer(operation)));
        // A session keeps the default that it began with, and outlives a primary's turning into a standby: one that only reads
        // would go on so for as long as it lives.
        if done.as_ref().is_err_and(|error| error.is_silence() || error.is_read_only()) {
            self.let_go();
        }
        done
    }

    /// Connects anew from now on.
    fn let_go(&self) {
        let fresh = pool(&self.options, self.connections);
        let stale = std::mem::replace(&mut *self.pool.write().unwrap_or_else(PoisonError::into_inner), fresh);
        tokio::spawn(async move { tokio::time::timeout(MARGIN, stale.close()).await.ok() });
    }

    /// Begins a transaction whose time-outs are its own and whose isolation does not depend on the database's default.
    pub(super) async fn begin(
        &self,
        limits: Limits,
        rule: Option<Rule>,
    ) -> Result<Transaction<'static, Postgres>, StorageError> {
        let failed = StorageError::during("begin a transaction");
        let begin = async {
            let mut tx = self.pool().begin_with(self.begin).await?;
            // The planner settings make every plan follow the indexes, whatever the statistics of a table that is
            // emptied and filled all day say: a hash join over a sequential scan is right only until the table grows. JIT off
            // belongs to it: a scan that is "off" still serves a table without an index, at a cost so high that each
            // statement would be compiled first, which halved the whole.
            sqlx::query(
                "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true), \
                 set_config('idle_in_transaction_session_timeout', $3, true), set_config('snapshot_lifecycle.rule', $4, true), \
                 set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), \
                 set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)",
            )
            .persistent(false)
            .bind(format!("{}ms", limits.lock.as_millis()))
            .bind(format!("{}ms", limits.statement.as_millis()))
            .bind(IDLE_IN_TRANSACTION)
            .bind(rule.map_or("", Rule::as_str))
            .execute(&mut *tx)
            .await?;
            Ok(tx)
        };
        begin.await.map_err(failed)
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

    /// Closes the pool, waiting at most a second for connections in use.
    pub async fn close(&self) {
        // Not waiting for ever: a statement under way on a server that does not answer would hold up the exit.
        tokio::time::timeout(Duration::from_secs(1), self.pool().close()).await.ok();
    }

    /// The port in the URL.
    pub(super) fn port(&self) -> u16 {
        self.options.get_port()
    }

    pub(super) const fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// A connection apart, for somebody who keeps it.
    pub(super) fn pool_of_one(&self) -> PgPool {
        pool(&self.options, 1)
    }

    pub(super) fn pool(&self) -> PgPool {
        self.pool.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn pool(options: &PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options.clone())
}
