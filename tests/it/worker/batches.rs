//! What the metrics say of batches.

use crate::support::{World, eventually};

#[tokio::test]
async fn messages_and_seconds_of_each_batch_are_measured() {
    let world = World::with_queues().await;
    world.publish_raw(&world.ending_events(40).await).await;
    let worker = world.worker().await;
    eventually("all to be measured", async || worker.metric("batch_messages_sum") >= 40.0).await;
    assert!(worker.metric("batch_messages_sum") <= 40.0, "each once");
    assert!(worker.metric("batch_messages_count") < 40.0, "several in one");
    assert!(worker.metric("batch_seconds_sum") > 0.0);
    worker.stop().await;
}
