//! A trigger after a restore, and on a table that was replaced.

use crate::support::{Servers, World};

/// Dumps a world and restores it into another, as an operator would without the owners and privileges.
async fn restored(world: &World) -> World {
    let other = World::bare(Servers::shared()).await;
    let dump = std::env::temp_dir().join(format!("{}.sql", other.queue));
    for (program, arguments) in
        [("pg_dump", ["--no-owner", "--no-privileges", "--file"]), ("psql", ["--no-psqlrc", "--quiet", "--file"])]
    {
        let url = if program == "psql" { &other.database_url } else { &world.database_url };
        let done =
            std::process::Command::new(program).args(arguments).arg(&dump).arg(url).output().expect("it can be run");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    std::fs::remove_file(&dump).ok();
    other
}

/// The problem of the only trigger, as `outbox status` says it, and the line of `doctor`.
async fn problem_of(world: &World) -> (String, String) {
    let status = world.run(&["outbox", "status"]).await.json();
    let problem = status["installed"][0]["problem"].as_str().unwrap_or_default().to_owned();
    assert_eq!(status["installed"].as_array().unwrap().len(), 1, "{status}");
    let doctor = world.run(&["doctor"]).await.json();
    let check = doctor["checks"].as_array().unwrap().iter().find(|line| line["check"] == "database.outbox").cloned();
    let check = check.expect("a line of the outbox");
    (problem, format!("{} {}", check["state"].as_str().unwrap(), check))
}

#[tokio::test]
async fn after_a_restore_columns_are_found_and_an_install_is_asked_for() {
    let world = World::new().await;
    world.sql("ALTER TABLE public.events ADD COLUMN junk INT").await;
    world.install_outbox().await;
    world.sql("ALTER TABLE public.events DROP COLUMN junk").await;
    assert_eq!(problem_of(&world).await.0, "");
    let restored = restored(&world).await;
    let event = restored.event().await;
    assert_eq!(restored.outbox_records().await, 0);
    restored.set_status(event, "option").await;
    assert_eq!(restored.outbox_records().await, 1);
    let (problem, doctor) = problem_of(&restored).await;
    assert!(problem.starts_with("the table was restored, with other column numbers"), "{problem}");
    assert!(
        doctor.starts_with("warning") && doctor.contains(&problem) && doctor.contains("outbox install"),
        "{doctor}"
    );
    let install = ["outbox", "install", "--team-column", "team_id"];
    assert_eq!(restored.run(&install).await.code, 0);
    assert_eq!(problem_of(&restored).await.0, "");
    restored.sql("ALTER TABLE public.events RENAME COLUMN status TO state").await;
    restored.sql(format!("UPDATE public.events SET state = 'lead' WHERE id = '{event}'")).await;
    assert_eq!(restored.outbox_records().await, 2);
    // With the same numbers the privileges alone are missing.
    let again = self::restored(&world).await;
    again.run(&install).await;
    let third = self::restored(&again).await;
    let (problem, doctor) = problem_of(&third).await;
    assert!(problem.starts_with("every role may execute its function"), "{problem}");
    assert!(doctor.starts_with("warning"), "{doctor}");
}

#[tokio::test]
async fn table_that_was_created_again_is_told_from_one_without_a_trigger() {
    let world = World::new().await;
    world.install_outbox().await;
    world
        .sql("DROP TABLE public.events CASCADE; CREATE TABLE public.events (id UUID PRIMARY KEY, status TEXT, team_id UUID)")
        .await;
    let (problem, doctor) = problem_of(&world).await;
    assert_eq!(problem, "its table was dropped or replaced, and nothing is recorded");
    assert!(doctor.starts_with("failed") && doctor.contains("public.events"), "{doctor}");
    world.run(&["outbox", "install", "--team-column", "team_id"]).await;
    assert_eq!(problem_of(&world).await.0, "");
}
