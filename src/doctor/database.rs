use std::time::Duration;

use tokio::time::timeout;

use super::Finding;
use super::upkeep::{
    autovacuum, eviction, indexes, isolation, never_expiring, outbox, references, retention, sweep, table,
};
use crate::clock;
use crate::storage::{
    AccessError, ConnectFailure, Database, Encryption, Guards, MigrationState, Pooling, ServerFacts, StorageError,
    Verdict,
};

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
const OLDEST_VERSION: i32 = 150_000;
/// Beyond it a status that was reached before a snapshot was made may look later, or the other way round.
const CLOCKS_APART: Duration = Duration::from_secs(2);

/// Makes the checks of the database, in an order in which the first failure explains those after it. Also says whether the outbox is
/// installed, so that the worker publishes too.
pub async fn examine_database(database: &Database, patience: Patience) -> (Vec<Finding>, bool) {
    let mut findings = vec![encryption(database.encryption(), &database.host())];
    let mut publishes = false;
    match database.try_to_connect().await {
        Ok(()) => {
            let says = format!("PostgreSQL at {} answers for database {}", database.host(), database.name());
            findings.push(Finding::ok("database.connection", says));
        }
        Err(failure) => {
            findings.push(unconnected(&failure, &database.host()));
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
    findings.push(version(&server));
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

fn encryption(encryption: Encryption, host: &str) -> Finding {
    const CHECK: &str = "database.tls";
    const MEND: &str = "add sslmode=verify-full to DATABASE_URL, and sslrootcert=FILE where the certificate is signed by the provider's own authority (Supabase)";
    match encryption {
        Encryption::Local => Finding::ok(CHECK, "the database is on this machine"),
        Encryption::Full => Finding::ok(CHECK, "encrypted, and the server's name is verified (sslmode=verify-full)"),
        Encryption::Authority => Finding::warning(
            CHECK,
            format!("any server with a certificate of the same authority could pass for {host} (sslmode=verify-ca)"),
            MEND,
        ),
        Encryption::Unverified => {
            Finding::warning(CHECK, format!("encrypted, but anybody could pass for {host} (sslmode=require)"), MEND)
        }
        Encryption::Opportunistic => Finding::warning(
            CHECK,
            format!("perhaps not encrypted, and anybody could pass for {host} (sslmode=prefer, the default, or allow)"),
            MEND,
        ),
        Encryption::Off => {
            Finding::warning(CHECK, format!("password and data go to {host} in the clear (sslmode=disable)"), MEND)
        }
    }
}

fn unconnected(failure: &ConnectFailure, host: &str) -> Finding {
    Finding::failed("database.connection", format!("PostgreSQL at {host} cannot be used: {failure}"), failure.fix())
}

fn version(server: &ServerFacts) -> Finding {
    const CHECK: &str = "database.version";
    if server.version_number < OLDEST_VERSION {
        return Finding::failed(
            CHECK,
            format!("PostgreSQL {} is too old", server.version),
            "upgrade to PostgreSQL 15 or newer",
        );
    }
    Finding::ok(CHECK, format!("PostgreSQL {}", server.version))
}

fn writable(server: &ServerFacts) -> Finding {
    const CHECK: &str = "database.writable";
    match server.read_only.as_deref() {
        None => Finding::ok(CHECK, "it takes writes"),
        Some("standby") => {
            Finding::failed(CHECK, "it is a standby, which only reads", "point DATABASE_URL at the primary")
        }
        Some(_) => Finding::failed(
            CHECK,
            "transactions only read by default (default_transaction_read_only), as Supabase has it while a disk is nearly full; the worker holds its messages",
            "make room on the disk, or find out who set it: ALTER DATABASE … RESET default_transaction_read_only;",
        ),
    }
}

fn clocks(apart: Duration, ahead: bool, doubt: Duration) -> Finding {
    const CHECK: &str = "database.clock";
    let (seconds, which) = (apart.as_secs_f64(), if ahead { "ahead of" } else { "behind" });
    if apart > CLOCKS_APART + doubt {
        return Finding::warning(
            CHECK,
            format!(
                "the database's clock is {seconds:.1} s {which} this machine's; the backend's occurred_at is compared with the database's created_at"
            ),
            "have both machines, and the backend's, set their clocks by NTP",
        );
    }
    Finding::ok(
        CHECK,
        format!("the database's clock and this machine's agree within {:.1} s", apart.as_secs_f64().max(0.1)),
    )
}

fn pooling(pooling: Pooling) -> Finding {
    const CHECK: &str = "database.pooler";
    Finding::ok(
        CHECK,
        match pooling {
            Pooling::Direct => "a connection has its session for itself",
            Pooling::Session => "a pooler in session mode or a forwarded port; the outbox is looked at twice a second",
            Pooling::Transaction => {
                "a pooler in transaction mode, which will do; the outbox is looked at twice a second"
            }
        },
    )
}

fn schema(state: &MigrationState) -> Finding {
    const CHECK: &str = "database.schema";
    const MIGRATE: &str = "run `snapshot-lifecycle migrate` with the role that owns the backend's tables";
    let listed = |versions: &[i64]| versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !state.changed.is_empty() {
        return Finding::failed(
            CHECK,
            format!("applied from files with other contents: {}", listed(&state.changed)),
            "this program and the database do not belong together: use the release that migrated it",
        );
    }
    if state.never {
        return Finding::failed(CHECK, "the database was never migrated", MIGRATE);
    }
    if !state.missing.is_empty() {
        return Finding::failed(CHECK, format!("migrations are missing: {}", listed(&state.missing)), MIGRATE);
    }
    if !state.unknown.is_empty() {
        return Finding::warning(
            CHECK,
            format!("the database was migrated by a newer release ({})", listed(&state.unknown)),
            "upgrade this one too",
        );
    }
    Finding::ok(CHECK, "every migration of this program is applied")
}

fn role(server: &ServerFacts, guards: Guards) -> Finding {
    const CHECK: &str = "database.role";
    if guards.isolated && !guards.binds_role {
        return Finding::warning(
            CHECK,
            format!("role {} can do the job, and far more: row-level security does not bind it", server.role),
            "deploy/sql/worker-role.sql makes a role that can do nothing else",
        );
    }
    Finding::ok(CHECK, format!("role {} sees and may delete every snapshot", server.role))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn clocks_apart_are_told_beyond_two_seconds_and_the_doubt_of_the_measurement() {
        let (apart, doubt) = (Duration::from_millis(2100), Duration::from_millis(50));
        let behind = clocks(apart, false, doubt);
        assert_eq!(behind.state, State::Warning);
        assert!(behind.says.contains("2.1 s behind this machine's"), "{behind:?}");
        assert!(clocks(apart, true, doubt).says.contains("2.1 s ahead of"));
        assert_eq!(clocks(apart, true, Duration::from_millis(200)).state, State::Ok);
        assert_eq!(clocks(Duration::from_millis(1900), true, doubt).state, State::Ok);
    }
}
