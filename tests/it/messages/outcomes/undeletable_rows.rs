//! A row that cannot be deleted keeps no other row of its event, and the dead letter or the log names it.

use crate::support::{Snapshot, World, now, set};

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
    let dead_letter = world.take_dead_letters(1).await.remove(0);
    let error = dead_letter.header("lifecycle-error");
    assert_eq!(dead_letter.reason(), "attempts_exhausted");
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
    world.keep_rows("OLD.snapshot_type = 'rooms'").await;
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
