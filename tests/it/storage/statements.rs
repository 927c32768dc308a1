//! The statements in `src/storage/**/*.sql`: each is one that a migrated database takes, and the hot ones are planned by their index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, PgConnection};

use crate::support::World;

/// The hot statements, with what their plans must have. They are planned with `enable_seqscan = off`: that shows that an index can be
/// used, not that it is chosen, which depends on the rows. `snapshots_list.sql` is not among them: which index serves it depends on its
/// binds, and here they are unknown.
const PLANS: [(&str, &[&str]); 12] = [
    ("rules/event_end_delete.sql", &["idx_snapshots_event"]),
    ("rules/event_end_kept.sql", &["idx_snapshots_event"]),
    ("rules/event_steps_find.sql", &["idx_snapshots_event"]),
    ("rules/event_steps_delete.sql", &["snapshots_pkey"]),
    ("rules/ttl_delete_batch.sql", &["Index Scan using idx_snapshots_expires on snapshots", "Tid Scan on snapshots s"]),
    (
        "rules/cap_evict_batch.sql",
        &[
            "Index Scan using idx_snapshots_team_newest on snapshots",
            "Index Scan Backward using idx_snapshots_team_newest on snapshots s",
            "Tid Scan on snapshots s",
        ],
    ),
    (
        "rules/cap_next.sql",
        &[
            "Index Scan using idx_snapshots_team_newest on snapshots",
            "Index Scan Backward using idx_snapshots_team_newest on snapshots s",
        ],
    ),
    (
        "rules/cap_overfull_teams.sql",
        &["Index Only Scan using idx_snapshots_team", "Index Scan using idx_snapshots_team_newest on snapshots s"],
    ),
    ("rules/ttl_next.sql", &["Index Scan using idx_snapshots_expires on snapshots"]),
    ("snapshots/store_delete_for_event.sql", &["idx_snapshots_event"]),
    ("outbox/outbox_records.sql", &["outbox_pkey", "outbox_event"]),
    ("passes/backlog.sql", &["Index Only Scan using idx_snapshots_expires on snapshots"]),
];

#[tokio::test]
async fn each_sql_file_is_taken_by_a_migrated_database() {
    let world = World::new().await;
    let files = files();
    let parts: BTreeSet<PathBuf> = files.iter().flat_map(|(path, text)| named_in(path, text)).collect();
    assert!(files.len() > 20 && !parts.is_empty(), "{files:?}");
    let mut connection = world.pool.acquire().await.unwrap();
    for path in files.keys().filter(|path| !parts.contains(*path)) {
        let text = assembled(&files, path);
        let head: String = text.lines().take_while(|line| line.starts_with("--")).collect();
        assert!(head.len() > 10, "{}: its head says what it does", path.display());
        begin(&mut connection).await;
        let first = text.lines().find(|line| !line.starts_with("--")).unwrap_or_default();
        let is_statement = ["WITH", "SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|verb| first.starts_with(verb));
        if is_statement {
            run(&mut connection, path, &format!("PREPARE p AS {text}")).await;
            run(&mut connection, path, "DEALLOCATE p").await;
        } else {
            run(&mut connection, path, &text).await;
        }
        run(&mut connection, path, "ROLLBACK").await;
    }
}

#[tokio::test]
async fn hot_statements_are_planned_by_their_indexes() {
    let world = World::new().await;
    let files = files();
    world.insert_many(world.team().await, 2_000).await;
    world.sql("ANALYZE public.snapshots").await;
    let mut connection = world.pool.acquire().await.unwrap();
    for (file, expected) in PLANS {
        let path = storage().join(file);
        begin(&mut connection).await;
        run(&mut connection, &path, &format!("PREPARE p AS {}", assembled(&files, &path))).await;
        let nulls = "SELECT concat_ws(', ', VARIADIC array_fill('NULL'::text, ARRAY[cardinality(parameter_types)])) FROM pg_prepared_statements WHERE name = 'p'";
        let nulls: String = sqlx::query_scalar(nulls).fetch_one(&mut *connection).await.unwrap();
        let execute = if nulls.is_empty() { "p".to_owned() } else { format!("p ({nulls})") };
        let explain = format!("EXPLAIN (COSTS OFF) EXECUTE {execute}");
        let plan: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(explain)).persistent(false).fetch_all(&mut *connection).await.unwrap();
        let plan = plan.join("\n");
        for node in expected {
            assert!(plan.contains(node), "{file} lacks {node}:\n{plan}");
        }
        assert!(!plan.contains("Seq Scan on"), "{file}:\n{plan}");
        run(&mut connection, &path, "DEALLOCATE p").await;
        run(&mut connection, &path, "ROLLBACK").await;
    }
}

fn storage() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/storage")
}

/// The text of every `.sql` file, by its path.
fn files() -> BTreeMap<PathBuf, String> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![storage()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "sql") {
                found.insert(path.clone(), std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// The files that a file has in it.
fn named_in(path: &Path, text: &str) -> Vec<PathBuf> {
    let names = text.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0));
    names.map(|name| path.parent().unwrap().join(name).canonicalize().unwrap()).collect()
}

/// Its text with that of the files that it names, and theirs, as `sql!` puts it together.
fn assembled(files: &BTreeMap<PathBuf, String>, path: &Path) -> String {
    let mut text = files[path].clone();
    while let Some((before, (name, after))) =
        text.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
    {
        let part = &files[&path.parent().unwrap().join(name).canonicalize().unwrap()];
        let body: String = part.split_inclusive('\n').skip_while(|line| line.starts_with("--")).collect();
        text = format!("{before}{}{after}", body.trim_end());
    }
    text
}

/// With the settings of a transaction of ours, and the plans of those that do not know the binds yet.
async fn begin(connection: &mut PgConnection) {
    let settings = r"
        BEGIN; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL plan_cache_mode = force_generic_plan;
        SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off;
        SET LOCAL jit = off";
    sqlx::raw_sql(settings).execute(connection).await.unwrap();
}

async fn run(connection: &mut PgConnection, path: &Path, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await;
    done.unwrap_or_else(|error| panic!("{}: {error}\n{sql}", path.display()));
}
