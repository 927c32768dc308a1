use std::time::Duration;

use secrecy::SecretString;
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::check_id::{CheckId, DatabaseCheck};
use super::checks::autovacuum::autovacuum;
use super::checks::connection::{database_not_connected, unusable_url};
use super::checks::encryption::database_encryption;
use super::checks::foreign_keys::references;
use super::checks::indexes::indexes;
use super::checks::outbox::outbox;
use super::checks::passes::{completes, sweep};
use super::checks::pause::paused;
use super::checks::retention::{never_expiring, retention};
use super::checks::row_level_security::{isolation, role};
use super::checks::schema::schema;
use super::checks::server::{clocks, pooling, transaction_timeout, writable};
use super::checks::table::table;
use super::checks::version::database_version;
use super::finding::Finding;
use crate::clock;
use crate::policy::PassName;
use crate::storage::{
    AccessError, Backlog, Database, OutboxTrigger, ServerFacts, StorageError, TableProtection, Verdict,
};

/// How often passes should complete.
#[derive(Debug, Clone, Copy)]
pub struct PassIntervals {
    /// Between TTL sweeps.
    pub sweep_interval: Duration,
    /// Between evictions.
    pub evict_interval: Duration,
}

/// What was found at the database.
#[derive(Debug)]
pub struct DatabaseReport {
    /// In the order of [`DatabaseCheck::ALL`].
    pub findings: Vec<Finding>,
    /// Whether the worker also publishes.
    pub outbox_installed: bool,
}

/// For all checks together; each statement has a shorter limit.
const TIMEOUT: Duration = Duration::from_mins(1);
/// One transaction at a time.
const CONNECTIONS: u32 = 1;

/// Checks the database.
pub async fn examine_database(url: Option<&SecretString>, intervals: PassIntervals) -> DatabaseReport {
    let database = match Database::read_only(url, CONNECTIONS) {
        Ok(database) => database,
        Err(error) => {
            return DatabaseReport {
                findings: vec![unusable_url(DatabaseCheck::Url, &error)],
                outbox_installed: false,
            };
        }
    };
    let examination = DatabaseExamination {
        database,
        intervals,
        server: OnceCell::new(),
        protection: OnceCell::new(),
        backlog: OnceCell::new(),
        triggers: OnceCell::new(),
    };
    let findings = examination.run().await;
    examination.database.close().await;
    let outbox_installed = examination.triggers.get().is_some_and(|triggers| !triggers.is_empty());
    DatabaseReport { findings, outbox_installed }
}

/// The checks and the facts that several of them need, each read once.
struct DatabaseExamination {
    database: Database,
    intervals: PassIntervals,
    server: OnceCell<Server>,
    protection: OnceCell<TableProtection>,
    backlog: OnceCell<Option<Backlog>>,
    triggers: OnceCell<Vec<OutboxTrigger>>,
}

/// What the server says of itself, and when.
struct Server {
    facts: ServerFacts,
    /// By this machine's clock, in the middle between question and answer.
    asked_at: OffsetDateTime,
    /// Half of the time between question and answer.
    uncertainty: Duration,
}

impl DatabaseExamination {
    async fn run(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let checks = async {
            for check in DatabaseCheck::ALL {
                match self.check(check).await {
                    Ok(found) => findings.extend(found),
                    Err(error) => {
                        findings.push(not_found_out(check, &error));
                        break;
                    }
                }
                if findings.last().is_some_and(|finding| finding.check.is_whole_server()) {
                    break;
                }
            }
        };
        // What was found is kept when time runs out.
        if timeout(TIMEOUT, checks).await.is_err() {
            findings.push(Finding::failed(
                CheckId::WholeDatabase,
                format!("the checks did not end within {TIMEOUT:?}"),
                "the database is very slow or does not answer; try again",
            ));
        }
        findings
    }

    /// Makes one check. A finding of [`CheckId::WholeDatabase`] is the last one: the checks after it need what is missing.
    async fn check(&self, check: DatabaseCheck) -> Result<Vec<Finding>, StorageError> {
        let database = &self.database;
        Ok(match check {
            // An unusable one has ended the checks before.
            DatabaseCheck::Url => vec![],
            DatabaseCheck::Tls => vec![database_encryption(database.encryption(), &database.host())],
            DatabaseCheck::Connection => self.connection().await,
            DatabaseCheck::Version => vec![database_version(&self.server().await?.facts)],
            DatabaseCheck::Timeout => transaction_timeout(&self.server().await?.facts).into_iter().collect(),
            DatabaseCheck::Writable => vec![writable(&self.server().await?.facts)],
            DatabaseCheck::Clock => {
                let Server { facts, asked_at, uncertainty } = self.server().await?;
                let apart: time::Duration = facts.now - *asked_at;
                vec![clocks(apart.unsigned_abs(), apart.is_positive(), *uncertainty)]
            }
            DatabaseCheck::Pooler => vec![pooling(database.pooling().await?, &database.host())],
            DatabaseCheck::Schema => self.schema().await?,
            DatabaseCheck::Table => {
                let protection = self.protection().await?;
                table(database.table_shape().await?, protection)
            }
            DatabaseCheck::Isolation => vec![isolation(self.protection().await?)],
            DatabaseCheck::Role => self.role().await?,
            DatabaseCheck::Indexes => indexes(&database.indexes().await?),
            DatabaseCheck::References => references(&database.foreign_keys().await?),
            DatabaseCheck::Retention => self.retention().await?,
            DatabaseCheck::Autovacuum => match database.vacuum_state().await? {
                Some(upkeep) => vec![autovacuum(&upkeep, self.server().await?.facts.autovacuum)],
                None => vec![],
            },
            DatabaseCheck::Pause => match unless_denied(database.pause_list().await)? {
                Some(list) => paused(&list),
                None => vec![Finding::skipped(check, "the role may not read it")],
            },
            DatabaseCheck::Sweep => vec![match self.backlog().await? {
                Some(backlog) => sweep(backlog, self.intervals.sweep_interval),
                None => Finding::skipped(check, "the role may not read snapshots and leases"),
            }],
            DatabaseCheck::Evict => vec![match self.backlog().await? {
                Some(backlog) => completes(PassName::Cap, backlog, self.intervals.evict_interval),
                None => Finding::skipped(check, "the role may not read snapshots and leases"),
            }],
            DatabaseCheck::Outbox => {
                let triggers = self.triggers.get_or_try_init(|| database.outbox_triggers()).await?;
                vec![match unless_denied(database.outbox_backlog().await)? {
                    Some(backlog) => outbox(triggers, backlog),
                    None => Finding::skipped(check, "the role may not read it"),
                }]
            }
        })
    }

    async fn connection(&self) -> Vec<Finding> {
        let database = &self.database;
        match database.try_to_connect().await {
            Ok(()) => vec![Finding::ok(
                DatabaseCheck::Connection,
                format!("PostgreSQL at {} answers for database {}", database.host(), database.name()),
            )],
            Err(failure) => vec![
                database_not_connected(&failure, &database.host()),
                Finding::skipped(CheckId::WholeDatabase, "everything else needs a connection"),
            ],
        }
    }

    async fn schema(&self) -> Result<Vec<Finding>, StorageError> {
        let migrations = self.database.migrations_state().await?;
        let mut findings = vec![schema(&migrations)];
        if !migrations.missing.is_empty() {
            let reason = "privileges, indexes, passes and outbox need the schema";
            findings.push(Finding::skipped(CheckId::WholeDatabase, reason));
        }
        Ok(findings)
    }

    async fn role(&self) -> Result<Vec<Finding>, StorageError> {
        let facts = &self.server().await?.facts;
        match self.database.access_check().await {
            Ok(()) => Ok(vec![role(facts, self.protection().await?)]),
            Err(AccessError::Role(problems)) => Ok(problems
                .into_iter()
                .map(|problem| {
                    Finding::failed(
                        DatabaseCheck::Role,
                        format!("role {}: {problem}", facts.role),
                        "deploy/sql/worker-role.sql makes a role that can",
                    )
                })
                .collect()),
            // Reported by the checks of schema and table.
            Err(AccessError::Table(_) | AccessError::NotMigrated(_)) => {
                Ok(vec![Finding::skipped(DatabaseCheck::Role, "the table has to be fixed first")])
            }
            Err(AccessError::Storage(error)) => Err(error),
        }
    }

    async fn retention(&self) -> Result<Vec<Finding>, StorageError> {
        let protection = self.protection().await?;
        // What is denied is reported by the role's check.
        let policy = unless_denied(self.database.retention_list().await)?;
        let mut findings: Vec<_> = policy.iter().map(|policy| retention(policy, protection)).collect();
        if protection.expiry_may_be_missing {
            let rows = unless_denied(self.database.restamp_count_without_expiry().await)?;
            findings.extend(rows.and_then(never_expiring));
        }
        Ok(findings)
    }

    async fn server(&self) -> Result<&Server, StorageError> {
        self.server
            .get_or_try_init(async || {
                let before = clock::now();
                let facts = self.database.server_facts().await?;
                let took = clock::now() - before;
                Ok(Server { facts, asked_at: before + took / 2, uncertainty: took.unsigned_abs() / 2 })
            })
            .await
    }

    async fn protection(&self) -> Result<TableProtection, StorageError> {
        self.protection.get_or_try_init(|| self.database.protection()).await.copied()
    }

    /// `None` where the role may not read it.
    async fn backlog(&self) -> Result<Option<&Backlog>, StorageError> {
        Ok(self.backlog.get_or_try_init(async || unless_denied(self.database.backlog().await)).await?.as_ref())
    }
}

fn unless_denied<T>(read: Result<T, StorageError>) -> Result<Option<T>, StorageError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_permission_denied() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The check could not be made.
fn not_found_out(check: DatabaseCheck, error: &StorageError) -> Finding {
    let fix = if error.is_permission_denied() {
        "deploy/sql/worker-role.sql makes a role that may"
    } else if error.verdict() == Verdict::Outage {
        "the database stopped answering; try again when it does"
    } else {
        "see what PostgreSQL says, and try again"
    };
    Finding::failed(check, error.one_line(), fix)
}
