//! Every command under the conditions that operators meet: both forms, a reader that goes away, no rights, a server that is killed
//! half-way.

use std::collections::BTreeSet;
use std::io::Read;
use std::process::Stdio;

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Finished, Letter, PrivateServers, Servers, Snapshot, World, as_user, body, eventually, finish};

/// A file that is gone with the test.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(contents: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{}.json", Uuid::new_v4().simple()));
        std::fs::write(&path, contents).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// A local store of the backend's with so many snapshots.
fn local_store(count: usize) -> Scratch {
    let entry = |n: usize| {
        let id = format!("snap_20260105_120000_{n:08x}");
        let snapshot = json!({"snapshot_id": id, "type": "offer", "created_at": "2026-01-05T12:00:00",
            "expires_at": "2099-01-05T12:00:00", "event_id": null, "params": {}, "data": {"n": n}});
        (id, snapshot)
    };
    let snapshots: serde_json::Map<String, Value> = (0..count).map(entry).collect();
    Scratch::new(&json!({ "snapshots": snapshots }).to_string())
}

/// Letters of the worker's own making: bodies that are no messages.
async fn letters(world: &World, count: usize) {
    let worker = world.worker().await;
    world.publish_raw(&(0..count).map(|n| format!("not json {n}").into_bytes()).collect::<Vec<_>>()).await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", count as f64).await;
    worker.stop().await;
}

#[tokio::test]
async fn every_command_has_both_forms_and_bears_a_reader_that_goes_away() {
    let world = World::new().await;
    world.sql("ALTER TABLE public.events ADD COLUMN status TEXT").await;
    letters(&world, 3).await;
    let (team, event) = (world.team().await.to_string(), world.event().await.to_string());
    world.insert(&Snapshot::of(team.parse().unwrap()).event(event.parse().unwrap())).await;
    let id = world.snapshots().await.first().unwrap().to_string();
    let store = local_store(2);
    let commands: &[&[&str]] = &[
        &["migrate"],
        &["publish", "--event-id", &event, "--status", "lead"],
        &["delete-event", &event],
        &["sweep"],
        &["evict"],
        &["evict", "--team", &team],
        &["dlq", "list"],
        &["dlq", "show", "--position", "1"],
        &["dlq", "stats"],
        &["dlq", "replay"],
        &["dlq", "purge"],
        &["retention", "list"],
        &["retention", "set", "offer", "--ttl", "3d"],
        &["retention", "set", "offer", "--ttl", "3d", "--restamp"],
        &["outbox", "install", "--table", "events", "--status-column", "status"],
        &["outbox", "status"],
        &["outbox", "uninstall"],
        &["snapshots", "list", "--team-id", &team],
        &["snapshots", "show", &id],
        &["snapshots", "import", store.path(), "--team-id", &team, "--dry-run"],
        &["doctor"],
    ];
    for command in commands {
        let form = |form| [command, &["--output", form][..]].concat();
        let off_a_terminal = world.run(command).await;
        assert_eq!(off_a_terminal.code, 0, "{command:?}: {off_a_terminal:?}");
        assert!(off_a_terminal.json().is_object() || off_a_terminal.json().is_array(), "{command:?}");
        let json = world.run(&form("json")).await;
        assert_eq!(json.code, 0, "{command:?}: {json:?}");
        json.json();
        let table = world.run(&form("table")).await;
        assert_eq!(table.code, 0, "{command:?}: {table:?}");
        let is_json = serde_json::from_str::<Value>(&table.stdout).is_ok();
        assert!(!table.stdout.trim().is_empty() && !is_json, "{command:?}: {table:?}");
        for form in [form("json"), form("table")] {
            let mut child = world.program(&form).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            drop(child.stdout.take());
            let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), stderr.contains("error")), (Some(0), false), "{form:?}: {stderr}");
        }
    }
    assert_eq!((world.dead_letters().await, world.snapshots().await.len()), (3, 1), "all of it was looking");
}

#[tokio::test]
async fn what_has_one_form_only_bears_a_reader_that_goes_away_too() {
    let world = World::new().await;
    letters(&world, 1_000).await; // more than a pipe holds
    let commands: [&[&str]; 5] = [
        &["dlq", "export"],
        &["dlq", "show", "--position", "1", "--raw"],
        &["publish", "--schema"],
        &["man"],
        &["completions", "bash"],
    ];
    for command in commands {
        // Before the first byte, and after it.
        for bytes in [0, 1] {
            let mut child = world.program(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut reader = child.stdout.take().unwrap();
            let output = tokio::task::spawn_blocking(move || {
                reader.read_exact(&mut vec![0; bytes]).unwrap();
                drop(reader);
                child.wait_with_output().unwrap()
            });
            let output = output.await.unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            let complains = ["error", "panicked", "Broken pipe"].iter().any(|word| stderr.contains(word));
            assert_eq!((output.status.code(), complains), (Some(0), false), "{command:?} {bytes}: {stderr}");
        }
    }
    assert_eq!(world.dead_letters().await, 1_000, "all of it was looking");
}

#[tokio::test]
async fn without_rights_in_the_database_nothing_happens_and_the_mend_is_said() {
    let world = World::new().await;
    world.sql("ALTER TABLE public.events ADD COLUMN status TEXT").await;
    let role = format!("nobody_{}", Uuid::new_v4().simple());
    world.sql(format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'")).await;
    let url = crate::storage::access::url_of(&world, &role);
    let (team, event) = (world.team().await, world.event().await);
    let id = world.insert(&Snapshot::of(team).event(event).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    let (team, event, id) = (team.to_string(), event.to_string(), id.to_string());
    let store = local_store(2);
    for command in [
        &["migrate"][..],
        &["delete-event", &event, "--yes"],
        &["sweep", "--yes"],
        &["evict", "--yes"],
        &["evict", "--team", &team, "--yes"],
        &["retention", "list"],
        &["retention", "set", "offer", "--ttl", "3d", "--restamp", "--yes"],
        &["outbox", "install", "--table", "events", "--status-column", "status"],
        &["outbox", "status"],
        &["snapshots", "list", "--team-id", &team],
        &["snapshots", "show", &id],
        &["snapshots", "import", store.path(), "--team-id", &team],
        &["doctor"],
        &["run", "--http-addr", "127.0.0.1:0"],
    ] {
        let mut program = world.program(command);
        program.env("DATABASE_URL", &url);
        let refused = tokio::task::spawn_blocking(|| finish(program)).await.unwrap();
        assert_eq!(refused.code, 1, "{command:?}: {refused:?}");
        let said = format!("{}{}", refused.stderr, refused.stdout);
        assert!(
            ["permission denied", "lacks", "role that ran `migrate`", "owns"].iter().any(|words| said.contains(words)),
            "{command:?}: {said}"
        );
        assert!(!said.contains("secret"), "{command:?}: {said}");
    }
    assert_eq!(world.snapshots().await.len(), 1);
    let triggers: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'snapshot_lifecycle_outbox%'")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(triggers, 0);
    world.sql(format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn without_rights_at_the_broker_nothing_happens_and_the_reason_is_said() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    letters(&world, 2).await;
    let user = format!("u{}", Uuid::new_v4().simple());
    servers.control(&["rabbitmq", "ctl", "add_user", &user, "secret"]);
    servers.control(&["rabbitmq", "ctl", "set_permissions", "-p", "/", &user, "^$", "^$", "^$"]);
    let event = Uuid::new_v4().to_string();
    let file = Scratch::new(&format!(
        "{}\n",
        String::from_utf8(body(Uuid::new_v4(), "lead", OffsetDateTime::now_utc())).unwrap()
    ));
    let letters = std::env::temp_dir().join(format!("{}.ndjson", Uuid::new_v4().simple()));
    for command in [
        &["publish", "--event-id", &event, "--status", "lead"][..],
        &["publish", "--from", file.path()],
        &["dlq", "list"],
        &["dlq", "stats"],
        &["dlq", "show", "--position", "1"],
        &["dlq", "export", "--to", letters.to_str().unwrap()],
        &["dlq", "replay", "--yes"],
        &["dlq", "purge", "--all", "--yes"],
        &["run", "--http-addr", "127.0.0.1:0"],
    ] {
        let mut program = world.program(command);
        program.env("AMQP_URL", as_user(&servers.pair().amqp_url, &user, "secret"));
        let refused = tokio::task::spawn_blocking(|| finish(program)).await.unwrap();
        assert_eq!(refused.code, 1, "{command:?}: {refused:?}");
        assert!(refused.stderr.contains("ACCESS_REFUSED"), "{command:?}: {refused:?}");
        assert!(!refused.stderr.contains("secret"), "{command:?}: {refused:?}");
    }
    assert!(!letters.exists(), "an export that failed does not look like one");
    std::fs::remove_file(letters.with_extension("ndjson.partial")).ok();
    assert_eq!((world.dead_letters().await, world.depth(&world.queue).await), (2, 0));
    servers.control(&["rabbitmq", "ctl", "delete_user", &user]);
}

/// Runs the command, kills PostgreSQL as soon as the condition holds, and starts it again.
async fn killed_under(servers: &PrivateServers, world: &World, command: &[&str], half_way: &str) -> Finished {
    let child = world.program(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually(half_way, async || world.count(half_way).await > 0).await;
    servers.control(&["postgres", "kill"]);
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    servers.control(&["postgres", "start"]);
    Finished {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test]
async fn database_killed_half_way_leaves_what_the_same_command_completes() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let team = world.team().await;
    let keeper = world.insert(&Snapshot::of(world.team().await).kind("qna")).await;
    // A host whose own triggers take their time, so that there is a half-way.
    world
        .sql(
            "CREATE FUNCTION public.slowly() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN PERFORM pg_sleep(0.0002); RETURN COALESCE(NEW, OLD); END';
             CREATE TRIGGER slowly BEFORE INSERT OR UPDATE OR DELETE ON public.snapshots
                 FOR EACH ROW EXECUTE FUNCTION public.slowly();",
        )
        .await;
    let store = local_store(3_000);
    let owner = team.to_string();
    let import = ["snapshots", "import", store.path(), "--team-id", &owner];
    let broken = killed_under(&servers, &world, &import, "snapshot_type = 'offer'").await;
    assert_eq!(broken.code, 1, "{}", broken.stderr);
    let there = world.count("snapshot_type = 'offer'").await;
    assert!((1..3_000).contains(&there), "{there} rows: it was in the middle");
    let rest = world.run(&import).await;
    assert_eq!((rest.code, world.count("snapshot_type = 'offer'").await), (0, 3_000), "{}", rest.stderr);
    assert_eq!(rest.json()["imported"].as_i64(), Some(3_000 - there), "what was there was left alone");

    let restamp = ["retention", "set", "offer", "--ttl", "30d", "--restamp", "--yes"];
    let restamped = "expires_at = created_at + interval '30 days'";
    let broken = killed_under(&servers, &world, &restamp, restamped).await;
    assert_eq!(broken.code, 1, "{broken:?}");
    let done = world.count(restamped).await;
    assert!((1..3_000).contains(&done), "{done} rows: it was in the middle");
    let rest = world.run(&restamp).await;
    assert_eq!((rest.code, world.count(restamped).await), (0, 3_000), "{rest:?}");

    // They were made in January and live for 30 days: all have expired.
    let gone = "(SELECT count(*) FROM public.snapshots) < 3001";
    let broken = killed_under(&servers, &world, &["sweep", "--yes"], gone).await;
    assert_eq!(broken.code, 1, "{broken:?}");
    assert!(world.count("true").await > 1, "it was in the middle");
    let rest = world.run(&["sweep", "--yes"]).await;
    assert_eq!(rest.code, 0, "{rest:?}");
    assert_eq!(world.snapshots().await, BTreeSet::from([keeper]));
}

fn texts(letters: &[Letter]) -> Vec<String> {
    letters.iter().map(|letter| String::from_utf8(letter.body.clone()).unwrap()).collect()
}

const LETTERS: u32 = 3_000;

#[tokio::test]
async fn broker_killed_half_way_through_a_replay_loses_no_letter() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    letters(&world, LETTERS as usize).await;
    let mut command = world.program(&["dlq", "replay", "--rate", "1000", "--yes"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("some to be replayed", async || world.depth(&world.queue).await >= 500).await;
    servers.control(&["rabbitmq", "kill"]);
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    servers.control(&["rabbitmq", "start"]);
    eventually("every letter to be ready somewhere", async || {
        world.depth(&world.queue).await + world.dead_letters().await >= LETTERS
    })
    .await;
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let replayed = answer["replayed"].as_u64().unwrap();
    assert!((1..u64::from(LETTERS)).contains(&replayed), "{answer}: it was in the middle");

    // What was confirmed and not yet taken out is in both, which does no harm; all others are in one of the two. A broker
    // that has just started counts its messages late, so one replay may not see them all.
    eventually("the rest to be replayed", async || {
        let rest = world.run(&["dlq", "replay", "--max-replays", "9", "--yes"]).await;
        assert_eq!(rest.code, 0, "{rest:?}");
        world.dead_letters().await == 0
    })
    .await;
    let worker = world.worker().await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", f64::from(LETTERS)).await;
    eventually("the work queue to be empty", async || world.depth(&world.queue).await == 0).await;
    worker.stop().await;
    let count = world.dead_letters().await;
    let all: BTreeSet<String> = texts(&world.take_dead_letters(count).await).into_iter().collect();
    let expected: BTreeSet<String> = (0..LETTERS).map(|n| format!("not json {n}")).collect();
    assert_eq!(all, expected);
}
