use crate::doctor::Finding;
use crate::storage::TableUpkeep;

/// Autovacuum looks once a minute and takes its time; several times the number at which it starts is behind.
const FAR_BEHIND: i64 = 5;
const FEW_DEAD_ROWS: i64 = 10_000;

pub(in crate::doctor) fn autovacuum(table: &TableUpkeep, server: bool) -> Finding {
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
}
