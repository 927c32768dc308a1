//! Commands whose server is killed half-way: running them again completes them.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Finished, PrivateServers, ReceivedMessage, Servers, Snapshot, World, eventually, local_store};

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
    // A backend whose own triggers take their time, so that the command can be half-way.
    world
        .sql(
            r"
                CREATE FUNCTION public.slowly() RETURNS trigger LANGUAGE plpgsql AS
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
    assert_eq!(rest.json()["imported"].as_i64(), Some(3_000 - there), "what existed was left alone");

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

fn texts(dead_letters: &[ReceivedMessage]) -> Vec<String> {
    dead_letters.iter().map(|dead_letter| String::from_utf8(dead_letter.body.clone()).unwrap()).collect()
}

const DEAD_LETTERS: u32 = 3_000;

#[tokio::test]
async fn broker_killed_half_way_through_a_replay_loses_no_dead_letter() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    world.dead_letter_bodies(DEAD_LETTERS as usize).await;
    let mut command = world.program(&["dlq", "replay", "--rate", "1000", "--yes"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("some to be replayed", async || world.depth(&world.queue).await >= 500).await;
    servers.control(&["rabbitmq", "kill"]);
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    servers.control(&["rabbitmq", "start"]);
    eventually("every dead letter to be ready somewhere", async || {
        world.depth(&world.queue).await + world.dead_letters().await >= DEAD_LETTERS
    })
    .await;
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let replayed = answer["replayed"].as_u64().unwrap();
    assert!((1..u64::from(DEAD_LETTERS)).contains(&replayed), "{answer}: it was in the middle");

    // What was confirmed and not yet taken out is in both, which does no harm; all others are in one of the two. A broker
    // that has just started counts its messages late, so one replay may not see them all.
    eventually("the rest to be replayed", async || {
        let rest = world.run(&["dlq", "replay", "--max-replays", "9", "--yes"]).await;
        assert_eq!(rest.code, 0, "{rest:?}");
        world.dead_letters().await == 0
    })
    .await;
    let worker = world.worker().await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", f64::from(DEAD_LETTERS)).await;
    eventually("the work queue to be empty", async || world.depth(&world.queue).await == 0).await;
    worker.stop().await;
    let count = world.dead_letters().await;
    let all: BTreeSet<String> = texts(&world.take_dead_letters(count).await).into_iter().collect();
    let expected: BTreeSet<String> = (0..DEAD_LETTERS).map(|n| format!("not json {n}")).collect();
    assert_eq!(all, expected);
}
