//! What commands print: JSON alone on stdout, tables for people, a preview before anything is deleted.

use std::process::Stdio;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Snapshot, TempFile, World, body, finish, on_a_terminal, program, set};

#[tokio::test]
async fn nothing_is_deleted_without_yes() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    world.insert_many(team, 3).await;
    let before = world.snapshots().await;
    let delete = world.run(&["delete-event", &event.to_string()]).await;
    assert_eq!((delete.code, delete.json()["would_delete"].as_i64()), (0, Some(1)), "{delete:?}");
    let sweep = world.run(&["sweep"]).await;
    assert_eq!((sweep.code, sweep.json()["expired"]["rows"].as_i64()), (0, Some(1)), "{sweep:?}");
    let evict = world.run(&["evict", "--max-snapshots-per-team", "1"]).await;
    assert_eq!((evict.code, evict.json()["would_delete"].as_i64()), (0, Some(3)), "{evict:?}");
    for answer in [delete, sweep, evict] {
        assert_eq!(answer.json()["dry_run"], true);
        assert_eq!(answer.json()["deleted"], 0);
    }
    assert_eq!(world.snapshots().await, before);
}

type Words<'a> = &'a [&'a str];

/// What deploy/operating.md says of every answer in JSON.
#[tokio::test]
async fn one_name_has_one_meaning_in_json() {
    let world = World::new().await;
    world.worker().await.stop().await;
    let (team, event) = (world.team().await, world.event().await.to_string());
    world.insert_many(team, 3).await;
    world.insert(&Snapshot::of(team).event(event.parse().unwrap())).await;
    // One for the replay, one for the purge.
    world.add_dead_letters(2, "too_large").await;
    let entry =
        r#"{"type": "offer", "created_at": "2026-01-05T12:00:00", "data": {}, "expires_at": "2099-01-05T12:00:00"}"#;
    let store = TempFile::new(format!(r#"{{"snapshots": {{"snap_1": {entry}}}}}"#));
    let team = team.to_string();
    let import = ["snapshots", "import", store.path(), "--team-id", &team];
    // The preview, what it counts in, the deed, what that counts in, and how many.
    let cases: [(Words, &str, Words, &str, u64); 5] = [
        (&["delete-event", &event], "would_delete", &["delete-event", &event, "--yes"], "deleted", 1),
        (
            &["evict", "--max-snapshots-per-team", "1"],
            "would_delete",
            &["evict", "--max-snapshots-per-team", "1", "--yes"],
            "deleted",
            2,
        ),
        (
            &["dlq", "replay", "--limit", "1"],
            "would_replay",
            &["dlq", "replay", "--limit", "1", "--yes"],
            "replayed",
            1,
        ),
        (&["dlq", "purge"], "would_purge", &["dlq", "purge", "--all", "--yes"], "purged", 1),
        (&[&import[..], &["--dry-run"]].concat(), "would_import", &import, "imported", 1),
    ];
    for (preview, would, deed, done, count) in cases {
        let preview = world.run(preview).await.json();
        assert_eq!(preview["dry_run"], true, "{preview}");
        assert_eq!((preview[would].as_u64(), preview[done].as_u64()), (Some(count), Some(0)), "{preview}");
        let deed = world.run(deed).await.json();
        assert_eq!((deed["dry_run"].as_bool(), deed[done].as_u64()), (Some(false), Some(count)), "{deed}");
        assert!(deed.get("stopped").is_none(), "{deed}");
    }
}

#[tokio::test]
async fn delete_event_by_hand_follows_the_same_rule() {
    let world = World::new().await;
    let (team, event, now) = (world.team().await, world.event().await, OffsetDateTime::now_utc());
    world.insert(&Snapshot::of(team).event(event).created_at(now - Duration::DAY)).await;
    let qna = world.insert(&Snapshot::of(team).event(event).kind("qna")).await;
    let newer = world.insert(&Snapshot::of(team).event(event).created_at(now - Duration::MINUTE)).await;
    let moment = (now - Duration::HOUR).format(&time::format_description::well_known::Rfc3339).unwrap();
    let deleted = world.run(&["delete-event", &event.to_string(), "--occurred-at", &moment, "--yes"]).await;
    assert_eq!((deleted.code, deleted.json()["deleted"].as_u64()), (0, Some(1)), "{deleted:?}");
    assert_eq!(world.snapshots().await, set([qna, newer]));
    let stranger =
        world.run(&["delete-event", &event.to_string(), "--team-id", &Uuid::new_v4().to_string(), "--yes"]).await;
    assert_eq!(stranger.code, 1);
    assert!(stranger.stderr.contains(&format!("but of team {team}")), "{stranger:?}");
    assert_eq!(world.snapshots().await, set([qna, newer]));
}

#[tokio::test]
async fn tables_are_for_people_and_json_is_alone_on_stdout() {
    let world = World::new().await;
    let table = world.run(&["sweep", "--output", "table"]).await;
    assert!(table.stdout.contains("would delete 0; nothing was changed, add --yes to do it"), "{table:?}");
    let json = world.run(&["sweep", "--output", "json"]).await;
    assert!(json.json().is_object());
}

#[tokio::test]
async fn on_a_terminal_answers_are_tables_and_long_work_shows_a_bar() {
    let world = World::new().await;
    world.worker().await.stop().await;
    let (code, shown) = on_a_terminal(100, &world.program(&["retention", "list"]));
    assert!(code == 0 && shown.contains('─') && shown.contains("qna"), "{shown}");
    let (code, shown) = on_a_terminal(100, &world.program(&["sweep"]));
    assert!(code == 0 && shown.contains("nothing was changed, add --yes to do it"), "{shown}");
    let lines: Vec<_> = (0..20_000).map(|_| body(Uuid::new_v4(), "option", OffsetDateTime::now_utc())).collect();
    let file = TempFile::new(lines.join(&b'\n'));
    let (code, shown) = on_a_terminal(100, &world.program(&["publish", "--from", file.path()]));
    assert!(code == 0 && shown.contains("20000 messages published"), "{shown}");
    assert!(shown.contains("messages, "), "no bar in {shown}");
}

#[tokio::test]
async fn dead_letters_are_listed_and_stay() {
    let world = World::new().await;
    let worker = world.worker().await;
    let event = Uuid::new_v4();
    let bodies = [body(event, "paid", OffsetDateTime::now_utc()), b"no json".to_vec()];
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 2.0).await;
    for _ in 0..25 {
        let listed = world.run(&["dlq", "list"]).await;
        assert_eq!(listed.code, 0, "{listed:?}");
        let dead_letters = listed.json();
        assert_eq!(
            (dead_letters[0]["reason"].as_str(), dead_letters[1]["reason"].as_str()),
            (Some("unknown_status"), Some("invalid_json"))
        );
        assert_eq!(dead_letters[0]["event_id"].as_str(), Some(event.to_string().as_str()));
        assert_eq!(dead_letters[1]["body"], "no json");
    }
    assert_eq!(world.dead_letters().await, 2);
    let table = world.run(&["dlq", "list", "--output", "table", "--limit", "1"]).await;
    assert!(table.stdout.contains("unknown_status") && table.stdout.contains("1 dead letter"), "{table:?}");
}

#[test]
fn schema_needs_no_broker_and_is_json() {
    let schema = finish(program(&["publish", "--schema"]));
    assert_eq!(schema.code, 0);
    assert_eq!(schema.json()["required"], serde_json::json!(["event_id", "status"]));
}

#[tokio::test]
async fn healthcheck_follows_readiness() {
    let world = World::new().await;
    let worker = world.worker().await;
    let address = worker.http().to_string();
    assert_eq!(world.run(&["healthcheck", "--http-addr", &address]).await.code, 0);
    worker.stop().await;
    let gone = world.run(&["healthcheck", "--http-addr", &address]).await;
    assert_eq!(gone.code, 1);
    assert!(gone.stderr.contains(&address), "{gone:?}");
    let unready = world.start_worker(&[("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f")]).await;
    let checked = world.run(&["healthcheck", "--http-addr", &unready.http().to_string()]).await;
    assert_eq!(checked.code, 1);
    assert!(checked.stderr.contains("not ready"), "{checked:?}");
}

#[tokio::test]
async fn reader_that_goes_away_is_no_error() {
    let world = World::new().await;
    let mut child = world.program(&["sweep"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A full disk or a log collector that has gone away is not the command's failure.
#[tokio::test]
async fn stderr_that_takes_nothing_leaves_the_exit_code_alone() {
    let world = World::new().await;
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    for (arguments, code) in [
        (&["sweep"][..], 0),
        (&["snapshots", "show", "0e8b6bd4-5a52-4b1c-8b6f-7d1f0c3c9a11"], 1),
        (&["dlq", "purge", "--yes"], 2),
        (&["sweeep"], 2),
        (&["dlq", "list"], 1),
    ] {
        for is_full in [true, false] {
            let mut command = world.program(arguments);
            command.env("LIFECYCLE_NO_SUCH_THING", "is noted");
            let command = if is_full { command.stderr(full()) } else { command.stderr(closed()) };
            assert_eq!(command.stdout(Stdio::null()).status().unwrap().code(), Some(code), "{arguments:?}");
        }
    }
}
