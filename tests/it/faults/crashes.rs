//! Faults on purpose. After each: the rows are exactly those that the rules leave, every message was applied or is a dead letter.

use std::collections::BTreeSet;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Proxy, Random, Servers, Snapshot, Way, World, as_user, body, eventually, host_of, pause, set};

#[tokio::test]
async fn message_that_crashes_worker_after_worker_takes_no_neighbour_with_it() {
    let world = World::new().await;
    world.worker().await.stop().await;
    let bodies = world.ending_events(50).await;
    // The first kills whoever takes it: its row is locked, and a worker that waits for it is killed.
    world.make_each_delete_take("5").await;
    world.publish_raw(&bodies).await;
    for _ in 0..25 {
        let worker = world.start_worker(&[]).await;
        eventually("messages to be taken", async || world.depth(&world.queue).await < 50).await;
        worker.kill();
        eventually("them to be back", async || world.depth(&world.queue).await + world.dead_letters().await >= 50)
            .await;
    }
    world.sql("DROP TRIGGER slow ON public.snapshots").await;
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'").await;
    let worker = world.worker().await;
    eventually("the queue to be worked off", async || {
        worker.metric("messages_total{outcome=\"applied\"}") + f64::from(world.dead_letters().await) >= 50.0
    })
    .await;
    let dead = world.dead_letters().await;
    assert!(dead <= 2, "{dead} dead letters: the neighbours of the one that crashes must not pay for it");
    assert_eq!(world.snapshots().await.len(), dead as usize, "a row stays for each dead letter, and no other");
    for letter in world.run(&["dlq", "list"]).await.json().as_array().unwrap() {
        assert_eq!(letter["reason"], "delivery_limit");
    }
    worker.stop().await;
}

#[tokio::test]
async fn worker_begins_with_one_message_and_goes_on_with_a_whole_prefetch() {
    let world = World::new().await;
    world.worker().await.stop().await;
    world.make_each_delete_take("1.2").await;
    world.publish_raw(&world.ending_events(10).await).await;
    let worker = world.start_worker(&[("LIFECYCLE_PREFETCH", "4")]).await;
    eventually("the first to be taken", async || world.depth(&world.queue).await < 10).await;
    assert_eq!(world.depth(&world.queue).await, 9);
    eventually("more to be taken", async || world.depth(&world.queue).await < 8).await;
    // The first is done, and the second came to the consumer of one message before there was the other.
    let left = world.depth(&world.queue).await;
    assert!((4..=5).contains(&left), "{left} left");
    world.sql("DROP TRIGGER slow ON public.snapshots").await;
    worker.reaches("messages_total{outcome=\"applied\"}", 10.0).await;
    let batches = worker.metric("batch_messages_count");
    assert!(batches < 10.0, "what has arrived is one batch: {batches}");
    worker.stop().await;
    assert_eq!((world.waiting().await, world.dead_letters().await), (0, 0));
}

#[tokio::test]
async fn worker_killed_between_commit_and_acknowledgement_leaves_what_is_applied_twice_without_harm() {
    let world = World::new().await;
    world.worker().await.stop().await;
    let (team, event) = (world.team().await, world.event().await);
    let ended = world.insert(&Snapshot::of(team).event(event)).await;
    world.make_each_delete_take("1").await;
    let proxy = Proxy::before(host_of(&world.servers.amqp_url)).await;
    let worker = world.worker_with(&[("AMQP_URL", &proxy.url(&world.servers.amqp_url))]).await;
    world.publish_raw(&[body(event, "confirmed", OffsetDateTime::now_utc())]).await;
    world.a_delete_is_under_way().await;
    // The delete will be committed, and its acknowledgement get nowhere.
    proxy.set(Way::Stalled);
    eventually("the commit", async || !world.snapshots().await.contains(&ended)).await;
    let later = world.insert(&Snapshot::of(team).event(event).created_at(OffsetDateTime::now_utc())).await;
    worker.kill();
    drop(proxy);
    eventually("the broker to have the message again", async || world.depth(&world.queue).await == 1).await;
    let next = world.worker().await;
    next.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    next.stop().await;
    assert_eq!(world.snapshots().await, set([later]), "what was made after the status is not its business");
    assert_eq!((world.depth(&world.queue).await, world.dead_letters().await), (0, 0));
}

/// Starts a worker that takes more than one message at a time, and is busy: what is published meanwhile will be one batch. Its event is
/// the first of the bodies.
async fn busy_worker(world: &World, bodies: &[Vec<u8>]) -> crate::support::Worker {
    world.make_each_delete_take("1").await;
    let worker = world.worker().await;
    world.publish_raw(&[body(Uuid::new_v4(), "lead", OffsetDateTime::now_utc())]).await;
    worker.reaches("messages_total{outcome=\"ignored\"}", 1.0).await;
    world.publish_raw(&bodies[..1]).await;
    world.a_delete_is_under_way().await;
    worker
}

#[tokio::test]
async fn message_whose_dead_letter_is_not_placed_is_not_acknowledged_with_its_neighbour() {
    let world = World::new().await;
    let bodies = world.ending_events(2).await;
    let worker = busy_worker(&world, &bodies).await;
    let (connection, channel) = world.channel().await;
    let dead_letters = format!("{}.dead-letter", world.queue);
    channel.queue_delete(dead_letters.as_str().into(), Default::default()).await.unwrap();
    let bad = b"no json".to_vec();
    world.publish_raw(&[bad.clone(), bodies[1].clone()]).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 2.0).await;
    worker.kill();
    connection.close(200, "done".into()).await.ok();
    let next = world.worker().await; // makes the queue anew
    assert_eq!(world.take_dead_letters(1).await[0].body, bad);
    next.stop().await;
    assert_eq!((world.depth(&world.queue).await, world.snapshots().await.len()), (0, 0));
}

#[tokio::test]
async fn message_whose_delete_is_not_committed_is_not_acknowledged_with_its_neighbour() {
    let world = World::new().await;
    let bodies = world.ending_events(2).await;
    let worker = busy_worker(&world, &bodies).await;
    world.publish_raw(&[bodies[1].clone(), body(Uuid::new_v4(), "lead", OffsetDateTime::now_utc())]).await;
    // Waits behind the delete that is under way, and then holds up the next.
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.snapshots IN SHARE MODE").execute(&mut *lock).await.unwrap();
    worker.reaches("messages_total{outcome=\"ignored\"}", 2.0).await;
    worker.kill();
    lock.rollback().await.unwrap();
    world.sql("DROP TRIGGER slow ON public.snapshots").await;
    let next = world.worker().await;
    eventually("the event to be ended", async || world.snapshots().await.is_empty()).await;
    next.stop().await;
    assert_eq!((world.waiting().await, world.dead_letters().await), (0, 0));
}

/// `FAULTS_KILLS` sets how often.
#[tokio::test]
async fn worker_killed_a_hundred_times_at_random_loses_nothing() {
    let kills = std::env::var("FAULTS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(100_usize);
    let world = World::new().await;
    world.worker().await.stop().await;
    let mut rows = set([world.insert(&Snapshot::of(world.team().await).kind("qna")).await]);
    let mut random = Random::new();
    for _ in 0..kills {
        world.publish_raw(&world.ending_events(10).await).await;
        let worker = world.start_worker(&[]).await;
        // Anywhere between connecting and being done.
        tokio::time::sleep(std::time::Duration::from_millis(random.below(250))).await;
        worker.kill();
    }
    let worker = world.worker().await;
    eventually("the queues to be worked off", async || world.waiting().await == 0).await;
    worker.stop().await;
    assert_eq!(world.waiting().await, 0);
    // A message that was in hand twenty times when its worker was killed is the broker's dead letter, and its row is there.
    let letters = world.run(&["dlq", "list", "--limit", "100000"]).await.json();
    for letter in letters.as_array().unwrap() {
        assert_eq!(letter["reason"], "delivery_limit", "seed {}", random.seed);
        let event = letter["event_id"].as_str().unwrap();
        let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM public.snapshots WHERE event_id = $1::uuid")
            .bind(event)
            .fetch_all(&world.pool)
            .await
            .unwrap();
        rows.extend(ids);
    }
    assert_eq!(world.snapshots().await, rows, "seed {}", random.seed);
    let dead = letters.as_array().unwrap().len();
    assert!(dead * 10 <= kills, "{dead} of {} messages are dead letters, seed {}", kills * 10, random.seed);
}

#[tokio::test]
async fn backends_that_are_terminated_again_and_again_cost_nothing() {
    let world = World::new().await;
    let worker = world.worker().await;
    let bodies = world.ending_events(300).await;
    for chunk in bodies.chunks(30) {
        world.publish_raw(chunk).await;
        world.terminate_backends().await;
        pause().await;
    }
    worker.reaches("messages_total{outcome=\"applied\"}", 300.0).await;
    worker.stop().await;
    assert_eq!(world.snapshots().await, BTreeSet::new());
    assert_eq!((world.dead_letters().await, world.depth(&world.queue).await), (0, 0));
}

#[tokio::test]
async fn database_that_only_reads_for_a_while_is_an_outage() {
    let world = World::new().await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let bodies = world.ending_events(5).await;
    world
        .sql(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$",
        )
        .await;
    world.terminate_backends().await;
    world.publish_raw(&bodies).await;
    worker.becomes_ready(false).await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len()), (0, 5));
    world
        .sql("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$")
        .await;
    // Its sessions began while the database only read, and would stay so.
    worker.reaches("messages_total{outcome=\"applied\"}", 5.0).await;
    worker.becomes_ready(true).await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len()), (0, 0));
    worker.stop().await;
}

#[tokio::test]
async fn database_whose_disk_is_full_is_an_outage() {
    let world = World::new().await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let bodies = world.ending_events(5).await;
    // What PostgreSQL says when it cannot extend a file (appendix A of its documentation: 53100, disk_full).
    world
        .sql(
            "CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
             CREATE TRIGGER full_disk BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.full_disk()",
        )
        .await;
    world.publish_raw(&bodies).await;
    worker.becomes_ready(false).await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len()), (0, 5));
    world.sql("DROP TRIGGER full_disk ON public.snapshots").await;
    worker.reaches("messages_total{outcome=\"applied\"}", 5.0).await;
    worker.becomes_ready(true).await;
    worker.stop().await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len(), world.depth(&world.queue).await), (0, 0, 0));
}

#[tokio::test]
async fn commit_that_waits_for_a_standby_that_is_gone_is_an_outage() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let bodies = world.ending_events(5).await;
    // Neither of the two writes anything that would have to wait.
    let set = async |names: &str| {
        world.sql(format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'")).await;
        world.sql("SELECT pg_reload_conf()").await;
    };
    set("gone").await;
    eventually("the server to know", async || {
        sqlx::query_scalar::<_, String>("SHOW synchronous_standby_names").fetch_one(&world.pool).await.unwrap()
            == "gone"
    })
    .await;
    world.publish_raw(&bodies).await;
    eventually("the worker to hold messages", async || {
        worker.logged("database does not take deletes; holding messages").len() > 1
    })
    .await;
    worker.becomes_ready(false).await;
    assert_eq!(world.dead_letters().await, 0);
    set("").await;
    worker.reaches("messages_total{outcome=\"applied\"}", 5.0).await;
    worker.becomes_ready(true).await;
    worker.stop().await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len(), world.depth(&world.queue).await), (0, 0, 0));
}

#[tokio::test]
async fn retention_policy_that_cannot_be_read_is_an_outage() {
    let world = World::new().await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let bodies = world.ending_events(5).await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE snapshot_lifecycle.retention IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    world.publish_raw(&bodies).await;
    eventually("the worker to hold messages", async || {
        worker.logged("database does not take deletes; holding messages").len() > 1
    })
    .await;
    assert_eq!(world.dead_letters().await, 0);
    lock.rollback().await.unwrap();
    worker.reaches("messages_total{outcome=\"applied\"}", 5.0).await;
    worker.stop().await;
    assert_eq!((world.dead_letters().await, world.snapshots().await.len()), (0, 0));
}

#[tokio::test]
async fn broker_short_of_memory_blocks_letters_and_loses_none() {
    alarm(["set_vm_memory_high_watermark", "0.000001"], ["set_vm_memory_high_watermark", "0.4"]).await;
}

#[tokio::test]
async fn broker_short_of_disk_blocks_letters_and_loses_none() {
    alarm(["set_disk_free_limit", "1000000GB"], ["set_disk_free_limit", "1MB"]).await;
}

/// `raise` and `lower` are words of rabbitmqctl.
async fn alarm(raise: [&str; 2], lower: [&str; 2]) {
    let servers = Servers::private();
    let ctl = |words: [&str; 2]| servers.control(&[&["rabbitmq", "ctl"], &words[..]].concat());
    let world = World::on(servers.pair()).await;
    let worker = world.worker().await;
    let bodies = world.ending_events(20).await;
    let mut all = bodies.clone();
    all.extend((0..20).map(|n| format!("not json {n}").into_bytes()));
    // Publishers are blocked as soon as they publish; the messages have to be there before.
    worker.signal("STOP");
    world.publish_raw(&all).await;
    ctl(raise);
    worker.signal("CONT");
    // Consuming and acknowledging go on beside the blocked publisher.
    worker.reaches("messages_total{outcome=\"applied\"}", 20.0).await;
    assert!(worker.metric("messages_total{outcome=\"dead_lettered\"}") < 1.0, "letters cannot be placed yet");
    ctl(lower);
    worker.reaches("messages_total{outcome=\"dead_lettered\"}", 20.0).await;
    worker.stop().await;
    let bodies: BTreeSet<_> = world.take_letters_once().await;
    assert_eq!(bodies.len(), 20);
    assert_eq!((world.snapshots().await.len(), world.depth(&world.queue).await), (0, 0));
}

#[tokio::test]
async fn worker_that_stood_still_takes_up_its_work_beside_the_one_that_took_over() {
    let world = World::new().await;
    let expired = 400;
    let team = world.team().await;
    for _ in 0..expired {
        world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    }
    let survivor = world.insert(&Snapshot::of(team)).await;
    world.make_each_delete_take("0.02").await;
    let variables = [("LIFECYCLE_SWEEP_INTERVAL", "500ms")];
    let first = world.worker_with(&variables).await;
    world.a_delete_is_under_way().await;
    first.signal("STOP");
    let second = world.worker_with(&variables).await;
    second.reaches("pass_seconds_count{rule=\"ttl\"}", 1.0).await;
    eventually("the sweep to be done by the second", async || world.count("expires_at <= now()").await == 0).await;
    first.signal("CONT");
    first.becomes_ready(true).await;
    let after = world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    eventually("the next sweep", async || !world.snapshots().await.contains(&after)).await;
    assert_eq!(world.snapshots().await, set([survivor]));
    let deleted =
        first.metric("snapshots_deleted_total{rule=\"ttl\"}") + second.metric("snapshots_deleted_total{rule=\"ttl\"}");
    assert!(deleted >= f64::from(expired), "{deleted}");
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn credentials_that_change_are_an_outage_until_they_are_right_again() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let user = format!("u{}", Uuid::new_v4().simple());
    let ctl = |words: &[&str]| servers.control(&[&["rabbitmq", "ctl"], words].concat());
    ctl(&["add_user", &user, "old"]);
    ctl(&["set_permissions", "-p", "/", &user, ".*", ".*", ".*"]);
    let worker = world.worker_with(&[("AMQP_URL", &as_user(&servers.pair().amqp_url, &user, "old"))]).await;
    ctl(&["change_password", &user, "new"]);
    ctl(&["close_all_user_connections", &user, "rotated"]);
    worker.becomes_ready(false).await;
    let bodies = world.ending_events(10).await;
    world.publish_raw(&bodies).await;
    ctl(&["change_password", &user, "old"]);
    worker.reaches("messages_total{outcome=\"applied\"}", 10.0).await;
    worker.becomes_ready(true).await;
    worker.stop().await;
    assert_eq!((world.snapshots().await.len(), world.dead_letters().await), (0, 0));
    ctl(&["delete_user", &user]);
}

#[tokio::test]
async fn channel_that_the_broker_closes_over_a_message_held_for_long_costs_nothing() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    let set_timeouts = |consumer: u32, tick: u32| {
        let set = format!(
            "application:set_env(rabbit, consumer_timeout, {consumer}), application:set_env(rabbit, channel_tick_interval, {tick})."
        );
        servers.control(&["rabbitmq", "ctl", "eval", &set]);
    };
    set_timeouts(3_000, 500);
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let bodies = world.ending_events(5).await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE public.snapshots IN EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    world.publish_raw(&bodies).await;
    // Held for up to a minute; the broker loses patience sooner, and requeues them.
    eventually("messages to be taken", async || world.depth(&world.queue).await < 5).await;
    eventually("the channel to be closed", async || world.depth(&world.queue).await == 5).await;
    eventually("the broker to say that it was", async || servers.log_of("rabbitmq").contains("has timed out waiting"))
        .await;
    lock.rollback().await.unwrap();
    worker.reaches("messages_total{outcome=\"applied\"}", 5.0).await;
    set_timeouts(1_800_000, 60_000);
    worker.stop().await;
    assert_eq!((world.snapshots().await.len(), world.dead_letters().await, world.depth(&world.queue).await), (0, 0, 0));
}

#[tokio::test]
async fn delete_that_runs_into_its_time_out_is_its_own_messages_failure() {
    let world = World::new().await;
    let (team, slow) = (world.team().await, world.event().await);
    let row = world.insert(&Snapshot::of(team).event(slow)).await;
    world
        .sql(format!(
            "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN OLD; END';
             CREATE TRIGGER slow BEFORE DELETE ON public.snapshots FOR EACH ROW WHEN (OLD.event_id = '{slow}') EXECUTE FUNCTION public.slow()"
        ))
        .await;
    let worker = world.worker_with(&[("LIFECYCLE_MAX_ATTEMPTS", "1")]).await;
    let mut bodies = world.ending_events(20).await;
    bodies.insert(10, body(slow, "confirmed", OffsetDateTime::now_utc()));
    world.publish_raw(&bodies).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 20.0).await;
    let letter = world.take_dead_letters(1).await.remove(0);
    assert_eq!(letter.reason(), "attempts_exhausted");
    assert!(letter.header("lifecycle-error").contains("statement timeout"), "{}", letter.header("lifecycle-error"));
    assert_eq!(world.snapshots().await, set([row]));
    worker.stop().await;
}
