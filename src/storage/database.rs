use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use super::connection::database_url;
use super::connection::pool::{ConnectionPool, PoolSettings};
use crate::setting::ConfigError;

/// The database, with a small pool: a batch, two passes and a probe at most are under way at once.
#[derive(Clone)]
pub struct Database {
    pool: Arc<ConnectionPool>,
    begin: &'static str,
    /// Instead of an operation's own.
    statement_timeout: Option<Duration>,
}

/// As PostgreSQL lists the connections, unless the URL has a name.
const APPLICATION_NAME: &str = "snapshot-lifecycle";
/// For a free connection, a new one included.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Not READ WRITE: a database that only reads by default (a nearly full disk's guard) is respected, and waited for.
const READ_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const READ_ONLY: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY";

impl Database {
    /// Reads the URL; connects at first use, so a database that is away is no error here.
    ///
    /// # Errors
    /// If the URL cannot be read.
    pub fn new(url: Option<&SecretString>, connections: u32) -> Result<Self, ConfigError> {
        Self::named(url, connections, APPLICATION_NAME)
    }

    /// The same with a name that PostgreSQL lists the connections by, unless the URL has one.
    pub(super) fn named(url: Option<&SecretString>, connections: u32, name: &str) -> Result<Self, ConfigError> {
        let mut options = database_url::parse(url.map(ExposeSecret::expose_secret))?
            // A pooler refuses start-up parameters that it does not know, and this one is sent by default.
            .extra_float_digits(None)
            // Named statements belong to a session, and behind a pooler there is none.
            .statement_cache_capacity(0);
        if options.get_application_name().is_none() {
            options = options.application_name(name);
        }
        let settings = PoolSettings { options, connections, acquire: ACQUIRE_TIMEOUT };
        Ok(Self::on(ConnectionPool::new(settings)))
    }

    /// On a pool of somebody else's, which stays as it is.
    #[must_use]
    pub(super) fn with_pool(pool: PgPool) -> Self {
        Self::on(ConnectionPool::of_another(pool))
    }

    fn on(pool: ConnectionPool) -> Self {
        Self { pool: Arc::new(pool), begin: READ_WRITE, statement_timeout: None }
    }

    /// The same with connections of its own, by other settings; on somebody else's pool nothing changes.
    #[must_use]
    pub(super) fn with_settings(self, change: impl FnOnce(PoolSettings) -> PoolSettings) -> Self {
        let pool = self.pool.changed(change).map_or(self.pool, Arc::new);
        Self { pool, ..self }
    }

    /// The same with this timeout for every statement.
    #[must_use]
    pub(super) fn with_statement_timeout(self, timeout: Duration) -> Self {
        Self { statement_timeout: Some(timeout), ..self }
    }

    /// The same, but the server itself refuses every change.
    ///
    /// # Errors
    /// If the URL cannot be read.
    pub fn read_only(url: Option<&SecretString>, connections: u32) -> Result<Self, ConfigError> {
        Ok(Self { begin: READ_ONLY, ..Self::new(url, connections)? })
    }

    /// Ends transactions of ours whose callers have gone, so that what they locked is free at once and not when the server notices.
    pub async fn end_dropped(&self) {
        Box::pin(self.pool.check_now()).await.ok();
    }

    /// Closes the connections, waiting at most a second for those in use, and ends what is still open.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) const fn statement_timeout(&self) -> Option<Duration> {
        self.statement_timeout
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

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive() // neither the URL nor the password
    }
}
