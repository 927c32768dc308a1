//! `dlq replay`: which dead letters it moves, when it ends, and that none is lost.

use std::collections::BTreeSet;
use std::process::Stdio;

use lapin::BasicProperties;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{ReceivedMessage, Snapshot, TempFile, World, body, eventually};

#[tokio::test]
async fn replay_keeps_what_is_the_applications_and_drops_the_rest() {
    let world = World::with_queues().await;
    let ids = world.add_dead_letters(3, "team_mismatch").await;
    let preview = world.run(&["dlq", "replay"]).await;
    assert_eq!((preview.code, preview.json()["matched"].as_u64()), (0, Some(3)), "{preview:?}");
    assert_eq!(preview.json()["dry_run"], true);
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 3));

    let replay = world.run(&["dlq", "replay", "--message-id", &ids[1], "--yes"]).await;
    assert_eq!((replay.code, replay.json()["replayed"].as_u64()), (0, Some(1)), "{replay:?}");
    assert_eq!(world.list_dead_letters(&[]).await, [ids[0].clone(), ids[2].clone()]);
    let arrived = world.drain(&world.queue).await;
    assert_eq!(arrived.len(), 1);
    let dead_letter = &arrived[0];
    assert_eq!((&dead_letter.exchange, dead_letter.routing_key.as_str()), (&world.exchange, "event.status.confirmed"));
    assert_eq!(dead_letter.message_id(), ids[1]);
    assert_eq!(dead_letter.properties.correlation_id().as_ref().unwrap().as_str(), "kept");
    let headers = dead_letter.headers();
    // 3.10 counts deliveries in a header of its own.
    let names: Vec<_> = headers.keys().map(String::as_str).filter(|name| *name != "x-delivery-count").collect();
    assert_eq!(names, ["lifecycle-replay-count", "number", "traceparent"]);
    assert_eq!(headers["lifecycle-replay-count"], "1");
}

#[tokio::test]
async fn exactly_the_dead_letters_of_the_preview_and_no_others() {
    let world = World::with_queues().await;
    let first = world.add_dead_letters(3, "team_mismatch").await;
    let preview = world.run(&["dlq", "replay", "--reason", "team_mismatch"]).await.json();
    let selection = preview["selection"].as_str().unwrap();
    let later = world.add_dead_letters(2, "team_mismatch").await;
    let exactly = ["dlq", "replay", "--reason", "team_mismatch", "--exactly", selection, "--yes"];
    let replay = world.run(&exactly).await;
    assert_eq!((replay.code, replay.json()["replayed"].as_u64()), (0, Some(3)), "{replay:?}");
    assert_eq!(world.list_dead_letters(&[]).await, later);
    let arrived: Vec<_> = world.drain(&world.queue).await.iter().map(ReceivedMessage::message_id).collect();
    assert_eq!(arrived, first);
    let again = world.run(&exactly).await;
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("not the dead letters of that preview"), "{again:?}");
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 2));
}

#[tokio::test]
async fn dead_letter_that_keeps_coming_back_is_marked_and_stays() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.publish_raw(&[b"no json".to_vec()]).await;
    for replays in 1..=2 {
        eventually("the dead letter", async || world.dead_letters().await == 1).await;
        let replay = world.run(&["dlq", "replay", "--max-replays", "2", "--yes"]).await;
        assert_eq!(replay.json()["replayed"], 1, "{replays}: {replay:?}");
    }
    eventually("the dead letter", async || world.dead_letters().await == 1).await;
    let marked = world.run(&["dlq", "replay", "--max-replays", "2", "--yes"]).await.json();
    assert_eq!((marked["replayed"].as_u64(), marked["replayed_too_often"].as_u64()), (Some(0), Some(1)));
    let again = world.run(&["dlq", "replay", "--max-replays", "2", "--yes"]).await.json();
    assert_eq!((again["replayed"].as_u64(), again["replayed_too_often"].as_u64()), (Some(0), Some(1)));
    assert_eq!(world.dead_letters().await, 1, "marked once");
    let shown = world.run(&["dlq", "list"]).await.json();
    assert_eq!((shown[0]["reason"].as_str(), shown[0]["replay_count"].as_u64()), (Some("replayed_too_often"), Some(2)));
    assert!(shown[0]["error"].as_str().unwrap().contains("invalid_json"), "{shown}");
    let dead_letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!(
        (dead_letter.body.as_slice(), dead_letter.header("lifecycle-exchange")),
        (&b"no json"[..], world.exchange.clone())
    );
    worker.stop().await;
}

#[tokio::test]
async fn dead_letter_is_edited_and_replayed() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker().await;
    let good = String::from_utf8(body(event, "confirmed", OffsetDateTime::now_utc())).unwrap();
    let old = Uuid::new_v4().to_string();
    let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(old.as_str().into());
    let bad = good.replace("confirmed", "conffirmed").into_bytes();
    world.publish_with(std::slice::from_ref(&bad), &properties).await;
    eventually("the dead letter", async || world.dead_letters().await == 1).await;
    let raw = world.run(&["dlq", "show", "--message-id", &old, "--raw"]).await;
    assert_eq!(raw.stdout.as_bytes(), bad);
    let file = TempFile::absent();
    let edited = ["dlq", "replay", "--message-id", &old, "--body", file.path(), "--yes"];
    file.write(&raw.stdout);
    let still_bad = world.run(&edited).await;
    assert_eq!(still_bad.code, 1);
    assert!(still_bad.stderr.contains("would be dead-lettered again"), "{still_bad:?}");
    file.write(raw.stdout.replace("conffirmed", "confirmed"));
    let preview = world.run(&edited[..6]).await;
    assert_eq!((preview.code, world.dead_letters().await), (0, 1), "{preview:?}");
    let counted = ["letters", "matched", "would_replay", "replayed"].map(|name| preview.json()[name].as_u64());
    assert_eq!(counted, [Some(1), Some(1), Some(1), Some(0)], "{preview:?}");
    assert_eq!(preview.json()["dry_run"], true, "{preview:?}");
    assert!(preview.json()["message_id"].as_str().is_some_and(|id| Uuid::parse_str(id).is_ok()), "{preview:?}");
    worker.signal("STOP");
    let replay = world.run(&edited).await;
    assert_eq!((replay.code, world.dead_letters().await), (0, 0), "{replay:?}");
    assert_ne!(replay.json()["message_id"], old.as_str());
    let counted = ["letters", "matched", "replayed"].map(|name| replay.json()[name].as_u64());
    assert_eq!(counted, [Some(1); 3], "{replay:?}");
    worker.signal("CONT");
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(world.snapshots().await.is_empty());
}

#[tokio::test]
async fn replay_stops_on_its_own_when_dead_letters_come_back() {
    let world = World::new().await;
    let worker = world.worker().await;
    let bad: Vec<_> = (0..100).map(|n| format!("no json {n}").into_bytes()).collect();
    world.publish_raw(&bad).await;
    eventually("the dead letters", async || world.dead_letters().await == 100).await;
    let replay = world.run(&["dlq", "replay", "--stop-on-failures", "20%", "--yes"]).await;
    let answer = replay.json();
    assert_eq!((replay.code, answer["replayed"].as_u64()), (1, Some(10)), "{replay:?}");
    assert!(answer["stopped"].as_str().unwrap().contains("are dead letters again"), "{replay:?}");
    eventually("all of them to be back", async || world.dead_letters().await == 100).await;
    let bodies: BTreeSet<_> =
        world.take_dead_letters(100).await.into_iter().map(|dead_letter| dead_letter.body).collect();
    assert_eq!(bodies, bad.into_iter().collect());
    worker.stop().await;
}

#[tokio::test]
async fn replay_says_that_confirmed_is_not_applied_and_how_to_see_what_came_back() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.publish_raw(&[b"no json".to_vec()]).await;
    eventually("the dead letter", async || world.dead_letters().await == 1).await;
    let preview = world.run(&["dlq", "replay"]).await.json();
    assert_eq!((preview["would_replay"].as_u64(), preview["replayed"].as_u64()), (Some(1), Some(0)), "{preview}");
    let replay = world.run(&["dlq", "replay", "--yes", "--output", "table"]).await;
    assert!(replay.stdout.contains("replayed 1 dead letter\n"), "{replay:?}");
    assert!(replay.stdout.contains("Whether they succeed is up to the worker"), "{replay:?}");
    let (_, command) = replay.stdout.split_once("`dlq list --since ").unwrap();
    let since = command.split('`').next().unwrap();
    eventually("the dead letter", async || world.dead_letters().await == 1).await;
    assert_eq!(world.run(&["dlq", "list", "--since", since]).await.json()[0]["replay_count"], 1);
    worker.stop().await;
}

#[tokio::test]
async fn interrupted_or_killed_no_dead_letter_is_lost() {
    for (signal, exact) in [("INT", true), ("TERM", true), ("KILL", false)] {
        let world = World::with_queues().await;
        let ids: BTreeSet<_> = world.add_dead_letters(800, "attempts_exhausted").await.into_iter().collect();
        let mut command = world.program(&["dlq", "replay", "--rate", "400", "--yes"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("some to be replayed", async || world.depth(&world.queue).await >= 80).await;
        let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        eventually("all to be ready again", async || {
            world.depth(&world.queue).await + world.dead_letters().await >= 800
        })
        .await;
        let replayed: Vec<_> = world.drain(&world.queue).await.iter().map(ReceivedMessage::message_id).collect();
        let stayed: Vec<_> = world
            .drain(&format!("{}.dead-letter", world.queue))
            .await
            .iter()
            .map(ReceivedMessage::message_id)
            .collect();
        assert!(!replayed.is_empty() && !stayed.is_empty(), "it was in the middle");
        let all: BTreeSet<_> = replayed.iter().chain(&stayed).cloned().collect();
        assert_eq!(all, ids, "{signal}");
        if exact {
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(answer["stopped"], "interrupted");
            assert_eq!(answer["replayed"].as_u64(), Some(replayed.len() as u64));
            assert_eq!(replayed.len() + stayed.len(), 800, "nothing is in both");
        }
    }
}

#[tokio::test]
async fn unroutable_dead_letter_stays() {
    let world = World::with_queues().await;
    let ids = world.add_dead_letters(2, "attempts_exhausted").await;
    world.unbind_queue().await;
    let replay = world.run(&["dlq", "replay", "--yes"]).await;
    assert_eq!((replay.code, replay.json()["replayed"].as_u64()), (1, Some(0)), "{replay:?}");
    assert_eq!(replay.json()["failed"], 2, "{replay:?}");
    assert!(replay.stderr.contains("2 could not be replayed") && replay.stderr.contains("unroutable"), "{replay:?}");
    assert_eq!(world.list_dead_letters(&[]).await, ids);
}

#[tokio::test]
async fn two_commands_never_compete() {
    let world = World::with_queues().await;
    world.add_dead_letters(400, "attempts_exhausted").await;
    let mut command = world.program(&["dlq", "replay", "--rate", "20", "--yes"]);
    let mut replay = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the replay to be at work", async || world.depth(&world.queue).await > 0).await;
    let list = world.run(&["dlq", "list"]).await;
    assert_eq!(list.code, 1);
    assert!(list.stderr.contains("another dlq command is at work"), "{list:?}");
    replay.kill().unwrap();
    replay.wait().unwrap();
    // The lock ends with its holder.
    eventually("the list to work again", async || world.run(&["dlq", "list"]).await.code == 0).await;
}
