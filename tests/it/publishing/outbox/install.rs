//! `outbox install`, `status` and `uninstall`: which tables and columns they take, and that they leave no trace.

use serde_json::Value;
use uuid::Uuid;

use crate::support::{World, finish};

#[tokio::test]
async fn uninstalled_it_leaves_no_trace_on_the_backends_table() {
    let world = World::new().await;
    world.sql("CREATE SCHEMA \"Odd One\"; CREATE TYPE public.state AS ENUM ('Lead', 'Confirmed')").await;
    world
        .sql(
            "CREATE TABLE \"Odd One\".\"My Events\" (\"Event Id\" UUID PRIMARY KEY, \"State\" public.state, wrong INT)",
        )
        .await;
    let trace = async || -> i64 {
        sqlx::query_scalar(
            r"
                SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'snapshot_lifecycle_outbox%')
                     + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'record\_status\_of\_%')",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap()
    };
    let install =
        ["outbox", "install", "--table", "Odd One.My Events", "--id-column", "Event Id", "--status-column", "State"];
    for _ in 0..2 {
        let answer = world.run(&install).await;
        assert_eq!(answer.code, 0, "{answer:?}");
        assert_eq!(answer.json()["installed"][0]["table"], "\"Odd One\".\"My Events\"");
        assert_eq!(trace().await, 2, "a trigger and a function, however often");
    }
    let change = r#"
        INSERT INTO "Odd One"."My Events" VALUES (gen_random_uuid(), 'Lead', 1);
        UPDATE "Odd One"."My Events" SET "State" = 'Confirmed'"#;
    world.sql(change).await;
    let table = world.run(&["outbox", "status", "--output", "table"]).await;
    assert!(table.stdout.contains("status State") && table.stdout.contains("1 record waits"), "{table:?}");
    world.install_outbox().await;
    let preview = world.run(&["outbox", "uninstall"]).await.json();
    let named = |answer: &Value| -> Vec<String> {
        let triggers = answer["triggers"].as_array().unwrap();
        triggers.iter().map(|trigger| trigger["table"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(named(&preview), ["\"Odd One\".\"My Events\"", "public.events"]);
    assert_eq!((&preview["dry_run"], &preview["removed"], trace().await), (&true.into(), &0.into(), 4));
    let one = world.run(&["outbox", "uninstall", "--table", "Odd One.My Events", "--yes"]).await;
    assert_eq!((one.code, trace().await), (0, 2), "{one:?}");
    let left = &one.json()["installed"];
    assert_eq!((left[0]["table"].as_str(), left.as_array().unwrap().len()), (Some("public.events"), 1));
    let none = world.run(&["outbox", "uninstall", "--table", "meetings", "--yes"]).await.json();
    assert_eq!((&none["removed"], trace().await), (&0.into(), 2));
    let removed = world.run(&["outbox", "uninstall", "--yes"]).await;
    assert_eq!((removed.code, trace().await), (0, 0), "{removed:?}");
    assert_eq!(removed.json()["pending"], 1, "what is recorded stays");
    world.sql(change).await;
    assert_eq!(world.outbox_records().await, 1);
    assert_eq!(world.run(&["outbox", "uninstall", "--yes"]).await.code, 0, "twice is no error");
}

#[tokio::test]
async fn wrong_use_says_the_fix() {
    let world = World::new().await;
    world
        .sql(
            r"
                CREATE DOMAIN public.moment AS timestamptz;
                CREATE DOMAIN public.word AS varchar(9);
                CREATE DOMAIN public.state AS public.word;
                ALTER TABLE public.events ADD COLUMN status TEXT, ADD COLUMN number INT, ADD COLUMN parent UUID,
                    ADD COLUMN since public.moment, ADD COLUMN state public.state;
                CREATE VIEW public.seen AS SELECT * FROM public.events",
        )
        .await;
    for (arguments, said) in [
        (&["--table", "meetings"][..], "there is no table public.meetings"),
        (&["--table", "seen"], "is no table"),
        (&["--status-column", "phase"], "--status-column names it"),
        (&["--id-column", "number"], "event ids are uuid"),
        (&["--team-column", "team"], "--team-column names it"),
        (&["--team-column", "number"], "team ids are uuid"),
        (&["--status-column", "number"], "column number is of type integer; a status is a text or an enumeration"),
        (&["--status-column", "since"], "moment; a status is a text or an enumeration"),
        (&["--id-column", "parent"], "--team-column limits each record"),
    ] {
        let refused = world.run(&[&["outbox", "install"], arguments].concat()).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains(said), "{arguments:?}: {refused:?}");
    }
    for exchange in ["", "amq.topic"] {
        assert_eq!(world.run(&["outbox", "install", "--exchange", exchange]).await.code, 2, "{exchange}");
    }
    let status = world.run(&["outbox", "status"]).await;
    assert_eq!(status.json()["installed"].as_array().unwrap().len(), 0);
    let over_a_domain = world.run(&["outbox", "install", "--status-column", "state"]).await;
    assert_eq!(over_a_domain.code, 0, "{over_a_domain:?}");
    // A lock that others hold is not waited for.
    let mut holder = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.events IN ROW EXCLUSIVE MODE").execute(&mut *holder).await.unwrap();
    let locked = world.run(&["outbox", "install"]).await;
    assert!(locked.code == 1 && locked.stderr.contains("locked by others"), "{locked:?}");
    holder.rollback().await.unwrap();
    let mut command = world.program(&["outbox", "status"]);
    command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    assert_eq!(finish(command).code, 1);
}

#[tokio::test]
async fn columns_that_are_renamed_or_dropped_neither_fail_the_backend_nor_lose_a_change() {
    let world = World::new().await;
    world.install_outbox().await;
    let (event, team) = (world.event().await, world.team().await);
    world
        .sql(format!(
            r"
                ALTER TABLE public.events RENAME COLUMN status TO state;
                ALTER TABLE public.events RENAME COLUMN id TO event_number;
                UPDATE public.events SET team_id = '{team}', state = 'Option' WHERE event_number = '{event}'"
        ))
        .await;
    let recorded: (Uuid, Option<Uuid>, String) =
        sqlx::query_as("SELECT event_id, team_id, status FROM snapshot_lifecycle.outbox")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(recorded, (event, Some(team), "option".to_owned()));
    world
        .sql(format!(
            r"
                ALTER TABLE public.events DROP COLUMN team_id;
                UPDATE public.events SET state = 'option ' WHERE event_number = '{event}';
                UPDATE public.events SET state = 'lead' WHERE event_number = '{event}'"
        ))
        .await;
    let recorded: Vec<(Uuid, Option<Uuid>, String)> =
        sqlx::query_as("SELECT event_id, team_id, status FROM snapshot_lifecycle.outbox ORDER BY id OFFSET 1")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(recorded, [(event, None, "lead".to_owned())]);
    let status = world.run(&["outbox", "status"]).await.json();
    assert_eq!((&status["installed"][0]["enabled"], &status["installed"][0]["outdated"]), (&true.into(), &true.into()));
    let again = ["outbox", "install", "--id-column", "event_number", "--status-column", "state"];
    assert_eq!(world.run(&again).await.json()["installed"][0]["outdated"], false);
}

#[tokio::test]
async fn partitioned_table_is_refused() {
    let world = World::new().await;
    world
        .sql(
            r"
                CREATE TABLE public.bookings (id UUID, status TEXT, day DATE) PARTITION BY RANGE (day);
                CREATE TABLE public.bookings_old PARTITION OF public.bookings
                    FOR VALUES FROM (MINVALUE) TO ('2026-01-01')",
        )
        .await;
    for table in ["bookings", "bookings_old"] {
        let refused = world.run(&["outbox", "install", "--table", table]).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("partitioned"), "{refused:?}");
    }
}

#[tokio::test]
async fn column_of_any_name_stays_a_name() {
    let world = World::new().await;
    let (id, status, team) = ("i'd $body$ $statements$", "st\"at%1$Lus\\", "$f$; RAISE 'no'; --");
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    world
        .sql(format!(
            "CREATE TABLE public.odd ({} UUID PRIMARY KEY, {} TEXT, {} UUID)",
            quoted(id),
            quoted(status),
            quoted(team)
        ))
        .await;
    let install = [
        "outbox",
        "install",
        "--table",
        "odd",
        "--id-column",
        id,
        "--status-column",
        status,
        "--team-column",
        team,
        "--on-insert",
        "--exchange",
        "$body$'x",
    ];
    let installed = world.run(&install).await;
    assert_eq!(installed.code, 0, "{installed:?}");
    assert_eq!(installed.json()["installed"][0]["problem"], Value::Null);
    let (event, owner) = (Uuid::new_v4(), Uuid::new_v4());
    world.sql(format!("INSERT INTO public.odd VALUES ('{event}', 'Lead', '{owner}')")).await;
    let recorded: (Uuid, Option<Uuid>, String, String) =
        sqlx::query_as("SELECT event_id, team_id, status, exchange FROM snapshot_lifecycle.outbox")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(recorded, (event, Some(owner), "lead".to_owned(), "$body$'x".to_owned()));
}
