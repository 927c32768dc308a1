use std::time::Duration;

use tokio::time::timeout;

use super::Finding;
use super::checks::autovacuum::autovacuum;
use super::checks::connection::database_not_connected;
use super::checks::encryption::database_encryption;
use super::checks::foreign_keys::references;
use super::checks::indexes::indexes;
use super::checks::outbox::outbox;
use super::checks::passes::{eviction, sweep};
use super::checks::retention::{never_expiring, retention};
use super::checks::row_level_security::{isolation, role};
use super::checks::schema::schema;
use super::checks::server::{clocks, pooling, writable};
use super::checks::table::table;
use super::checks::version::database_version;
use crate::clock;
use crate::storage::{AccessError, Database, StorageError, Verdict};

/// How often passes should end well.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between TTL sweeps.
    pub sweep_interval: Duration,
    /// Between evictions.
    pub evict_interval: Duration,
}

/// For everything together; single statements end long before.
const AT_MOST: Duration = Duration::from_mins(1);

/// Makes the checks of the database, in an order in which the first failure explains those after it. Also says whether the outbox is
/// installed, so that the worker publishes too.
pub async fn examine_database(database: &Database, patience: Patience) -> (Vec<Finding>, bool) {
    let mut findings = vec![database_encryption(database.encryption(), &database.host())];
    let mut publishes = false;
    match database.try_to_connect().await {
        Ok(()) => {
            let says = format!("PostgreSQL at {} answers for database {}", database.host(), database.name());
            findings.push(Finding::ok("database.connection", says));
        }
        Err(failure) => {
            findings.push(database_not_connected(&failure, &database.host()));
            findings.push(Finding::skipped("database", "everything else needs a connection"));
            return (findings, publishes);
        }
    }
    // What was found is kept where time runs out.
    match timeout(AT_MOST, examine(database, patience, &mut findings, &mut publishes)).await {
        Ok(Ok(())) => {}
        Ok(Err((check, error))) if error.is_permission_denied() => {
            findings.push(Finding::failed(check, error.one_line(), "deploy/sql/worker-role.sql makes a role that may"));
        }
        Ok(Err((check, error))) if error.verdict() == Verdict::Outage => {
            findings.push(Finding::failed(
                check,
                error.one_line(),
                "the database stopped answering; try again when it does",
            ));
        }
        Ok(Err((check, error))) => {
            findings.push(Finding::failed(check, error.one_line(), "see what PostgreSQL says, and try again"));
        }
        Err(_) => findings.push(Finding::failed(
            "database",
            format!("the checks did not end within {AT_MOST:?}"),
            "the database is very slow or stands still; try again",
        )),
    }
    (findings, publishes)
}

type Failed = (&'static str, StorageError);

async fn examine(
    database: &Database,
    patience: Patience,
    findings: &mut Vec<Finding>,
    publishes: &mut bool,
) -> Result<(), Failed> {
    let of = |check: &'static str| move |error: StorageError| (check, error);
    let before = clock::now();
    let server = database.server_facts().await.map_err(of("database.version"))?;
    let (local, doubt) = (before + (clock::now() - before) / 2, (clock::now() - before).unsigned_abs() / 2);
    findings.push(database_version(&server));
    if let Some(timeout) = &server.transaction_timeout {
        findings.push(Finding::ok(
            "database.timeout",
            format!(
                "transaction_timeout is {timeout} for the role or the database; the worker's transactions go without it"
            ),
        ));
    }
    findings.push(writable(&server));
    let apart: time::Duration = server.now - local;
    findings.push(clocks(apart.unsigned_abs(), apart.is_positive(), doubt));
    findings.push(pooling(database.pooling().await.map_err(of("database.pooler"))?));

    let migrations = database.migration_state().await.map_err(of("database.schema"))?;
    let there = migrations.missing.is_empty();
    findings.push(schema(&migrations));
    if !there {
        findings.push(Finding::skipped("database", "privileges, indexes, passes and outbox need the schema"));
        return Ok(());
    }
    let guards = database.guards().await.map_err(of("database.isolation"))?;
    findings.extend(table(database.misshapes().await.map_err(of("database.table"))?, guards));
    findings.push(isolation(guards));
    match database.check_access().await {
        Ok(()) => findings.push(role(&server, guards)),
        Err(AccessError::Role(problems)) => findings.extend(problems.into_iter().map(|problem| {
            Finding::failed(
                "database.role",
                format!("role {}: {problem}", server.role),
                "deploy/sql/worker-role.sql makes a role that can",
            )
        })),
        // Said already.
        Err(AccessError::Table(_) | AccessError::NotMigrated(_)) => {
            findings.push(Finding::skipped("database.role", "the table has to be put right first"));
        }
        Err(AccessError::Storage(error)) => return Err(("database.role", error)),
    }
    findings.extend(indexes(&database.indexes().await.map_err(of("database.indexes"))?));
    findings.extend(references(&database.references().await.map_err(of("database.references"))?));
    match database.retention().await {
        Err(error) if error.is_permission_denied() => {} // said by the role's check
        policy => findings.push(retention(&policy.map_err(of("database.retention"))?, guards)),
    }
    if guards.expiry_may_be_missing {
        match database.rows_without_expires_at().await {
            Err(error) if error.is_permission_denied() => {} // said by the role's check
            rows => findings.extend(never_expiring(rows.map_err(of("database.retention"))?)),
        }
    }
    if let Some(upkeep) = database.upkeep().await.map_err(of("database.autovacuum"))? {
        findings.push(autovacuum(&upkeep, server.autovacuum));
    }
    let backlog = match database.backlog().await {
        Err(error) if error.is_permission_denied() => {
            findings.push(Finding::skipped("database.sweep", "the role may not look at snapshots and leases"));
            return Ok(());
        }
        other => other.map_err(of("database.sweep"))?,
    };
    findings.push(sweep(&backlog, patience.sweep_interval));
    findings.push(eviction(&backlog, patience.evict_interval));
    let triggers = database.outbox_triggers().await.map_err(of("database.outbox"))?;
    *publishes = !triggers.is_empty();
    match database.outbox_backlog().await {
        Err(error) if error.is_permission_denied() => {
            findings.push(Finding::skipped("database.outbox", "the role may not look at it"));
        }
        other => findings.push(outbox(&triggers, other.map_err(of("database.outbox"))?)),
    }
    Ok(())
}
