//! "Event end": what a confirmed or cancelled event takes, and what it never takes.

use time::Duration;

use crate::support::{Snapshot, World, body, body_of_team, now, set};

#[tokio::test]
async fn confirmed_and_cancelled_delete_and_the_other_statuses_do_not() {
    let world = World::new().await;
    let team = world.team().await;
    let mut survivors = Vec::new();
    let mut bodies = Vec::new();
    for status in ["Confirmed", "CANCELLED", "lead", "Option", "blocked"] {
        let event = world.event().await;
        let id = world.insert(&Snapshot::of(team).event(event)).await;
        if matches!(status, "lead" | "Option" | "blocked") {
            survivors.push(id);
        }
        bodies.push(body(event, status, now()));
    }
    let worker = world.worker().await;
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 2.0).await;
    worker.reaches("messages_total{outcome=\"ignored\"}", 3.0).await;
    assert_eq!(world.snapshots().await, survivors.into_iter().collect());
    assert!((worker.metric("snapshots_deleted_total{rule=\"event_end\"}") - 2.0).abs() < 0.1);
    worker.stop().await;
    assert_eq!(world.depth(&world.queue).await, 0);
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn row_made_at_the_moment_goes_and_a_microsecond_later_stays() {
    let world = World::new().await;
    let (team, event, at) = (world.team().await, world.event().await, now() - Duration::MINUTE);
    world.insert(&Snapshot::of(team).event(event).created_at(at - Duration::MICROSECOND)).await;
    world.insert(&Snapshot::of(team).event(event).created_at(at)).await;
    let later = world.insert(&Snapshot::of(team).event(event).created_at(at + Duration::MICROSECOND)).await;
    let worker = world.worker().await;
    world.confirm_event(event, at).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!(world.snapshots().await, set([later]));
}

#[tokio::test]
async fn kept_types_stay_and_types_nobody_listed_go() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    for kind in ["offer", "rooms", "products", "floor_plan"] {
        world.insert(&Snapshot::of(team).event(event).kind(kind)).await;
    }
    let qna = world.insert(&Snapshot::of(team).event(event).kind("qna")).await;
    let worker = world.worker().await;
    world.confirm_event(event, now()).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!(world.snapshots().await, set([qna]));
}

#[tokio::test]
async fn other_events_other_teams_and_rows_without_event_stay() {
    let world = World::new().await;
    let (team, other_team) = (world.team().await, world.team().await);
    let (event, other_event) = (world.event().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let of_other_team = world.insert(&Snapshot::of(other_team).event(event)).await;
    let of_other_event = world.insert(&Snapshot::of(team).event(other_event)).await;
    let without_event = world.insert(&Snapshot::of(team)).await;
    let worker = world.worker().await;
    world.publish_raw(&[body_of_team(event, Some(team), "confirmed", now())]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!(world.snapshots().await, set([of_other_team, of_other_event, without_event]));

    // Without a team in the message the event's snapshots go whosever they are.
    world.confirm_event(event, now()).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 2.0).await;
    assert_eq!(world.snapshots().await, set([of_other_event, without_event]));
}

#[tokio::test]
async fn row_without_created_at_is_left_to_the_ttl() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    let undated = world.insert(&Snapshot::of(team).event(event).without_created_at()).await;
    let worker = world.worker().await;
    world.confirm_event(event, now()).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert_eq!(world.snapshots().await, set([undated]));
}

#[tokio::test]
async fn same_messages_in_any_order_and_number_leave_the_same_rows() {
    let world = World::new().await;
    let (team, event, booked) = (world.team().await, world.event().await, now() - Duration::WEEK);
    world.insert(&Snapshot::of(team).event(event).created_at(booked - Duration::DAY)).await;
    let made_after = world.insert(&Snapshot::of(team).event(event).created_at(booked + Duration::DAY)).await;
    let option = body(event, "option", booked - Duration::DAY);
    let confirmed = body(event, "confirmed", booked);
    let worker = world.worker().await;

    // Ten times in one batch, out of order, then again one by one, as a replay from last week would come.
    let mut burst = vec![confirmed.clone(); 10];
    burst.insert(3, option.clone());
    world.publish_raw(&burst).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 10.0).await;
    assert_eq!(world.snapshots().await, set([made_after]));
    for _ in 0..3 {
        world.publish_raw(&[confirmed.clone(), option.clone()]).await;
    }
    worker.reaches("messages_total{outcome=\"applied\"}", 13.0).await;
    worker.reaches("messages_total{outcome=\"ignored\"}", 4.0).await;
    assert_eq!(world.snapshots().await, set([made_after]));
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn later_of_two_ends_in_one_batch_counts() {
    let world = World::new().await;
    let (team, event, at) = (world.team().await, world.event().await, now() - Duration::HOUR);
    world.insert(&Snapshot::of(team).event(event).created_at(at - Duration::MINUTE)).await;
    world.insert(&Snapshot::of(team).event(event).created_at(at + Duration::MINUTE)).await;
    let survivor = world.insert(&Snapshot::of(team).event(event).created_at(at + Duration::MINUTE * 3)).await;
    let worker = world.worker().await;
    let later = body(event, "cancelled", at + Duration::MINUTE * 2);
    world.publish_raw(&[body(event, "confirmed", at), later, body(event, "confirmed", at)]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 3.0).await;
    assert_eq!(world.snapshots().await, set([survivor]));
}

#[tokio::test]
async fn two_workers_share_a_queue_and_lose_nothing() {
    let world = World::new().await;
    let team = world.team().await;
    let mut bodies = Vec::new();
    for _ in 0..300 {
        let event = world.event().await;
        world.insert(&Snapshot::of(team).event(event)).await;
        // Each twice, so that both workers are likely to delete the same rows at once.
        bodies.extend([body(event, "confirmed", now()), body(event, "confirmed", now())]);
    }
    let survivor = world.insert(&Snapshot::of(team)).await;
    let small = [("LIFECYCLE_PREFETCH", "20")];
    let (one, two) = (world.worker_with(&small).await, world.worker_with(&small).await);
    world.publish_raw(&bodies).await;
    crate::support::eventually("both workers to have applied everything", async || {
        let applied = "messages_total{outcome=\"applied\"}";
        one.metric(applied) + two.metric(applied) >= 600.0
    })
    .await;
    assert_eq!(world.snapshots().await, set([survivor]));
    one.stop().await;
    two.stop().await;
    assert_eq!(world.depth(&world.queue).await, 0);
}
