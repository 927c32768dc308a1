//! "What happens to a message": each row of the table.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use sqlx::Connection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Obstacle, Snapshot, World, body, body_of_team, set};

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

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
    let letters = world.take_dead_letters(u32::try_from(cases.len()).unwrap()).await;
    for (reason, body) in &cases {
        let letter =
            letters.iter().find(|letter| letter.body == *body).cloned().expect("the body came through byte for byte");
        assert_eq!(letter.reason(), *reason);
        assert!(!letter.header("lifecycle-error").is_empty());
        assert_eq!(letter.header("lifecycle-attempt"), "1");
        assert_eq!(letter.header("lifecycle-replay-count"), "0");
        assert_eq!(letter.header("lifecycle-exchange"), world.exchange);
        assert_eq!(letter.header("lifecycle-routing-key"), "event.status.confirmed");
        let at = letter.header("lifecycle-dead-lettered-at");
        assert!(OffsetDateTime::parse(&at, &time::format_description::well_known::Rfc3339).is_ok(), "{at}");
        assert_eq!(
            (letter.exchange, letter.routing_key),
            (format!("{}.dlx", world.queue), "event.status.confirmed".to_owned())
        );
        assert_eq!(*letter.properties.delivery_mode(), Some(2));
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
    for letter in world.take_dead_letters(3).await {
        assert_eq!(letter.reason(), "invalid_message");
        assert!(bodies[..3].contains(&letter.body));
    }
    worker.stop().await;
}

#[tokio::test]
async fn attempts_of_a_message_that_somebody_moved_back_by_hand_begin_anew() {
    let world = World::new().await;
    let (team, cursed) = (world.team().await, world.event().await);
    world.refuse_deletes().await;
    world.insert(&Snapshot::of(team).event(cursed)).await;
    let mut headers = FieldTable::default();
    headers.insert("lifecycle-attempt".into(), AMQPValue::LongLongInt(5));
    let worker = world.worker().await;
    let message = body(cursed, "confirmed", now());
    let id = serde_json::from_slice::<serde_json::Value>(&message).unwrap()["message_id"].clone();
    world.publish_with(&[message], &BasicProperties::default().with_headers(headers)).await;
    worker.reaches("messages_total{outcome=\"retried\"}", 1.0).await;
    assert_eq!(world.dead_letters().await, 0);
    let told = worker.logged("delete failed; retry scheduled")[0].clone();
    assert_eq!((&told["message_id"], &told["event_id"]), (&id, &cursed.to_string().into()));
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
    let letters = world.take_dead_letters(1).await;
    assert_eq!((letters[0].reason().as_str(), &letters[0].body), ("too_large", &too_large));
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
    let letters = world.take_dead_letters(1).await;
    assert_eq!((letters[0].reason().as_str(), &letters[0].body), ("team_mismatch", &wrong));
    let error = letters[0].header("lifecycle-error");
    assert!(error.contains(&team.to_string()), "it names the owner: {error}");
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!(world.snapshots().await, set([row]));
}

#[tokio::test]
async fn letter_keeps_the_applications_properties_and_drops_the_brokers() {
    let world = World::new().await;
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString("00-abc".into()));
    headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(9));
    headers.insert("lifecycle-exchange".into(), AMQPValue::LongString("forged".into()));
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_content_type("text/plain".into())
        .with_correlation_id("c-1".into())
        .with_message_id("m-1".into())
        .with_app_id("backend".into())
        .with_timestamp(1_767_614_400)
        .with_user_id("guest".into())
        .with_expiration("60000".into());
    let worker = world.worker().await;
    world.publish_with(&[b"no json".to_vec()], &properties).await;
    let letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!(letter.header("traceparent"), "00-abc");
    // RabbitMQ 3.10 adds a count of its own to what it delivers; ours must not be the publisher's.
    assert_ne!(letter.headers().get("x-delivery-count").map(String::as_str), Some("9"));
    assert_eq!(letter.header("lifecycle-exchange"), world.exchange, "only our own wait queues are believed");
    let kept = letter.properties;
    assert_eq!(kept.content_type().as_ref().unwrap().as_str(), "text/plain");
    assert_eq!(kept.correlation_id().as_ref().unwrap().as_str(), "c-1");
    assert_eq!(kept.message_id().as_ref().unwrap().as_str(), "m-1");
    assert_eq!(kept.app_id().as_ref().unwrap().as_str(), "backend");
    assert_eq!(*kept.timestamp(), Some(1_767_614_400));
    assert!(kept.user_id().is_none() && kept.expiration().is_none());
    worker.stop().await;
}

#[tokio::test]
async fn content_type_and_encoding_are_not_asked() {
    let world = World::new().await;
    let bodies = world.ending_events(4).await;
    let worker = world.worker().await;
    let bare = BasicProperties::default().with_delivery_mode(2);
    for (body, properties) in bodies.into_iter().zip([
        bare.clone().with_content_type("text/plain".into()),
        // Said of a body that is plain JSON all the same.
        bare.clone().with_content_type("application/json".into()).with_content_encoding("gzip".into()),
        bare.clone().with_content_type(String::new().into()),
        bare,
    ]) {
        world.publish_with(&[body], &properties).await;
    }
    worker.reaches("messages_total{outcome=\"applied\"}", 4.0).await;
    assert!(world.snapshots().await.is_empty());
    assert_eq!(world.dead_letters().await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn time_may_come_as_the_amqp_property() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker().await;
    let bare = format!(r#"{{"event_id":"{event}","status":"confirmed"}}"#).into_bytes();
    let seconds = u64::try_from(now().unix_timestamp()).unwrap();
    world.publish_with(&[bare], &BasicProperties::default().with_timestamp(seconds)).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(world.snapshots().await.is_empty());
}

#[tokio::test]
async fn one_that_keeps_failing_waits_then_is_dead_lettered_and_its_neighbours_go_on() {
    let world = World::new().await;
    let (team, cursed) = (world.team().await, world.event().await);
    world
        .sql(format!(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the host says no'; END $$;
             CREATE TRIGGER refuse BEFORE DELETE ON public.snapshots FOR EACH ROW WHEN (OLD.event_id = '{cursed}') EXECUTE FUNCTION public.refuse();"
        ))
        .await;
    let row = world.insert(&Snapshot::of(team).event(cursed)).await;
    let mut bodies = vec![body(cursed, "confirmed", now())];
    for _ in 0..40 {
        let event = world.event().await;
        world.insert(&Snapshot::of(team).event(event)).await;
        bodies.insert(bodies.len() / 2, body(event, "confirmed", now()));
    }
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "2")]).await;
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 40.0).await;
    assert_eq!(world.snapshots().await, set([row]));
    let letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!(letter.reason(), "attempts_exhausted");
    assert_eq!(
        letter.body,
        *bodies.iter().find(|body| String::from_utf8_lossy(body).contains(&cursed.to_string())).unwrap()
    );
    assert!(letter.header("lifecycle-error").contains("the host says no"), "{letter:?}");
    assert_eq!(letter.header("lifecycle-attempt"), "2");
    assert_eq!(letter.header("lifecycle-exchange"), world.exchange);
    assert_eq!(letter.header("lifecycle-routing-key"), "event.status.confirmed");
    assert!(!letter.headers().contains_key("x-death"));
    assert!((worker.metric("messages_total{outcome=\"retried\"}") - 1.0).abs() < 0.1);
    worker.stop().await;
    assert_eq!(world.depth(&world.queue).await, 0);
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
async fn any_sqlstate_that_a_trigger_raises_for_one_event_is_its_own_messages_failure() {
    const CODES: [&str; 13] = [
        "08001", "08006", "25006", "40001", "40P01", "53100", "53300", "57014", "57P01", "57P03", "58030", "P0001",
        "XX000",
    ];
    let world = World::new().await;
    world
        .sql(
            "CREATE TABLE public.curse (event_id uuid PRIMARY KEY, code text);
             CREATE FUNCTION public.curse() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE found text := (SELECT c.code FROM public.curse AS c WHERE c.event_id = OLD.event_id);
             BEGIN
                 IF found IS NOT NULL THEN RAISE EXCEPTION 'cursed %', found USING ERRCODE = found; END IF;
                 RETURN OLD;
             END $$;
             CREATE TRIGGER curse BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.curse()",
        )
        .await;
    let team = world.team().await;
    let (mut rows, mut bodies) = (std::collections::BTreeSet::new(), Vec::new());
    for code in CODES {
        let event = world.event().await;
        world.sql(format!("INSERT INTO public.curse VALUES ('{event}', '{code}')")).await;
        rows.insert(world.insert(&Snapshot::of(team).event(event)).await);
        bodies.push(body(event, "confirmed", now()));
    }
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    world.publish_raw(&bodies).await;
    let mut others = 0.0;
    crate::support::eventually("each to be a dead letter while others pass", async || {
        world.publish_raw(&world.ending_events(1).await).await;
        others += 1.0;
        worker.reaches("messages_total{outcome=\"applied\"}", others).await;
        world.dead_letters().await as usize == CODES.len()
    })
    .await;
    for letter in world.take_dead_letters(u32::try_from(CODES.len()).unwrap()).await {
        assert_eq!(
            (letter.reason().as_str(), letter.header("lifecycle-attempt").as_str()),
            ("attempts_exhausted", "1")
        );
        assert!(letter.header("lifecycle-error").contains("cursed"), "{}", letter.header("lifecycle-error"));
    }
    assert_eq!(world.snapshots().await, rows);
    worker.stop().await;
    assert_eq!(world.waiting().await, 0);
}

/// A trigger that ends the session which deletes a row of the event. The server says 57P01, as it does when it shuts down.
async fn end_the_session_of(world: &World, event: Uuid) {
    world
        .sql(format!(
            "CREATE FUNCTION public.end_session() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN OLD; END';
             CREATE TRIGGER end_session BEFORE DELETE ON public.snapshots FOR EACH ROW WHEN (OLD.event_id = '{event}')
                 EXECUTE FUNCTION public.end_session()"
        ))
        .await;
}

#[tokio::test]
async fn event_that_ends_the_workers_session_lets_others_pass_and_is_applied_once_it_can_be() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    end_the_session_of(&world, event).await;
    let row = world.insert(&Snapshot::of(team).event(event)).await;
    let survivor = world.insert(&Snapshot::of(team)).await;
    let mut bodies = world.ending_events(30).await;
    bodies.insert(15, body(event, "confirmed", now()));
    let worker = world.worker().await;
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 30.0).await;
    worker.reaches("messages_total{outcome=\"retried\"}", 1.0).await;
    assert_eq!((world.snapshots().await, world.dead_letters().await), (set([row, survivor]), 0));
    world.sql("DROP TRIGGER end_session ON public.snapshots").await;
    worker.reaches("messages_total{outcome=\"applied\"}", 31.0).await;
    worker.becomes_ready(true).await;
    worker.stop().await;
    assert_eq!((world.snapshots().await, world.waiting().await, world.dead_letters().await), (set([survivor]), 0, 0));
}

#[tokio::test]
async fn event_that_ends_the_workers_session_while_others_pass_is_its_own_messages_failure() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    end_the_session_of(&world, event).await;
    let row = world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let poison = body(event, "confirmed", now());
    world.publish_raw(std::slice::from_ref(&poison)).await;
    let mut others = 0.0;
    crate::support::eventually("it to be a dead letter while others pass", async || {
        world.publish_raw(&world.ending_events(1).await).await;
        others += 1.0;
        worker.reaches("messages_total{outcome=\"applied\"}", others).await;
        world.dead_letters().await == 1
    })
    .await;
    let letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!((letter.reason().as_str(), &letter.body), ("attempts_exhausted", &poison));
    let error = letter.header("lifecycle-error");
    assert!(error.contains("terminating connection"), "{error}");
    worker.stop().await;
    assert_eq!((world.snapshots().await, world.waiting().await), (set([row]), 0));
}

#[tokio::test]
async fn row_that_cannot_go_costs_itself_only_by_message_and_by_hand() {
    let world = World::new().await;
    let (team, by_message, by_hand) = (world.team().await, world.event().await, world.event().await);
    world.sql("CREATE TABLE public.page_views (snapshot_id uuid REFERENCES public.snapshots (id))").await;
    let mut referenced = Vec::new();
    for event in [by_message, by_hand] {
        for n in 0..100 {
            let id = world.insert(&Snapshot::of(team).event(event)).await;
            if n == 50 {
                world.sql(format!("INSERT INTO public.page_views VALUES ('{id}')")).await;
                referenced.push(id);
            }
        }
    }
    let survivor = world.insert(&Snapshot::of(team)).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    world.confirm_event(by_message, now()).await;
    let letter = world.take_dead_letters(1).await.remove(0);
    let error = letter.header("lifecycle-error");
    assert_eq!(letter.reason(), "attempts_exhausted");
    assert!(error.contains("1 of the event's snapshots") && error.contains(&referenced[0].to_string()), "{error}");
    assert!((worker.metric("snapshots_deleted_total{rule=\"event_end\"}") - 99.0).abs() < 0.1);

    let done = world.run(&["delete-event", &by_hand.to_string(), "--yes"]).await;
    assert_eq!((done.code, done.json()["deleted"].as_u64()), (1, Some(99)), "{done:?}");
    assert!(done.stderr.contains(&referenced[1].to_string()) && done.stderr.contains("page_views"), "{done:?}");
    assert_eq!(world.snapshots().await, set([referenced[0], referenced[1], survivor]));
    worker.stop().await;
}

#[tokio::test]
async fn rows_that_a_trigger_keeps_are_told() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world
        .sql(
            "CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER keep BEFORE DELETE ON public.snapshots FOR EACH ROW WHEN (OLD.snapshot_type = 'rooms') EXECUTE FUNCTION public.keep()",
        )
        .await;
    world.insert(&Snapshot::of(team).event(event)).await;
    let kept = world.insert(&Snapshot::of(team).event(event).kind("rooms")).await;
    let worker = world.worker().await;
    world.confirm_event(event, now()).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    world.publish_raw(&world.ending_events(1).await).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 2.0).await;
    let told = worker.logged("a trigger or rule of the backend kept rows of an ended event");
    assert_eq!(told.len(), 1, "of the other event all rows are gone: {told:?}");
    assert_eq!((told[0]["rows"].as_u64(), told[0]["event_id"].as_str()), (Some(1), Some(event.to_string().as_str())));
    let by_hand = world.run(&["delete-event", &event.to_string(), "--yes"]).await;
    assert_eq!((by_hand.code, &by_hand.json()["deleted"], &by_hand.json()["kept"]), (1, &0.into(), &1.into()));
    assert_eq!((world.snapshots().await, world.dead_letters().await), (set([kept]), 0));
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
    let letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!((letter.reason().as_str(), &letter.body), ("invalid_message", &far));
    let error = letter.header("lifecycle-error");
    assert!(error.contains("more than five minutes ahead of the clock"), "{error}");
    assert_eq!(world.snapshots().await, set([made_since]));
    let publish =
        ["publish", "--event-id", &event.to_string(), "--status", "confirmed", "--occurred-at", "2099-01-01T00:00:00Z"];
    let refused = world.run(&publish).await;
    assert!(refused.code == 1 && refused.stderr.contains("more than five minutes ahead"), "{refused:?}");
    worker.stop().await;
}

#[tokio::test]
async fn one_that_keeps_failing_waits_longer_each_time() {
    let world = World::new().await;
    world.refuse_deletes().await;
    let bodies = world.ending_events(1).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "3")]).await;
    // A second is soon over, so a copy of all that passes the exchange of the wait queues shows the way.
    let (connection, channel) = world.channel().await;
    let (seen, retries) = (format!("{}.seen", world.queue), format!("{}.retry", world.queue));
    let durable = lapin::options::QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(seen.as_str().into(), durable, FieldTable::default()).await.unwrap();
    for key in ["1s", "10s", "1m", "10m", "work"] {
        let none = FieldTable::default();
        channel
            .queue_bind(seen.as_str().into(), retries.as_str().into(), key.into(), Default::default(), none)
            .await
            .unwrap();
    }
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"retried\"}", 2.0).await;
    let ten_seconds = format!("{}.wait.10s", world.queue);
    crate::support::eventually("it to wait for ten seconds", async || world.depth(&ten_seconds).await == 1).await;
    assert_eq!(world.depth(&format!("{}.wait.1s", world.queue)).await, 0);
    let letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!((letter.reason().as_str(), letter.header("lifecycle-attempt").as_str()), ("attempts_exhausted", "3"));
    assert_eq!(letter.body, bodies[0]);
    worker.stop().await;
    let way: Vec<_> = crate::dead_letters::dlq::drain(&world, &seen)
        .await
        .into_iter()
        .map(|copy| (copy.header("lifecycle-attempt"), copy.routing_key))
        .collect();
    let expected = [("1", "1s"), ("1", "work"), ("2", "10s"), ("2", "work")];
    assert_eq!(way, expected.map(|(attempt, key)| (attempt.to_owned(), key.to_owned())));
    channel.queue_delete(seen.as_str().into(), Default::default()).await.unwrap();
    connection.close(200, "done".into()).await.ok();
    assert_eq!(world.waiting().await, 0);
}

#[tokio::test]
async fn one_whose_rows_are_locked_is_tried_again_until_they_are_free() {
    let world = World::new().await;
    let (team, locked, free) = (world.team().await, world.event().await, world.event().await);
    world.insert(&Snapshot::of(team).event(locked)).await;
    world.insert(&Snapshot::of(team).event(free)).await;
    let mut host = sqlx::PgConnection::connect(&world.database_url).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut host).await.unwrap();
    sqlx::query("SELECT FROM public.snapshots WHERE event_id = $1 FOR UPDATE")
        .bind(locked)
        .execute(&mut host)
        .await
        .unwrap();
    let worker = world.worker().await;
    world.publish_raw(&[body(locked, "confirmed", now()), body(free, "confirmed", now())]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    worker.reaches("messages_total{outcome=\"retried\"}", 1.0).await;
    sqlx::raw_sql("COMMIT").execute(&mut host).await.unwrap();
    worker.reaches("messages_total{outcome=\"applied\"}", 2.0).await;
    assert!(world.snapshots().await.is_empty());
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn table_locked_as_a_whole_is_an_outage_and_counts_no_attempt() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let mut host = sqlx::PgConnection::connect(&world.database_url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE public.snapshots IN SHARE MODE").execute(&mut host).await.unwrap();
    world.confirm_event(event, now()).await;
    crate::support::eventually("the worker to hold the message", async || {
        !worker.logged("database does not take deletes; holding messages").is_empty()
    })
    .await;
    sqlx::raw_sql("COMMIT").execute(&mut host).await.unwrap();
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(world.snapshots().await.is_empty());
    assert_eq!(world.dead_letters().await, 0);
    assert!(worker.metric("messages_total{outcome=\"retried\"}") < 0.1);
}

#[tokio::test]
async fn column_that_the_backend_gave_another_type_is_an_outage_and_counts_no_attempt() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    world.sql("ALTER TABLE snapshots DROP CONSTRAINT snapshots_event_id_fkey, ALTER event_id TYPE text").await;
    world.confirm_event(event, now()).await;
    crate::support::eventually("the worker to hold the message", async || {
        !worker.logged("database does not take deletes; holding messages").is_empty()
    })
    .await;
    world.sql("ALTER TABLE snapshots ALTER event_id TYPE uuid USING event_id::uuid").await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(world.snapshots().await.is_empty());
    assert_eq!(world.dead_letters().await, 0);
    assert!(worker.metric("messages_total{outcome=\"retried\"}") < 0.1);
}

#[tokio::test]
async fn letters_wait_in_hand_while_the_dead_letter_queue_is_gone() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    world.worker().await.stop().await;
    // One that declares would make it again.
    let worker = world.worker_with(&[("LIFECYCLE_TOPOLOGY", "verify")]).await;
    let (connection, channel) = world.channel().await;
    let dlq = format!("{}.dead-letter", world.queue);
    channel.queue_delete(dlq.as_str().into(), Default::default()).await.unwrap();
    world.publish_raw(&[b"no json".to_vec()]).await;
    crate::support::eventually("the letter to come back as unroutable", async || {
        !worker.logged("republishing failed; trying again").is_empty()
    })
    .await;
    // Its neighbours go on meanwhile.
    world.confirm_event(event, now()).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(worker.metric("messages_total{outcome=\"dead_lettered\"}") < 0.1);
    let durable = lapin::options::QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(dlq.as_str().into(), durable, FieldTable::default()).await.unwrap();
    channel
        .queue_bind(
            dlq.as_str().into(),
            format!("{}.dlx", world.queue).as_str().into(),
            "".into(),
            Default::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!(letter.reason(), "invalid_json");
    worker.stop().await;
    assert_eq!(world.depth(&world.queue).await, 0);
    connection.close(200, "done".into()).await.ok();
}

/// Its own rows show that the database takes deletes, whatever the SQLSTATE says.
#[tokio::test]
async fn event_of_which_other_rows_pass_is_at_fault_itself() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    let mut rows = Vec::new();
    for _ in 0..3 {
        rows.push(world.insert(&Snapshot::of(team).event(event)).await);
    }
    world.obstruct(rows[1], Obstacle::Raises("53100")).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    world.confirm_event(event, OffsetDateTime::now_utc()).await;
    let letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!(letter.reason(), "attempts_exhausted");
    worker.stop().await;
    assert_eq!(world.snapshots().await, set([rows[1]]));
}
