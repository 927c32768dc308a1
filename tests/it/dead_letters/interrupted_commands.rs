//! Commands on dead letters that are interrupted, killed, or lose the broker half-way: what was not removed stays, and
//! a file that looks whole is whole.

use std::collections::BTreeSet;

use crate::support::{Network, Proxy, ReceivedMessage, Running, Servers, TempFile, World, eventually, host_of};

const DEAD_LETTERS: u32 = 3_000;

/// Starts a command through a slow network and returns once it is half-way. A command takes four dead letters, then 500 at a time: when it
/// holds more than 600, it is done with the first 500 and waits for others.
async fn half_way(world: &World, proxy: &Proxy, arguments: &[&str]) -> Running {
    let dead_letters = world.dead_letters().await;
    let mut command = world.program(arguments);
    command.env("AMQP_URL", proxy.url(&world.servers.amqp_url));
    proxy.set(Network::Slow);
    let running = Running::start(command);
    eventually("the command to be half-way", async || world.dead_letters().await < dead_letters - 600).await;
    running
}

/// Whether these are the last of all, in any order and each once: dead letters are removed from the first to the last.
fn are_the_last(left: &[String], all: &[String]) -> bool {
    let last = &all[all.len().saturating_sub(left.len())..];
    left.iter().collect::<BTreeSet<_>>() == last.iter().collect()
}

#[tokio::test]
async fn interrupted_purge_has_removed_what_it_says_and_the_rest_keeps_its_order() {
    let world = World::with_queues().await;
    let ids = world.add_dead_letters(DEAD_LETTERS, "team_mismatch").await;
    let proxy = Proxy::before(host_of(&world.servers.amqp_url)).await;
    let purge = half_way(&world, &proxy, &["dlq", "purge", "--all", "--yes"]).await;
    purge.signal("INT");
    proxy.set(Network::Open);
    let purge = purge.ended().await;
    assert_eq!((purge.code, &purge.json()["stopped"]), (1, &"interrupted".into()), "{purge:?}");
    assert!(purge.stderr.contains("what was not removed is still a dead letter"), "{purge:?}");
    let purged = u32::try_from(purge.json()["purged"].as_u64().unwrap()).unwrap();
    assert!((1..DEAD_LETTERS).contains(&purged), "{purged}: it was in the middle");
    eventually("the rest to be back", async || world.dead_letters().await == DEAD_LETTERS - purged).await;
    assert_eq!(world.list_dead_letters(&["--limit", "3000"]).await, ids[purged as usize..]);
}

#[tokio::test]
async fn killed_purge_loses_no_dead_letter_that_it_had_only_taken() {
    let world = World::with_queues().await;
    let ids = world.add_dead_letters(DEAD_LETTERS, "team_mismatch").await;
    let proxy = Proxy::before(host_of(&world.servers.amqp_url)).await;
    let purge = half_way(&world, &proxy, &["dlq", "purge", "--all", "--yes"]).await;
    let not_taken = world.dead_letters().await as usize;
    drop(purge); // SIGKILL
    let mut left = Vec::new();
    eventually("what it had not acknowledged to be ready again", async || {
        let queue = format!("{}.dead-letter", world.queue);
        left.extend(world.drain(&queue).await.iter().map(ReceivedMessage::message_id));
        left.len() > not_taken && are_the_last(&left, &ids)
    })
    .await;
    assert!(left.len() < ids.len(), "it was in the middle");
}

#[tokio::test]
async fn export_that_was_cut_short_does_not_look_like_one() {
    let world = World::with_queues().await;
    let ids = world.add_dead_letters(DEAD_LETTERS, "team_mismatch").await;
    let proxy = Proxy::before(host_of(&world.servers.amqp_url)).await;
    let file = TempFile::absent();
    let export = ["dlq", "export", "--to", file.path()];

    let interrupted = half_way(&world, &proxy, &export).await;
    interrupted.signal("INT");
    proxy.set(Network::Open);
    let interrupted = interrupted.ended().await;
    assert_eq!((interrupted.code, interrupted.stdout.as_str()), (1, ""), "{interrupted:?}");
    assert!(interrupted.stderr.contains("interrupted; nothing was changed"), "{interrupted:?}");
    assert!(!file.exists());
    eventually("all to be back", async || world.dead_letters().await == DEAD_LETTERS).await;
    assert_eq!(world.list_dead_letters(&["--limit", "3000"]).await, ids);

    drop(half_way(&world, &proxy, &export).await); // SIGKILL
    assert!(!file.exists());
    eventually("all to be back", async || world.dead_letters().await == DEAD_LETTERS).await;

    // What another export is writing is left alone.
    let partial = file.partial();
    std::fs::write(&partial, "a line of the other").unwrap();
    let other = std::fs::File::open(&partial).unwrap();
    other.lock().unwrap();
    let refused = world.run(&export).await;
    assert!(refused.code == 1 && refused.stderr.contains("another export writes"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&partial).unwrap(), "a line of the other");
    drop(other);

    // What was begun is in nobody's way.
    let whole = world.run(&export).await;
    assert_eq!((whole.code, &whole.json()["exported"]), (0, &DEAD_LETTERS.into()), "{whole:?}");
    assert_eq!(file.read().lines().count(), DEAD_LETTERS as usize);
}

#[tokio::test]
async fn broker_killed_half_way_keeps_what_was_not_purged_and_makes_no_export_look_whole() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    world.worker().await.stop().await;
    let ids = world.add_dead_letters(DEAD_LETTERS, "team_mismatch").await;
    let proxy = Proxy::before(host_of(&world.servers.amqp_url)).await;

    let purge = half_way(&world, &proxy, &["dlq", "purge", "--all", "--yes"]).await;
    servers.control(&["rabbitmq", "kill"]);
    let purge = purge.ended().await;
    assert_eq!(purge.code, 1, "{purge:?}");
    let purged = usize::try_from(purge.json()["purged"].as_u64().unwrap()).unwrap();
    assert!((1..ids.len()).contains(&purged), "{purged}: it was in the middle");
    servers.control(&["rabbitmq", "start"]);
    // A broker that has just started counts its messages late. What it had not heard of stays.
    let mut left = Vec::new();
    eventually("all that was not purged to be ready", async || {
        left = world.list_dead_letters(&["--limit", "3000"]).await;
        left.len() >= ids.len() - purged && are_the_last(&left, &ids)
    })
    .await;

    let file = TempFile::absent();
    let export = ["dlq", "export", "--to", file.path()];
    let broken = half_way(&world, &proxy, &export).await;
    servers.control(&["rabbitmq", "kill"]);
    let broken = broken.ended().await;
    assert_eq!((broken.code, broken.stdout.as_str()), (1, ""), "{broken:?}");
    assert!(!file.exists());
    servers.control(&["rabbitmq", "start"]);
    eventually("the same dead letters to be ready", async || world.dead_letters().await as usize == left.len()).await;
    let whole = world.run(&export).await;
    assert_eq!((whole.code, file.read().lines().count()), (0, left.len()), "{whole:?}");
}
