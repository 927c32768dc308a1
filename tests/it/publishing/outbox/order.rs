//! The records of an event are published in the order of its changes.

use crate::support::{World, eventually};

#[tokio::test]
async fn two_workers_publish_each_change_once_and_in_order() {
    let world = World::new().await;
    world.install_outbox().await;
    let (one, two) = (world.worker().await, world.worker().await);
    let copy = world.copy_messages().await;
    let mut events = Vec::new();
    for _ in 0..20 {
        events.push(world.event().await);
    }
    let order = ["lead", "option", "blocked", "option", "confirmed", "cancelled"];
    for status in order {
        for event in &events {
            world.set_status(*event, status).await;
        }
    }
    eventually("all to be published", async || one.published() + two.published() >= 120.0).await;
    eventually("the outbox to be empty", async || world.outbox_records().await == 0).await;
    let (statuses, ids) = world.take_statuses(&copy).await;
    assert_eq!(ids.len(), 120, "each once");
    assert_eq!(statuses.len(), 20);
    assert!(statuses.values().all(|heard| heard == &order), "{statuses:?}");
    assert!(one.published() < 1.0 || two.published() < 1.0, "one of them does it");
    // The other takes over when the first is gone.
    let (mut busy, idle) = if one.published() > 0.0 { (one, two) } else { (two, one) };
    busy.signal("KILL");
    busy.ended().await;
    world.set_status(events[0], "lead").await;
    eventually("the other to take over", async || idle.published() >= 1.0).await;
    idle.stop().await;
}

#[tokio::test]
async fn later_record_of_an_event_does_not_overtake_one_that_was_read_at_the_same_time() {
    let world = World::new().await;
    world.install_outbox().await;
    let worker = world.worker().await;
    let queue = world.own_queue(&world.exchange, &["event.status.confirmed"]).await;
    world.unbind_queue().await;
    let (event, marker) = (world.event().await, world.event().await);
    world
        .sql(format!(
            r"
                BEGIN;
                UPDATE public.events SET status = 'lead' WHERE id = '{event}';
                UPDATE public.events SET status = 'confirmed' WHERE id = '{event}';
                UPDATE public.events SET status = 'confirmed' WHERE id = '{marker}';
                COMMIT"
        ))
        .await;
    eventually("the other event's to be published", async || world.depth(&queue).await > 0).await;
    // A change of the marker that is published after this one has been read together with the stuck ones.
    world.set_status(marker, "option").await;
    eventually("both events to be tried again", async || {
        worker.metric("outbox_messages_total{outcome=\"failed\"}") >= 4.0
    })
    .await;
    assert_eq!((world.depth(&queue).await, world.outbox_records().await), (1, 3));
    world.own_queue(&world.exchange, &["event.status.#"]).await;
    eventually("all to be published", async || world.outbox_records().await == 0).await;
    worker.stop().await;
    let (statuses, _) = world.take_statuses(&queue).await;
    assert_eq!(statuses[&event.to_string()], ["lead", "confirmed"]);
    assert_eq!(statuses[&marker.to_string()], ["confirmed", "option"]);
}

#[tokio::test]
async fn record_that_is_committed_behind_others_is_not_overtaken_by_the_next_of_its_event() {
    let world = World::new().await;
    world.install_outbox().await;
    let worker = world.worker().await;
    let copy = world.copy_messages().await;
    let mut events = Vec::new();
    for round in 1..=8 {
        let (event, other) = (world.event().await, world.event().await);
        let mut slow = world.pool.begin().await.unwrap();
        sqlx::query("UPDATE public.events SET status = 'lead' WHERE id = $1")
            .bind(event)
            .execute(&mut *slow)
            .await
            .unwrap();
        world.set_status(other, "lead").await;
        eventually("the other's to be published", async || worker.published() >= f64::from(round * 3 - 2)).await;
        slow.commit().await.unwrap();
        world.set_status(event, "option").await;
        eventually("both to be published", async || worker.published() >= f64::from(round * 3)).await;
        events.push(event);
    }
    worker.stop().await;
    let (statuses, _) = world.take_statuses(&copy).await;
    for event in events {
        assert_eq!(statuses[&event.to_string()], ["lead", "option"]);
    }
}

#[tokio::test]
async fn record_that_is_committed_after_those_behind_it_is_published() {
    let world = World::new().await;
    world.install_outbox().await;
    let (event, other) = (world.event().await, world.event().await);
    let worker = world.worker().await;
    let mut slow = world.pool.begin().await.unwrap();
    sqlx::query("UPDATE public.events SET status = 'lead' WHERE id = $1")
        .bind(event)
        .execute(&mut *slow)
        .await
        .unwrap();
    for (status, count) in [("lead", 1.0), ("option", 2.0), ("blocked", 3.0)] {
        world.set_status(other, status).await;
        worker.reaches("messages_total{outcome=\"ignored\"}", count).await;
    }
    slow.commit().await.unwrap();
    worker.reaches("messages_total{outcome=\"ignored\"}", 4.0).await;
    worker.stop().await;
}
