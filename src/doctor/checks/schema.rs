use crate::doctor::check_id::DatabaseCheck;
use crate::doctor::finding::Finding;
use crate::storage::MigrationState;

pub(in crate::doctor) fn schema(state: &MigrationState) -> Finding {
    const CHECK: DatabaseCheck = DatabaseCheck::Schema;
    const MIGRATE: &str = "run `snapshot-lifecycle migrate` with the role that owns the backend's tables";
    let listed = |versions: &[i64]| versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !state.changed.is_empty() {
        return Finding::failed(
            CHECK,
            format!("applied from files with different contents: {}", listed(&state.changed)),
            "use the release that migrated this database",
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
