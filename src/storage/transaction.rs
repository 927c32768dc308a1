//! The one way to a transaction: [`Database::begin`], then the methods of [`Tx`], then [`Tx::commit`].
//!
//! A transaction knows what it is for, which every error says, and until when it must be over. Dropped without a commit, it is rolled
//! back. What must not be lost of a transaction that is given up:
//!
//! - no answer in time: a server that vanished without a word (a cut network, a COMMIT that waits for a standby) would be waited for as
//!   long as TCP does, which is a quarter of an hour. All connections of the pool lead to the same place, so all are replaced, and the
//!   backend is ended as soon as the server answers ([`Outstanding`](super::connection::outstanding::Outstanding));
//! - the caller stopped waiting, with a statement under way: its backend is ended at the next check, or at exit;
//! - the session only reads: it keeps the default that it began with, and outlives a primary's turning into a standby, so it would go on
//!   so for as long as it lives. The pool is replaced.

#![expect(
    clippy::disallowed_methods,
    reason = "a script of several statements has no parameters, so it is not prepared"
)]

use std::pin::pin;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Postgres, Row, SqlSafeStr, Transaction};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::connection::outstanding::Backend;
use super::connection::pool::ConnectionPool;
use super::database::Database;
use super::error::StorageError;
use super::limits::Limits;
use super::statement::{Statement, sql};
use crate::policy::Rule;

/// A transaction left open by a worker that was stopped (SIGSTOP, a frozen machine) releases its locks after this.
const IDLE_IN_TRANSACTION: &str = "10s";

/// A transaction under way.
#[must_use = "dropped, it is rolled back"]
pub(in crate::storage) struct Tx {
    transaction: Transaction<'static, Postgres>,
    // Behind the transaction, because it is dropped after it.
    watch: Watch,
}

impl Database {
    /// Begins a transaction whose timeouts are its own and whose isolation does not depend on the database's default. `operation`
    /// completes the sentence "could not …".
    ///
    /// `search_path` is ours: a function, an operator or a type that somebody has put into another schema under the name of one of
    /// PostgreSQL's is not even considered. `pg_temp` is named last, because it comes first where it is not named.
    pub(in crate::storage) async fn begin(&self, limits: Limits, operation: &'static str) -> Result<Tx, StorageError> {
        self.begin_with(limits, operation, Settings { path: SearchPath::Ours, rule: None, team_id: None }).await
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
    pub(in crate::storage) async fn begin_with_triggers(
        &self,
        limits: Limits,
        operation: &'static str,
    ) -> Result<Tx, StorageError> {
        self.begin_for_team(limits, None, operation).await
    }

    /// Begins a transaction that deletes by a rule, which the backend's triggers can read: they run, so it is as one of
    /// [`begin_with_triggers`](Self::begin_with_triggers).
    pub(in crate::storage) async fn begin_delete(
        &self,
        limits: Limits,
        rule: Rule,
        operation: &'static str,
    ) -> Result<Tx, StorageError> {
        self.begin_delete_for_team(limits, rule, None, operation).await
    }

    /// The same as [`begin_with_triggers`](Self::begin_with_triggers) on behalf of a team, which the backend's row-level security policies
    /// read.
    pub(in crate::storage) async fn begin_for_team(
        &self,
        limits: Limits,
        team_id: Option<Uuid>,
        operation: &'static str,
    ) -> Result<Tx, StorageError> {
        self.begin_with(limits, operation, Settings { path: SearchPath::OfTheRole, rule: None, team_id }).await
    }

    /// The same as [`begin_delete`](Self::begin_delete) on behalf of a team.
    pub(in crate::storage) async fn begin_delete_for_team(
        &self,
        limits: Limits,
        rule: Rule,
        team_id: Option<Uuid>,
        operation: &'static str,
    ) -> Result<Tx, StorageError> {
        self.begin_with(limits, operation, Settings { path: SearchPath::OfTheRole, rule: Some(rule), team_id }).await
    }

    async fn begin_with(
        &self,
        limits: Limits,
        operation: &'static str,
        settings: Settings,
    ) -> Result<Tx, StorageError> {
        let pool = self.pool();
        let limits = limits.with_statement(self.statement_timeout());
        let deadline = Instant::now() + limits.whole(pool.acquire_timeout());
        let settings = AssertSqlSafe(settings.statement(limits));
        let mut attempt = pin!(timeout_at(deadline, async {
            let mut transaction = pool.begin(self.begin_statement(), operation).await?;
            let row = sqlx::raw_sql(settings).fetch_one(&mut *transaction).await;
            let backend = row.and_then(|row| Ok(Backend { pid: row.try_get("pid")?, began: row.try_get("began")? }));
            Ok((transaction, backend.map_err(StorageError::during(operation))?))
        }));
        let begun = attempt.as_mut().await.unwrap_or_else(|_| Err(StorageError::no_answer(operation)));
        // While what has begun is not dropped yet, see `ConnectionPool::reset`.
        if begun.as_ref().is_err_and(|error| error.is_silence() || error.is_read_only()) {
            pool.reset();
        }
        let (transaction, backend) = begun?;
        let watch = Watch { pool: Arc::clone(pool), operation, deadline, backend, is_waiting: false };
        Ok(Tx { transaction, watch })
    }
}

struct Settings {
    path: SearchPath,
    rule: Option<Rule>,
    team_id: Option<Uuid>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SearchPath {
    Ours,
    OfTheRole,
}

impl Settings {
    /// The text of `transaction_settings.sql` with its values: numbers, names of ours, a UUID, so nothing to be escaped.
    fn statement(&self, limits: Limits) -> String {
        let values = [
            format!("'{}ms'", limits.lock.as_millis()),
            format!("'{}ms'", limits.statement.as_millis()),
            format!("'{IDLE_IN_TRANSACTION}'"),
            format!("'{}'", self.rule.map_or("", Rule::as_str)),
            (self.path == SearchPath::Ours).to_string(),
            format!("'{}'", self.team_id.map(|team_id| team_id.to_string()).unwrap_or_default()),
        ];
        let put = |text: String, (index, value): (usize, &String)| text.replace(&format!("${}", index + 1), value);
        values.iter().enumerate().fold(sql!("transaction_settings.sql").to_owned(), put)
    }
}

impl Tx {
    /// What it is for.
    pub(in crate::storage) const fn operation(&self) -> &'static str {
        self.watch.operation
    }

    /// Runs a statement and returns how many rows it affected.
    pub(in crate::storage) async fn execute<O>(&mut self, statement: Statement<O>) -> Result<u64, StorageError> {
        self.watch.answer(statement.execute_on(&mut self.transaction)).await
    }

    /// Runs statements that have no binds and no answer.
    pub(in crate::storage) async fn execute_script(&mut self, script: impl SqlSafeStr) -> Result<(), StorageError> {
        self.watch.answer(sqlx::raw_sql(script).execute(&mut *self.transaction)).await?;
        Ok(())
    }

    /// The only row of a statement's answer.
    pub(in crate::storage) async fn fetch_one<O>(&mut self, statement: Statement<O>) -> Result<O, StorageError> {
        self.watch.answer(statement.fetch_one_on(&mut self.transaction)).await
    }

    /// The row of a statement's answer, if there is one.
    pub(in crate::storage) async fn fetch_optional<O>(
        &mut self,
        statement: Statement<O>,
    ) -> Result<Option<O>, StorageError> {
        self.watch.answer(statement.fetch_optional_on(&mut self.transaction)).await
    }

    /// All rows of a statement's answer.
    pub(in crate::storage) async fn fetch_all<O>(&mut self, statement: Statement<O>) -> Result<Vec<O>, StorageError> {
        self.watch.answer(statement.fetch_all_on(&mut self.transaction)).await
    }

    /// Commits, and passes the value on: what the transaction found holds only now. After an error it may be committed or not.
    pub(in crate::storage) async fn commit<T>(self, value: T) -> Result<T, StorageError> {
        let Self { transaction, mut watch } = self;
        watch.answer(transaction.commit()).await?;
        Ok(value)
    }
}

/// Bounds each await of a transaction, and remembers its backend where nobody waits for it any more.
struct Watch {
    pool: Arc<ConnectionPool>,
    operation: &'static str,
    deadline: Instant,
    backend: Backend,
    /// For an answer of the server.
    is_waiting: bool,
}

impl Watch {
    async fn answer<T>(&mut self, work: impl Future<Output = sqlx::Result<T>>) -> Result<T, StorageError> {
        self.is_waiting = true;
        let mut work = pin!(timeout_at(self.deadline, work));
        let answer = work.as_mut().await;
        self.is_waiting = false;
        // The pool is reset while the connection, which `work` may own, is not dropped yet.
        let Ok(answer) = answer else {
            self.pool.outstanding.abandon(self.backend);
            self.pool.reset();
            return Err(StorageError::no_answer(self.operation));
        };
        answer.map_err(|error| {
            let error = StorageError::during(self.operation)(error);
            if error.is_read_only() {
                self.pool.reset();
            }
            error
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.is_waiting {
            self.pool.outstanding.dropped(self.backend);
        }
    }
}
