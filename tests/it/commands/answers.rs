//! The commands, through the binary: answers, exit codes, bad input.

use std::io::Write;
use std::process::{Command, Stdio};

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Snapshot, World, body, finish, on_a_terminal, program, set};

fn fed(mut command: Command, input: &[u8]) -> (i32, String, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).ok(); // it may stop reading at a line that it refuses
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

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
    crate::dead_letters::dlq::letters(&world, 2, "too_large").await;
    let store = std::env::temp_dir().join(format!("{}.json", Uuid::new_v4()));
    let entry =
        r#"{"type": "offer", "created_at": "2026-01-05T12:00:00", "data": {}, "expires_at": "2099-01-05T12:00:00"}"#;
    std::fs::write(&store, format!(r#"{{"snapshots": {{"snap_1": {entry}}}}}"#)).unwrap();
    let (team, store) = (team.to_string(), store.to_str().unwrap());
    let import = ["snapshots", "import", store, "--team-id", &team];
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
    std::fs::remove_file(store).ok();
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
    let file = std::env::temp_dir().join(format!("{}.ndjson", Uuid::new_v4().simple()));
    std::fs::write(&file, lines.join(&b'\n')).unwrap();
    let (code, shown) = on_a_terminal(100, &world.program(&["publish", "--from", file.to_str().unwrap()]));
    std::fs::remove_file(&file).unwrap();
    assert!(code == 0 && shown.contains("20000 messages published"), "{shown}");
    assert!(shown.contains("messages, "), "no bar in {shown}");
}

#[tokio::test]
async fn publish_is_confirmed_and_applied() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker().await;
    let published = world
        .run(&[
            "publish",
            "--event-id",
            &event.to_string(),
            "--status",
            "Confirmed",
            "--team-id",
            &team.to_string(),
            "--step",
            "7",
        ])
        .await;
    assert_eq!(published.code, 0, "{published:?}");
    assert_eq!(published.json()["routing_key"], "event.status.confirmed");
    assert_eq!(published.json()["confirmed"], 1, "a number, as for a file");
    assert!(published.json()["message_id"].as_str().is_some());
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(world.snapshots().await.is_empty());
}

#[tokio::test]
async fn unroutable_and_missing_exchange_are_errors() {
    let world = World::new().await;
    let event = Uuid::new_v4().to_string();
    let nowhere = world.run(&["publish", "--event-id", &event, "--status", "option"]).await;
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.stderr.contains("no exchange"), "{nowhere:?}");
    let (connection, channel) = world.channel().await;
    let durable = lapin::options::ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare(world.exchange.as_str().into(), lapin::ExchangeKind::Topic, durable, Default::default())
        .await
        .unwrap();
    let unroutable = world.run(&["publish", "--event-id", &event, "--status", "option"]).await;
    assert_eq!(unroutable.code, 1);
    assert!(unroutable.stderr.contains("unroutable"), "{unroutable:?}");
    connection.close(200, "done".into()).await.ok();
}

#[tokio::test]
async fn file_is_published_line_by_line_and_a_bad_line_says_where_to_go_on() {
    let world = World::new().await;
    let worker = world.worker().await;
    let mut lines: Vec<String> = (0..2500)
        .map(|_| String::from_utf8(body(Uuid::new_v4(), "option", OffsetDateTime::now_utc())).unwrap())
        .collect();
    lines.insert(1, String::new());
    let (code, stdout, stderr) = fed(world.program(&["publish", "--from", "-"]), lines.join("\n").as_bytes());
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("2500"), "{stdout}");
    worker.reaches("messages_total{outcome=\"ignored\"}", 2500.0).await;

    lines.insert(1200, "{\"event_id\": 7}".to_owned());
    let (code, _, stderr) = fed(world.program(&["publish", "--from", "-"]), lines.join("\n").as_bytes());
    assert_eq!(code, 1);
    assert!(stderr.contains("line 1201") && stderr.contains("--skip 1200"), "{stderr}");
    worker.reaches("messages_total{outcome=\"ignored\"}", 3699.0).await;
    // The line is mended and the rest published.
    lines[1200] = String::new();
    let (code, stdout, stderr) =
        fed(world.program(&["publish", "--from", "-", "--skip", "1200"]), lines.join("\n").as_bytes());
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("1301"), "{stdout}");
    worker.reaches("messages_total{outcome=\"ignored\"}", 5000.0).await;
    worker.stop().await;
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
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
        let letters = listed.json();
        assert_eq!(
            (letters[0]["reason"].as_str(), letters[1]["reason"].as_str()),
            (Some("unknown_status"), Some("invalid_json"))
        );
        assert_eq!(letters[0]["event_id"].as_str(), Some(event.to_string().as_str()));
        assert_eq!(letters[1]["body"], "no json");
    }
    assert_eq!(world.dead_letters().await, 2);
    let table = world.run(&["dlq", "list", "--output", "table", "--limit", "1"]).await;
    assert!(table.stdout.contains("unknown_status") && table.stdout.contains("1 dead letter"), "{table:?}");
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

#[test]
fn unusable_values_end_with_two_and_name_the_variable() {
    for (variable, value, allowed) in [
        ("LIFECYCLE_SWEEP_INTERVAL", "5", "5m"),
        ("LIFECYCLE_EVICT_INTERVAL", "0s", "above zero"),
        ("LIFECYCLE_PREFETCH", "0", "1..="),
        ("LIFECYCLE_PREFETCH", "70000", "65535"),
        ("LIFECYCLE_MAX_MESSAGE_BYTES", "-1", "1..="),
        ("LIFECYCLE_MAX_ATTEMPTS", "many", "invalid digit"),
        ("LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM", "0", "1..="),
        ("LIFECYCLE_DELETE_RATE", "fast", "unlimited"),
        ("LIFECYCLE_TOPOLOGY", "create", "declare, verify"),
        ("LIFECYCLE_HTTP_ADDR", "8080", "127.0.0.1:8080"),
        ("LIFECYCLE_ENV", "staging", "production, development"),
        ("LIFECYCLE_SHUTDOWN_TIMEOUT", "soon", "30s"),
        ("LIFECYCLE_LOG_FORMAT", "xml", "json, text"),
        ("LIFECYCLE_QUEUE", "", "1 to 200 bytes"),
        ("RUST_LOG", "loud[", "debug"),
        ("DATABASE_URL", "mysql://user:secret@host/db", "postgres://"),
        ("AMQP_URL", "http://user:secret@host", "amqp://"),
        ("DATABASE_URL", "", "postgres://"),
    ] {
        let mut command = program(&["run"]);
        command
            .env("DATABASE_URL", "postgres://127.0.0.1:1/none")
            .env("AMQP_URL", "amqp://127.0.0.1:1")
            .env(variable, value);
        let refused = finish(command);
        assert_eq!(refused.code, 2, "{variable}={value}: {refused:?}");
        assert!(refused.stderr.contains(variable), "{variable}={value}: {refused:?}");
        assert!(refused.stderr.contains(allowed), "{variable}={value}: {refused:?}");
        assert!(!refused.stderr.contains("secret"), "{refused:?}");
    }
    let missing = finish(program(&["run"]));
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("DATABASE_URL"), "{missing:?}");
    for wrong in [
        &["sweeep"][..],
        &["publish"],
        &["publish", "--event-id", "7", "--status", "lead"],
        &["publish", "--schema", "--from", "-"],
        &["delete-event"],
        &["sweep", "--yes", "--output", "xml"],
    ] {
        assert_eq!(finish(program(wrong)).code, 2, "{wrong:?}");
    }
}

#[test]
fn errors_of_arguments_say_what_would_do() {
    for (arguments, says) in [
        (&["publish"][..], &["--event-id <ID>", "--from <FILE>"][..]),
        (&["publish", "--event-id", "0e8b6bd4-5a52-4b1c-8b6f-7d1f0c3c9a11"], &["--status"]),
        (&["publish", "--event-id", "abc", "--status", "lead"], &["--event-id", "not a UUID"]),
        (&["snapshots", "list"], &["--team-id <ID>", "--event-id <ID>"]),
        (&["snapshots", "list", "--team-id", "7"], &["--team-id", "not a UUID"]),
        (&["snapshots", "show", "abc"], &["not a UUID"]),
        (&["retention", "set", "offer"], &["--ttl <DURATION>", "--keep-after-event", "--restamp"]),
        (&["evict", "--team-id", "abc"], &["not a UUID"]),
        (&["delete-event", "abc"], &["EVENT_ID", "not a UUID"]),
        (&["dlq", "list", "--reason", "bad"], &["--reason", "unknown_status", "delivery_limit"]),
        (&["dlq", "list", "--since", "yesterday"], &["RFC 3339", "1h"]),
        (&["dlq", "replay", "--stop-on-failures", "0.2"], &["20%", "0.2%"]),
        (&["dlq", "replay", "--stop-on-failures", "NaN"], &["20%"]),
    ] {
        let refused = finish(program(arguments));
        assert_eq!(refused.code, 2, "{arguments:?}: {refused:?}");
        assert!(says.iter().all(|says| refused.stderr.contains(says)), "{arguments:?}: {refused:?}");
    }
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

#[tokio::test]
async fn secrets_may_come_from_files_and_are_never_shown() {
    let world = World::new().await;
    let file = std::env::temp_dir().join(format!("{}-url", world.queue));
    std::fs::write(&file, format!("{}\n", world.database_url)).unwrap();
    let mut command = program(&["sweep"]);
    command.env("DATABASE_URL_FILE", &file);
    let swept = finish(command);
    assert_eq!(swept.code, 0, "{swept:?}");

    let mut command = program(&["sweep"]);
    command.env("DATABASE_URL_FILE", &file).env("DATABASE_URL", &world.database_url);
    let both = finish(command);
    assert_eq!(both.code, 2);
    assert!(both.stderr.contains("DATABASE_URL and DATABASE_URL_FILE"), "{both:?}");

    let mut command = program(&["sweep"]);
    command.env("DATABASE_URL_FILE", "/no/such/file");
    let absent = finish(command);
    assert_eq!(absent.code, 2);
    assert!(absent.stderr.contains("DATABASE_URL_FILE") && absent.stderr.contains("/no/such/file"), "{absent:?}");

    std::fs::write(&file, format!("\u{feff}{}", world.database_url)).unwrap();
    let mut command = program(&["sweep"]);
    command.env("DATABASE_URL_FILE", &file);
    let marked = finish(command);
    assert_eq!(marked.code, 2);
    assert!(marked.stderr.contains("DATABASE_URL_FILE") && marked.stderr.contains("byte order mark"), "{marked:?}");

    // Empty is unset, and what another command needs is not read.
    let mut command = world.program(&["sweep"]);
    command.env("DATABASE_URL_FILE", "").env_remove("AMQP_URL").env("AMQP_URL_FILE", "/no/such/file");
    let swept = finish(command);
    assert_eq!(swept.code, 0, "{swept:?}");

    std::fs::write(&file, "postgres://user:hunter2@127.0.0.1:1/none").unwrap();
    for arguments in [&["run", "--help"][..], &["sweep"]] {
        let mut command = program(arguments);
        command.env("DATABASE_URL_FILE", &file).env("AMQP_URL", "amqp://user:hunter2@127.0.0.1:1");
        let shown = finish(command);
        assert!(!format!("{shown:?}").contains("hunter2"), "{shown:?}");
    }
    std::fs::remove_file(&file).ok();
}

#[test]
fn schema_needs_no_broker_and_is_json() {
    let schema = finish(program(&["publish", "--schema"]));
    assert_eq!(schema.code, 0);
    assert_eq!(schema.json()["required"], serde_json::json!(["event_id", "status"]));
}

#[tokio::test]
async fn reader_that_goes_away_is_no_error() {
    let world = World::new().await;
    let mut child = world.program(&["sweep"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn server_that_is_away_is_an_error_with_a_reason() {
    let world = World::new().await;
    let mut command = world.program(&["sweep"]);
    command.env("DATABASE_URL", "postgres://user:hunter2@127.0.0.1:1/none");
    let away = finish(command);
    assert_eq!(away.code, 1);
    assert!(!away.stderr.contains("hunter2"), "{away:?}");
    let mut command = world.program(&["publish", "--event-id", &Uuid::new_v4().to_string(), "--status", "lead"]);
    command.env("AMQP_URL", "amqp://user:hunter2@127.0.0.1:1");
    let away = finish(command);
    assert_eq!(away.code, 1);
    assert!(away.stderr.contains("not published") && !away.stderr.contains("hunter2"), "{away:?}");
}
