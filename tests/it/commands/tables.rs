//! Tables on a terminal: each line fits, and no id, reason or time is broken.

use lapin::BasicProperties;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::support::{Snapshot, TempFile, World, body, on_a_terminal};

const REASONS: [&str; 3] = ["unknown_status", "invalid_json", "invalid_message"];

/// Everything in a table is whole: what looks like a part of an id or of a time is an id or a time, and each line fits.
fn nothing_is_broken(columns: usize, shown: &str) {
    for line in shown.lines().filter(|line| !line.contains('\u{1b}')) {
        assert!(line.chars().count() <= columns, "{line:?} is longer than {columns} in\n{shown}");
        for word in line.split_whitespace().filter(|word| !word.contains("--") && !word.contains('/')) {
            let (word, parts) = (word.trim_matches(['…', ',', ';', '"', '.', ':']), word.matches('-').count());
            let digits = word.chars().filter(char::is_ascii_hexdigit).count();
            if word.len() > 7 && parts >= 2 && digits * 2 > word.len() && word.matches('-').count() != 2 {
                assert!(Uuid::parse_str(word).is_ok(), "{word:?} is a part of an id in\n{shown}");
            }
            if word.starts_with("20") && word.contains('T') && word.contains('-') {
                assert!(OffsetDateTime::parse(word, &Rfc3339).is_ok(), "{word:?} is a part of a time in\n{shown}");
            }
            let reason = REASONS.iter().find(|reason| reason.starts_with(word) && word.contains('_'));
            assert!(reason.is_none_or(|reason| *reason == word), "{word:?} is a part of a reason in\n{shown}");
        }
    }
}

#[tokio::test]
async fn no_table_breaks_an_id_a_reason_or_a_time_on_a_narrow_terminal() {
    let world = World::new().await;
    let (team, event, now) = (world.team().await, world.event().await, OffsetDateTime::now_utc());
    let worker = world.worker().await;
    let mut bodies = vec![b"not json".to_vec(), b"{\"event_id\": 7}".to_vec()];
    bodies.extend((0..12).map(|_| body(Uuid::new_v4(), "paid", now)));
    let with_id = BasicProperties::default().with_delivery_mode(2).with_message_id(Uuid::new_v4().to_string().into());
    world.publish_with(&bodies, &with_id).await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 14.0).await;
    worker.stop().await;
    let id = world.insert(&Snapshot::of(team).event(event)).await.to_string();
    world.insert_many(team, 12).await;
    let entry = |event: Option<Uuid>| json!({ "type": "offer", "created_at": "2026-01-05T12:00:00", "data": {}, "event_id": event, "expires_at": "2099-01-05T12:00:00" });
    let entries = json!({ "snapshots": { "snap_20260105_120000_1a2b3c4d": entry(None), "snap_20260105_120000_1a2b3c4e": entry(Some(Uuid::new_v4())) } });
    let store = TempFile::new(entries.to_string());

    let (team, event, store) = (team.to_string(), event.to_string(), store.path());
    let tables: &[&[&str]] = &[
        &["dlq", "list"],
        &["dlq", "stats"],
        &["dlq", "show"],
        &["dlq", "replay"],
        &["dlq", "purge"],
        &["snapshots", "list", "--team-id", &team],
        &["snapshots", "list", "--event-id", &event],
        &["snapshots", "show", &id],
        &["snapshots", "import", store, "--team-id", &team, "--dry-run"],
        &["evict", "--max-snapshots-per-team", "5"],
        &["sweep"],
        &["delete-event", &event],
        &["retention", "list"],
        &["outbox", "status"],
        &["doctor"],
    ];
    for arguments in tables {
        for columns in [80, 60, 132] {
            let (_, shown) = on_a_terminal(u32::try_from(columns).unwrap(), &world.program(arguments));
            nothing_is_broken(columns, &shown);
        }
    }
    // Twelve dead letters are not a screenful each, and those with little to say are still told apart by their ids.
    let (_, shown) = on_a_terminal(80, &world.program(&["dlq", "list"]));
    assert!(shown.lines().count() < 22, "{shown}");
    assert!(
        shown.contains("unknown_status") && shown.contains(with_id.message_id().as_ref().unwrap().as_str()),
        "{shown}"
    );
    // Off a terminal nothing is left out, however long a line is.
    let whole = world.run(&["dlq", "list", "--output", "table"]).await;
    assert!(!whole.stdout.contains('…') && whole.stdout.contains("bytes"), "{whole:?}");
}
