//! A log that nobody reads holds nothing up, and what is dropped is counted.

use std::io::BufRead;

use serde_json::Value;

use crate::support::{World, eventually};

const DROPPED: &str = "log_lines_dropped_total";

#[tokio::test]
async fn log_that_nobody_reads_holds_up_neither_messages_nor_probes_nor_the_end() {
    let world = World::new().await;
    let (mut worker, lines) = world.worker_with_piped_log(&[]).await;
    // A warning for each: several times what a pipe takes.
    let bodies: Vec<_> = (0..2_000).map(|n| format!("no json {n}").into_bytes()).collect();
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 2_000.0).await;
    assert_eq!((worker.get("/livez").0, worker.get("/readyz").0), (200, 200));
    worker.signal("TERM");
    assert_eq!(worker.ended().await.code(), Some(0));
    assert_eq!(world.dead_letters().await, 2_000);
    let read: Vec<Value> = lines.lines().map_while(|line| serde_json::from_str(&line.ok()?).ok()).collect();
    assert!(read.iter().any(|line| line["message"] == "dependency is up"), "what the pipe took was not lost: {read:?}");
}

#[tokio::test]
async fn lines_that_are_dropped_are_counted_and_the_reader_is_told_once_it_is_back() {
    let world = World::new().await;
    let (mut worker, mut lines) = world.worker_with_piped_log(&[("RUST_LOG", "debug")]).await;
    assert!(worker.metric(DROPPED).abs() < f64::EPSILON, "zero from the start");
    let bodies = vec![b"no json".to_vec(); 2_000];
    eventually("lines to be dropped", async || {
        world.publish_raw(&bodies).await;
        worker.metric(DROPPED) > 0.0
    })
    .await;
    let reading = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        loop {
            line.clear();
            lines.read_line(&mut line).unwrap();
            let line: Value = serde_json::from_str(&line).expect("whole lines, one after another");
            if line["message"] == "log lines were dropped" {
                return (line["lines"].as_u64().unwrap(), lines);
            }
        }
    });
    let (told, lines) = reading.await.unwrap();
    assert!(told > 0);
    // What comes after is read to its end.
    let rest = tokio::task::spawn_blocking(move || lines.lines().map_while(Result::ok).last());
    worker.signal("TERM");
    assert_eq!(worker.ended().await.code(), Some(0));
    let last = rest.await.unwrap().unwrap();
    assert!(last.contains("\"stopped\""), "{last}");
}

#[tokio::test]
async fn worker_that_cannot_start_says_why_though_its_log_is_written_by_a_thread() {
    let world = World::new().await;
    for _ in 0..5 {
        let refused = world.run(&["run", "--http-addr", "192.0.2.1:1"]).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("LIFECYCLE_HTTP_ADDR"), "{refused:?}");
    }
}
