use crate::doctor::check_id::DatabaseCheck;
use crate::doctor::finding::Finding;
use crate::storage::VacuumState;

/// Autovacuum starts once a minute and takes time, so it is behind only at several times the number at which it starts.
const FAR_BEHIND: i64 = 5;
const FEW_DEAD_ROWS: i64 = 10_000;

pub(in crate::doctor) fn autovacuum(table: &VacuumState, server: bool) -> Finding {
    const CHECK: DatabaseCheck = DatabaseCheck::Autovacuum;
    if !server {
        return Finding::failed(
            CHECK,
            "autovacuum is off for the whole server, so the space of deleted rows is never reused",
            "set autovacuum and track_counts to on in postgresql.conf, and reload",
        );
    }
    if !table.autovacuum {
        return Finding::failed(
            CHECK,
            "autovacuum is off for public.snapshots, so the space of deleted rows is never reused",
            "as the owner: ALTER TABLE public.snapshots RESET (autovacuum_enabled);",
        );
    }
    if table.dead > FEW_DEAD_ROWS && table.dead > FAR_BEHIND.saturating_mul(table.trigger) {
        let last = table.vacuumed_ago.map_or("never".to_owned(), |ago| format!("{} s ago", ago.as_secs()));
        return Finding::warning(
            CHECK,
            format!(
                "far behind: {} dead rows, although it starts at {}; last vacuumed: {last}",
                table.dead, table.trigger
            ),
            "check for old transactions (pg_stat_activity.xact_start), unused replication slots and a low cost limit; then VACUUM public.snapshots;",
        );
    }
    Finding::ok(CHECK, format!("on; {} dead rows, vacuumed at {}", table.dead, table.trigger))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn autovacuum_is_behind_only_several_times_over_its_trigger_and_with_many_rows() {
        let state = |dead, trigger| {
            autovacuum(&VacuumState { autovacuum: true, dead, trigger, vacuumed_ago: None }, true).state
        };
        assert_eq!(state(10_000, 50), State::Ok);
        assert_eq!(state(10_001, 50), State::Warning);
        assert_eq!(state(1_000_000, 200_000), State::Ok);
        assert_eq!(state(1_000_001, 200_000), State::Warning);
    }
}
