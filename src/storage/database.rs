use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgPool, Postgres, Transaction};

use super::connection::database_url;
use super::connection::outstanding::{Backend, Outstanding};
use super::connection::pool::ConnectionPool;
use super::error::StorageError;
use super::statement::{query_as, sql};
use super::transaction::Limits;
use crate::config::ConfigError;
use crate::policy::Rule;

/// The database, with a small pool: a batch, two passes and a probe at most are under way at once.
#[derive(Clone)]
pub struct Database {
    pool: Arc<ConnectionPool>,
    begin: &'static str,
}

/// Not READ WRITE: a database that only reads by default (a nearly full disk's guard) is respected, and waited for.
const READ_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const READ_ONLY: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY";

impl Database {
    /// Reads the URL; connects at first use, so a database that is away is no error here.
    ///
    /// # Errors
    /// If the URL cannot be read.
    pub fn new(url: Option<&SecretString>, connections: u32) -> Result<Self, ConfigError> {
        let mut options = database_url::parse(url.map(ExposeSecret::expose_secret))?
            // A pooler refuses start-up parameters that it does not know, and this one is sent by default.
            .extra_float_digits(None)
            // Named statements belong to a session, and behind a pooler there is none.
            .statement_cache_capacity(0);
        if options.get_application_name().is_none() {
            options = options.application_name("snapshot-lifecycle");
        }
        Ok(Self { pool: Arc::new(ConnectionPool::new(options, connections)), begin: READ_WRITE })
    }

    /// The same, but the server itself refuses every change.
    ///
    /// # Errors
    /// If the URL cannot be read.
    pub fn read_only(url: Option<&SecretString>, connections: u32) -> Result<Self, ConfigError> {
        Ok(Self { begin: READ_ONLY, ..Self::new(url, connections)? })
    }

    /// Whether the database answers at all.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), StorageError> {
        self.begin(Limits::PING, "ask the database").await?.commit(()).await
    }

    /// Ends transactions of ours whose callers have gone, so that what they locked is free at once and not when the server notices.
    pub async fn end_dropped(&self) {
        Box::pin(self.pool.check_now()).await.ok();
    }

    /// Closes the connections, waiting at most a second for those in use, and ends what is still open.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) const fn pool(&self) -> &Arc<ConnectionPool> {
        &self.pool
    }

    /// The statement that begins a transaction.
    pub(super) const fn begin_statement(&self) -> &'static str {
        self.begin
    }

    /// The port in the URL.
    pub(super) fn port(&self) -> u16 {
        self.options().get_port()
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        self.pool.options()
    }

    /// A separate pool of one connection, for somebody who keeps it.
    pub(super) fn pool_of_one(&self) -> PgPool {
        self.pool.separate()
    }
}

// What follows goes as soon as every function begins by `Database::begin`.

tokio::task_local! {
    /// The transaction that the work of [`Database::within`] has begun.
    static BEGUN: Arc<Mutex<Option<Backend>>>;
}

impl Database {
    pub(super) async fn within<T>(
        &self,
        limits: Limits,
        operation: &'static str,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let mut begun = Begun { outstanding: &self.pool.outstanding, backend: Arc::default(), answered: false };
        let mut work = pin!(tokio::time::timeout(limits.whole(), BEGUN.scope(Arc::clone(&begun.backend), work)));
        let done = work.as_mut().await;
        begun.answered = done.is_ok();
        if done.is_err()
            && let Some(backend) = begun.take()
        {
            self.pool.outstanding.abandon(backend);
        }
        let done = done.unwrap_or_else(|_| Err(StorageError::no_answer(operation)));
        if done.as_ref().is_err_and(|error| error.is_silence() || error.is_read_only()) {
            self.pool.reset();
        }
        done
    }

    pub(super) async fn begin_within(
        &self,
        limits: Limits,
        rule: Option<Rule>,
    ) -> Result<Transaction<'static, Postgres>, StorageError> {
        self.begin_within_on(limits, rule, rule.is_none()).await
    }

    pub(super) async fn begin_with_triggers_within(
        &self,
        limits: Limits,
        rule: Option<Rule>,
    ) -> Result<Transaction<'static, Postgres>, StorageError> {
        self.begin_within_on(limits, rule, false).await
    }

    async fn begin_within_on(
        &self,
        limits: Limits,
        rule: Option<Rule>,
        own_path: bool,
    ) -> Result<Transaction<'static, Postgres>, StorageError> {
        const WHAT: &str = "begin a transaction";
        let mut tx = self.pool.begin(self.begin, WHAT).await?;
        let begun: Backend = query_as(sql!("transaction_settings.sql"))
            .bind(format!("{}ms", limits.lock.as_millis()))
            .bind(format!("{}ms", limits.statement.as_millis()))
            .bind("10s")
            .bind(rule.map_or("", Rule::as_str))
            .bind(own_path)
            .fetch_one_on(&mut tx)
            .await
            .map_err(StorageError::during(WHAT))?;
        BEGUN.try_with(|backend| *backend.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun)).ok();
        Ok(tx)
    }

    pub(super) async fn commit(tx: Transaction<'static, Postgres>) -> Result<(), StorageError> {
        tx.commit().await.map_err(StorageError::during("commit"))
    }
}

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
