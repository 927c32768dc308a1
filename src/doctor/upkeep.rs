//! The checks of table and passes: what keeps the work fast, and whether it is done.

use std::time::Duration;

use super::Finding;
use crate::clock;
use crate::storage::{
    Backlog, Guards, Index, Misshape, Need, OutboxBacklog, OutboxTrigger, Reference, TableUpkeep, TypeRetention, Work,
};

/// A pass is overdue after three intervals and this: it may be long, and the next waits for a free lease.
const GRACE: Duration = Duration::from_mins(5);
/// Autovacuum looks once a minute and takes its time; several times the number at which it starts is behind.
const FAR_BEHIND: i64 = 5;
const FEW_DEAD_ROWS: i64 = 10_000;
/// A record is published within seconds.
const OUTBOX_LATE_SECONDS: i64 = 60;

pub(super) fn isolation(guards: Guards) -> Finding {
    const CHECK: &str = "database.isolation";
    if guards.isolated {
        return Finding::ok(CHECK, "row-level security is on for public.snapshots");
    }
    Finding::warning(
        CHECK,
        "row-level security is off for public.snapshots: the backend's roles see the snapshots of every team",
        "as the owner: ALTER TABLE public.snapshots ENABLE ROW LEVEL SECURITY;",
    )
}

/// Whether the statements reach the table as a whole, and no further than the rules say.
pub(super) fn table(misshapes: Vec<Misshape>, guards: Guards) -> Vec<Finding> {
    const CHECK: &str = "database.table";
    let mut findings: Vec<_> = misshapes
        .into_iter()
        .map(|it| Finding::failed(CHECK, format!("public.snapshots: {}", it.says), it.fix))
        .collect();
    if guards.published_without_identity {
        findings.push(Finding::failed(
            CHECK,
            "public.snapshots is published for logical replication without a replica identity, so PostgreSQL refuses each delete",
            "as the owner: ALTER TABLE public.snapshots REPLICA IDENTITY DEFAULT; (it uses the primary key; FULL where there is none)",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "an ordinary table whose id is unique"));
    }
    findings
}

/// Rows that no sweep ever takes.
pub(super) fn never_expiring(rows: i64) -> Option<Finding> {
    (rows > 0).then(|| {
        Finding::warning(
            "database.retention",
            format!("{rows} snapshots have no expires_at, so they never expire"),
            "snapshot-lifecycle retention set '*' --ttl 7d --restamp --yes, and the same for each type with a TTL of its own",
        )
    })
}

pub(super) fn retention(policy: &[TypeRetention], guards: Guards) -> Finding {
    const CHECK: &str = "database.retention";
    if !policy.iter().any(|row| row.snapshot_type == "*") {
        return Finding::failed(
            CHECK,
            "the retention policy has no row for *: snapshots of a type that is not listed cannot be made without expires_at",
            "snapshot-lifecycle retention set '*' --ttl 7d --keep-after-event false --yes",
        );
    }
    if !guards.fills_expiry {
        return Finding::failed(
            CHECK,
            if guards.expiry_may_be_missing {
                "the trigger that fills a missing expires_at is gone or disabled: such snapshots never expire"
            } else {
                "the trigger that fills a missing expires_at is gone or disabled: such inserts fail"
            },
            "as the owner: ALTER TABLE public.snapshots ENABLE TRIGGER snapshot_lifecycle_fill_expires_at;",
        );
    }
    Finding::ok(
        CHECK,
        format!("{} types and * have their TTL, and an insert without expires_at gets it", policy.len() - 1),
    )
}

pub(super) fn indexes(indexes: &[Index]) -> Vec<Finding> {
    const CHECK: &str = "database.indexes";
    let mut findings = Vec::new();
    for need in Need::ALL {
        if indexes.iter().any(|index| index.valid && index.serves(*need)) {
            continue;
        }
        let (slow, costly) = match need.work {
            Work::EventEnd => ("the end of an event", true),
            Work::Sweep => ("the TTL sweep", true),
            Work::Cap => ("the eviction", true),
            Work::Lists => ("a list of a team's snapshots", false),
        };
        let (says, mend) = match indexes.iter().find(|index| index.serves(*need)) {
            Some(invalid) => (
                format!("index {} is invalid, so {slow} reads the whole table", invalid.name),
                format!("as the owner: REINDEX INDEX CONCURRENTLY {};", invalid.name),
            ),
            None => (
                format!("no index on ({}): {slow} reads the whole table", need.keys),
                format!("as the owner: CREATE INDEX CONCURRENTLY {} ON public.snapshots ({});", need.name, need.keys),
            ),
        };
        findings.push(if costly { Finding::failed(CHECK, says, mend) } else { Finding::warning(CHECK, says, mend) });
    }
    for index in indexes.iter().filter(|index| !index.valid && !Need::ALL.iter().any(|need| index.serves(*need))) {
        findings.push(Finding::warning(
            CHECK,
            format!("index {} is invalid: it costs each insert something and serves nobody", index.name),
            format!("as the owner: DROP INDEX CONCURRENTLY {0}; or REINDEX INDEX CONCURRENTLY {0};", index.name),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "every statement of the worker has its index"));
    }
    findings
}

pub(super) fn references(references: &[Reference]) -> Vec<Finding> {
    const CHECK: &str = "database.references";
    let unindexed = |it: &Reference| {
        let (table, columns) = (&it.table, it.columns_without_index.as_ref()?);
        Some(Finding::failed(
            CHECK,
            format!("{table} refers to snapshots by {columns} without an index: each snapshot deleted reads all of it"),
            format!("as the owner: CREATE INDEX CONCURRENTLY ON {table} ({columns});"),
        ))
    };
    let named = |wanted: fn(&Reference) -> bool| {
        let tables: Vec<_> = references.iter().filter(|it| wanted(it)).map(|it| it.table.as_str()).collect();
        tables.join(", ")
    };
    let mut findings: Vec<_> = references.iter().filter_map(unindexed).collect();
    let (blocking, cascading) = (named(|it| it.blocks), named(|it| it.cascades));
    if !blocking.is_empty() {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "a foreign key of {blocking} keeps snapshots from being deleted, and their messages end as dead letters"
            ),
            "drop the foreign key, or make it ON DELETE CASCADE or SET NULL with an index on its column",
        ));
    } else if !cascading.is_empty() {
        findings.push(Finding::warning(
            CHECK,
            format!("rows of {cascading} go with the snapshots they refer to (ON DELETE CASCADE)"),
            "make sure that this is meant",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "no other table keeps snapshots from being deleted"));
    }
    findings
}

pub(super) fn autovacuum(table: &TableUpkeep, server: bool) -> Finding {
    const CHECK: &str = "database.autovacuum";
    if !server {
        return Finding::failed(
            CHECK,
            "autovacuum is off for the whole server, so the space of deleted rows is never used again",
            "set autovacuum and track_counts to on in postgresql.conf, and reload",
        );
    }
    if !table.autovacuum {
        return Finding::failed(
            CHECK,
            "autovacuum is off for public.snapshots, so the space of deleted rows is never used again",
            "as the owner: ALTER TABLE public.snapshots RESET (autovacuum_enabled);",
        );
    }
    if table.dead > FEW_DEAD_ROWS && table.dead > FAR_BEHIND.saturating_mul(table.trigger) {
        let last = table.vacuumed_seconds_ago.map_or("never".to_owned(), |seconds| format!("{seconds} s ago"));
        return Finding::warning(
            CHECK,
            format!(
                "far behind: {} dead rows, {} would be cleared away; last vacuumed: {last}",
                table.dead, table.trigger
            ),
            "look for old transactions (pg_stat_activity.xact_start), replication slots that nobody reads, and too low a cost limit; then VACUUM public.snapshots;",
        );
    }
    Finding::ok(CHECK, format!("on; {} dead rows, cleared away at {}", table.dead, table.trigger))
}

pub(super) fn sweep(backlog: &Backlog, interval: Duration) -> Finding {
    const CHECK: &str = "database.sweep";
    let overdue = interval * 3 + GRACE;
    if backlog.expired > 0 && backlog.oldest_expired_seconds > overdue.as_secs_f64() {
        return Finding::failed(
            CHECK,
            format!(
                "{} snapshots have expired and are still there, the oldest for {:.0} s",
                backlog.expired, backlog.oldest_expired_seconds
            ),
            "start a worker, or see in its log why the sweep fails or stays behind (LIFECYCLE_DELETE_RATE); `sweep --yes` does one now",
        );
    }
    pass(CHECK, "TTL sweep", backlog.last_ttl_pass, interval)
}

pub(super) fn eviction(backlog: &Backlog, interval: Duration) -> Finding {
    pass("database.evict", "eviction", backlog.last_cap_pass, interval)
}

fn pass(check: &'static str, name: &str, last: Option<time::OffsetDateTime>, interval: Duration) -> Finding {
    const MEND: &str = "start a worker (`run`), or see in its log why the pass does not end well";
    let Some(last) = last else {
        return Finding::warning(check, format!("no {name} has ended well yet"), MEND);
    };
    let seconds = (clock::now() - last).whole_seconds().max(0);
    let overdue = interval * 3 + GRACE;
    if seconds.unsigned_abs() > overdue.as_secs() {
        return Finding::failed(
            check,
            format!("the last {name} ended {seconds} s ago; one is due every {} s", interval.as_secs()),
            MEND,
        );
    }
    Finding::ok(check, format!("the last {name} ended {seconds} s ago"))
}

pub(super) fn outbox(triggers: &[OutboxTrigger], backlog: OutboxBacklog) -> Finding {
    const CHECK: &str = "database.outbox";
    let OutboxBacklog { pending, oldest_seconds } = backlog;
    if pending > 0 && oldest_seconds > OUTBOX_LATE_SECONDS {
        return Finding::failed(
            CHECK,
            format!("{pending} status changes wait to be published, the oldest for {oldest_seconds} s"),
            "start a worker (`run`) with the exchange that `outbox status` names, or see in its log why they are refused or unroutable",
        );
    }
    if let Some((trigger, problem)) = triggers.iter().find_map(|it| Some((it, it.problem.as_ref()?))) {
        let says = format!("the trigger on {} ({}): {problem}", trigger.table, trigger.columns);
        let mend = "`snapshot-lifecycle outbox install` anew, with the names of today, or `outbox uninstall`";
        return if trigger.enabled { Finding::warning(CHECK, says, mend) } else { Finding::failed(CHECK, says, mend) };
    }
    if let Some(trigger) = triggers.iter().find(|trigger| !trigger.enabled) {
        return Finding::failed(
            CHECK,
            format!("a trigger on {} is disabled or gone: not all of its status changes are published", trigger.table),
            "as the owner: ALTER TABLE … ENABLE TRIGGER snapshot_lifecycle_outbox_update (and …_insert), or `outbox install` anew",
        );
    }
    let inserts = |it: &OutboxTrigger| if it.on_insert { ", inserts are recorded too" } else { "" };
    match triggers {
        [] => Finding::ok(CHECK, "not installed; the backend publishes by itself"),
        [one] => Finding::ok(CHECK, format!("on {}{}; {pending} wait", one.table, inserts(one))),
        more => Finding::ok(CHECK, format!("on {} tables; {pending} wait", more.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn autovacuum_is_behind_only_several_times_over_its_trigger_and_with_many_rows() {
        let state = |dead, trigger| {
            autovacuum(&TableUpkeep { autovacuum: true, dead, trigger, vacuumed_seconds_ago: None }, true).state
        };
        assert_eq!(state(10_000, 50), State::Ok);
        assert_eq!(state(10_001, 50), State::Warning);
        assert_eq!(state(1_000_000, 200_000), State::Ok);
        assert_eq!(state(1_000_001, 200_000), State::Warning);
    }

    #[test]
    fn index_with_more_keys_serves_and_one_with_other_or_fewer_does_not() {
        let index = |keys: &str, whole| Index {
            name: "public.i".to_owned(),
            definition: format!("CREATE INDEX i ON public.snapshots USING btree ({keys})"),
            valid: true,
            whole,
        };
        let event = *Need::ALL.iter().find(|need| need.work == Work::EventEnd).unwrap();
        assert!(index("event_id", true).serves(event));
        assert!(index("event_id, team_id", true).serves(event));
        assert!(index("event_id DESC NULLS LAST", true).serves(event), "of one key both directions serve");
        for (keys, whole) in [("event_id", false), ("team_id, event_id", true), ("event_id_hash", true)] {
            assert!(!index(keys, whole).serves(event), "{keys}");
        }
    }
}
