//! What can never succeed is dead-lettered at once; what is not for us to judge is not.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Snapshot, World, body, body_of_team, now, set};

#[tokio::test]
async fn what_can_never_succeed_is_dead_lettered_at_once_byte_for_byte() {
    let world = World::new().await;
    let event = Uuid::new_v4();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("invalid_json", b"{\"event_id\": \xff\x00".to_vec()),
        ("invalid_json", Vec::new()),
        ("invalid_message", b"{}".to_vec()),
        ("invalid_message", br#"{"event_id": 7, "status": "confirmed"}"#.to_vec()),
        (
            "invalid_message",
            format!(r#"{{"event_id":"{event}","status":"confirmed","occurred_at":"yesterday"}}"#).into_bytes(),
        ),
        ("unknown_status", body(event, "paid", now())),
    ];
    let worker = world.worker().await;
    world.publish_raw(&cases.iter().map(|(_, body)| body.clone()).collect::<Vec<_>>()).await;
    let dead_letters = world.take_dead_letters(u32::try_from(cases.len()).unwrap()).await;
    for (reason, body) in &cases {
        let dead_letter = dead_letters
            .iter()
            .find(|dead_letter| dead_letter.body == *body)
            .cloned()
            .expect("the body came through byte for byte");
        assert_eq!(dead_letter.reason(), *reason);
        assert!(!dead_letter.header("lifecycle-error").is_empty());
        assert_eq!(dead_letter.header("lifecycle-attempt"), "1");
        assert_eq!(dead_letter.header("lifecycle-replay-count"), "0");
        assert_eq!(dead_letter.header("lifecycle-exchange"), world.exchange);
        assert_eq!(dead_letter.header("lifecycle-routing-key"), "event.status.confirmed");
        let at = dead_letter.header("lifecycle-dead-lettered-at");
        assert!(OffsetDateTime::parse(&at, &time::format_description::well_known::Rfc3339).is_ok(), "{at}");
        assert_eq!(
            (dead_letter.exchange, dead_letter.routing_key),
            (format!("{}.dlx", world.queue), "event.status.confirmed".to_owned())
        );
        assert_eq!(*dead_letter.properties.delivery_mode(), Some(2));
    }
    worker.reaches("dead_letters_total{reason=\"invalid_message\"}", 3.0).await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 6.0).await;
    worker.stop().await;
    assert_eq!(world.depth(&world.queue).await, 0);
}

#[tokio::test]
async fn instant_that_the_database_has_no_type_for_is_dead_lettered_and_crashes_nobody() {
    let world = World::new().await;
    let worker = world.worker().await;
    let times =
        ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z"];
    let bodies = times.map(|at| {
        format!(r#"{{"event_id":"{}","status":"confirmed","occurred_at":"{at}"}}"#, Uuid::new_v4()).into_bytes()
    });
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    // The third is readable, and far ahead of every clock.
    for dead_letter in world.take_dead_letters(3).await {
        assert_eq!(dead_letter.reason(), "invalid_message");
        assert!(bodies[..3].contains(&dead_letter.body));
    }
    worker.stop().await;
}

#[tokio::test]
async fn message_at_the_limit_is_read_and_a_byte_more_is_too_large() {
    let world = World::new().await;
    let padded = |length: usize| {
        let mut body = body(Uuid::new_v4(), "option", now());
        body.resize(length, b' '); // white space after the object is JSON still
        body
    };
    let worker = world.worker_with(&[("LIFECYCLE_MAX_MESSAGE_BYTES", "1000")]).await;
    let too_large = padded(1001);
    world.publish_raw(&[padded(999), padded(1000), too_large.clone()]).await;
    worker.reaches("messages_total{outcome=\"ignored\"}", 2.0).await;
    let dead_letters = world.take_dead_letters(1).await;
    assert_eq!((dead_letters[0].reason().as_str(), &dead_letters[0].body), ("too_large", &too_large));
    let counted = ["messages_total{outcome=\"applied\"}", "message_age_seconds_count"].map(|name| worker.metric(name));
    assert_eq!(format!("{counted:?}"), "[0.0, 2.0]", "what is ignored is not applied, and has an age all the same");
}

#[tokio::test]
async fn another_teams_event_is_a_mismatch_and_nothing_is_deleted() {
    let world = World::new().await;
    let (team, stranger, event) = (world.team().await, world.team().await, world.event().await);
    let row = world.insert(&Snapshot::of(team).event(event)).await;
    let without_rows = world.event().await;
    let worker = world.worker().await;
    let wrong = body_of_team(event, Some(stranger), "confirmed", now());
    // An event without any snapshot is nobody's: nothing to do, not a mismatch.
    world.publish_raw(&[wrong.clone(), body_of_team(without_rows, Some(stranger), "confirmed", now())]).await;
    let dead_letters = world.take_dead_letters(1).await;
    assert_eq!((dead_letters[0].reason().as_str(), &dead_letters[0].body), ("team_mismatch", &wrong));
    let error = dead_letters[0].header("lifecycle-error");
    assert!(error.contains(&team.to_string()), "it names the owner: {error}");
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!(world.snapshots().await, set([row]));
}

#[tokio::test]
async fn another_teams_snapshots_that_would_stay_anyway_are_no_mismatch() {
    let world = World::new().await;
    let (team, other, event) = (world.team().await, world.team().await, world.event().await);
    let at = now() - time::Duration::MINUTE;
    let outlives = world.insert(&Snapshot::of(other).event(event).kind("qna")).await;
    let newer = world.insert(&Snapshot::of(other).event(event).created_at(at + time::Duration::SECOND)).await;
    let worker = world.worker().await;
    world.publish_raw(&[body_of_team(event, Some(team), "confirmed", at)]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!((world.snapshots().await, world.dead_letters().await), (set([outlives, newer]), 0));
    worker.stop().await;
}

#[tokio::test]
async fn status_far_ahead_of_the_clock_is_refused_and_one_a_little_ahead_takes_nothing_made_since() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    let ahead = |minutes| now() + time::Duration::minutes(minutes);
    world.insert(&Snapshot::of(team).event(event)).await;
    let made_since = world.insert(&Snapshot::of(team).event(event).created_at(ahead(2))).await;
    let worker = world.worker().await;
    let far = body(event, "confirmed", ahead(6));
    world.publish_raw(&[far.clone(), body(event, "confirmed", ahead(4))]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    let dead_letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!((dead_letter.reason().as_str(), &dead_letter.body), ("invalid_message", &far));
    let error = dead_letter.header("lifecycle-error");
    assert!(error.contains("more than five minutes ahead of the clock"), "{error}");
    assert_eq!(world.snapshots().await, set([made_since]));
    let publish =
        ["publish", "--event-id", &event.to_string(), "--status", "confirmed", "--occurred-at", "2099-01-01T00:00:00Z"];
    let refused = world.run(&publish).await;
    assert!(refused.code == 1 && refused.stderr.contains("more than five minutes ahead"), "{refused:?}");
    worker.stop().await;
}
