//! Health and metrics.

use crate::support::{Snapshot, Worker, World, body};

#[tokio::test]
async fn every_series_is_exported_at_zero_from_the_start() {
    let world = World::new().await;
    let worker = world.worker().await;
    let zero = |series: &str| assert!(worker.metric(series).abs() < f64::EPSILON, "{series}");
    for outcome in ["applied", "ignored", "retried", "dead_lettered"] {
        zero(&format!("messages_total{{outcome=\"{outcome}\"}}"));
    }
    for reason in [
        "too_large",
        "invalid_json",
        "invalid_message",
        "unknown_status",
        "team_mismatch",
        "attempts_exhausted",
        "replayed_too_often",
    ] {
        zero(&format!("dead_letters_total{{reason=\"{reason}\"}}"));
    }
    for rule in ["event_end", "ttl", "cap"] {
        zero(&format!("snapshots_deleted_total{{rule=\"{rule}\"}}"));
    }
    for histogram in ["batch_seconds", "batch_messages", "message_age_seconds"] {
        zero(&format!("{histogram}_count"));
    }
    for rule in ["ttl", "cap"] {
        worker.metric(&format!("pass_seconds_count{{rule=\"{rule}\"}}"));
        worker.metric(&format!("last_pass_timestamp_seconds{{rule=\"{rule}\"}}"));
    }
    for gauge in [
        "expired_snapshots",
        "oldest_expired_seconds",
        "dead_letter_queue_messages",
        "queue_messages",
        "wait_queue_messages",
    ] {
        zero(gauge);
    }
    for dependency in ["postgres", "rabbitmq"] {
        assert!((worker.metric(&format!("up{{dependency=\"{dependency}\"}}")) - 1.0).abs() < f64::EPSILON);
    }
    let (_, text) = worker.get("/metrics");
    for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
        assert!(line.starts_with("# TYPE snapshot_lifecycle_"), "{line}");
    }
}

#[tokio::test]
async fn production_says_nothing_but_ok_and_development_says_what_is_up() {
    let world = World::new().await;
    let worker = world.worker().await;
    assert_eq!(worker.get("/livez"), (200, "{\"status\":\"ok\"}".to_owned()));
    assert_eq!(worker.get("/readyz"), (200, "{\"status\":\"ok\"}".to_owned()));
    assert_eq!(worker.get("/").0, 404);
    worker.stop().await;

    let nowhere = [("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f"), ("LIFECYCLE_ENV", "production")];
    let worker = world.start_worker(&nowhere).await;
    assert_eq!(worker.get("/readyz"), (503, "{\"status\":\"unavailable\"}".to_owned()));
    assert_eq!(worker.get("/livez").0, 200);

    let nowhere = [("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f"), ("LIFECYCLE_ENV", "development")];
    let worker = world.start_worker(&nowhere).await;
    crate::support::eventually("PostgreSQL to be seen", async || {
        worker.get("/readyz").1.contains("\"postgres\":\"up\"")
    })
    .await;
    let (code, body) = worker.get("/readyz");
    assert_eq!(code, 503);
    assert!(body.contains("\"rabbitmq\":\"down\""), "{body}");
}

#[tokio::test]
async fn gauges_follow_what_is_in_the_queues_and_the_table() {
    let world = World::new().await;
    let worker = world.worker_with(&[("RUST_LOG", "debug")]).await;
    world.publish_raw(&[b"no json".to_vec()]).await;
    worker.reaches("dead_letter_queue_messages", 1.0).await;

    // Without an interval of its own it sweeps once, some seconds after its start.
    worker.reaches("pass_seconds_count{rule=\"ttl\"}", 1.0).await;
    let (team, event) = (world.team().await, world.event().await);
    let now = time::OffsetDateTime::now_utc();
    for hours in [1, 2, 3] {
        world.insert(&Snapshot::of(team).expires_at(now - time::Duration::hours(hours))).await;
    }
    worker.reaches("expired_snapshots", 3.0).await;
    worker.reaches("oldest_expired_seconds", 3.0 * 3600.0).await;
    assert!(worker.metric("oldest_expired_seconds") < 4.0 * 3600.0);

    world.publish_raw(&[body(event, "confirmed", now - time::Duration::HOUR)]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    assert!(worker.metric("message_age_seconds_count") >= 1.0);
    assert!((3600.0..7200.0).contains(&worker.metric("message_age_seconds_sum")), "an hour old");
    assert!(worker.metric("batch_seconds_count") >= 2.0 && worker.metric("batch_seconds_sum") > 0.0);
    assert!(worker.metric("batch_messages_sum") >= 2.0);

    // Nothing is taken while deletes do not pass.
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.snapshots IN SHARE MODE").execute(&mut *lock).await.unwrap();
    worker.stop().await;
    let worker = world.start_worker(&[]).await;
    world.publish_raw(&vec![body(event, "confirmed", now); 5]).await;
    worker.reaches("queue_messages", 5.0).await;
    lock.rollback().await.unwrap();
    worker.reaches("messages_total{outcome=\"applied\"}", 5.0).await;
    worker.stop().await;
}

/// Clients that come again a second after they are shut out.
struct Crowd(Vec<tokio::task::JoinHandle<()>>);

impl Crowd {
    /// `idle` that say nothing, and `slow` that send a byte of a request each second.
    fn of(http: std::net::SocketAddr, idle: usize, slow: usize) -> Self {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        const SECOND: std::time::Duration = std::time::Duration::from_secs(1);
        let clients = (0..idle + slow).map(|n| {
            tokio::spawn(async move {
                loop {
                    if let Ok(mut stream) = tokio::net::TcpStream::connect(http).await {
                        if n < idle {
                            stream.read_u8().await.ok();
                        } else {
                            let mut request = b"GET /livez HTTP/1.1".iter().cycle();
                            while stream.write_all(&[*request.next().unwrap()]).await.is_ok() {
                                tokio::time::sleep(SECOND).await;
                            }
                        }
                    }
                    tokio::time::sleep(SECOND).await;
                }
            })
        });
        Self(clients.collect())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Each probe is answered. On a machine that runs the client 20 ms too late its connection may be closed before it asked, so it
/// asks up to three times, as often as Kubernetes does before it restarts a container.
async fn probes_are_answered(worker: &Worker) {
    for n in 0..50 {
        for path in ["/livez", "/readyz", "/metrics"] {
            let answer = (0..3).map(|_| worker.get(path)).find(|answer| answer.0 != 0).unwrap_or_default();
            assert_eq!(answer.0, 200, "{path}, try {n}: {answer:?}\n{}", worker.log_text());
        }
        crate::support::pause().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_and_metrics_are_answered_beside_a_thousand_idle_and_slow_clients() {
    let world = World::new().await;
    let worker = world.worker().await;
    let before = worker.sockets();
    let _crowd = Crowd::of(worker.http(), 1_000, 300);
    probes_are_answered(&worker).await;
    let clients = worker.sockets().saturating_sub(before);
    assert!(clients <= 140, "{clients} clients at once, and some sockets of the worker's own");
    world.publish_raw(&[b"no json".to_vec()]).await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 1.0).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_answered_by_a_worker_that_has_few_file_descriptors() {
    let world = World::new().await;
    let worker = world.worker_under(&["bash", "-c", "ulimit -n 40; exec \"$0\" \"$@\""]).await;
    let crowd = Crowd::of(worker.http(), 200, 0);
    probes_are_answered(&worker).await;
    drop(crowd);
    world.publish_raw(&[b"no json".to_vec()]).await;
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 1.0).await;
    worker.stop().await;
}

#[tokio::test]
async fn endless_headers_silence_and_other_methods_get_nowhere() {
    use std::io::{Read, Write};
    let world = World::new().await;
    let worker = world.worker().await;
    let connect = || std::net::TcpStream::connect(worker.http()).unwrap();
    let mut endless = connect();
    let cut = (0..1000).any(|_| endless.write_all(&[b'x'; 1024]).is_err());
    let mut answer = Vec::new();
    let reset = endless.read_to_end(&mut answer).is_err();
    // The connection is not merely closed in the end: a megabyte that was read to its end would be answered by nothing.
    assert!(cut || reset || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));

    // One that says nothing is shut out.
    let mut nothing = Vec::new();
    connect().read_to_end(&mut nothing).unwrap();
    assert!(nothing.is_empty(), "{}", String::from_utf8_lossy(&nothing));

    for request in ["POST /livez", "GET /metrics/../etc/passwd", "GET /console", "DELETE /metrics", "BREW /readyz"] {
        let mut stream = connect();
        write!(stream, "{request} HTTP/1.0\r\nHost: worker\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok();
        assert!(answer.starts_with("HTTP/1.0 4"), "{request}: {answer}");
    }
    worker.stop().await;
}
