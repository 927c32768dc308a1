//! Commands on dead letters that are interrupted, killed, or lose the broker half-way: what was not removed is still there, and
//! a file that looks whole is whole.

use std::collections::BTreeSet;
use std::path::PathBuf;

use uuid::Uuid;

use crate::dead_letters::dlq::{drain, id_of, letters, listed, world};
use crate::support::{Proxy, Running, Servers, Way, World, eventually, host_of};

const LETTERS: u32 = 3_000;

/// Starts a command on a way so slow that it has a half-way, and returns once it is there: a command takes four letters, then
/// 500 at a time, so with so many in its hands it is done with the first 500 and waits for others.
async fn half_way(world: &World, way: &Proxy, arguments: &[&str]) -> Running {
    let letters = world.dead_letters().await;
    let mut command = world.program(arguments);
    command.env("AMQP_URL", way.url(&world.servers.amqp_url));
    way.set(Way::Slow);
    let running = Running::start(command);
    eventually("the command to be half-way", async || world.dead_letters().await < letters - 600).await;
    running
}

/// Whether these are the last of all, in any order and each once: letters are removed from the first to the last.
fn are_the_last(left: &[String], all: &[String]) -> bool {
    let last = &all[all.len().saturating_sub(left.len())..];
    left.iter().collect::<BTreeSet<_>>() == last.iter().collect()
}

/// A file that nobody has made yet; gone with the test, as is the one that was begun.
struct Target(PathBuf);

impl Target {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("{}.ndjson", Uuid::new_v4().simple())))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn lines(&self) -> usize {
        std::fs::read_to_string(&self.0).unwrap().lines().count()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
        std::fs::remove_file(self.0.with_extension("ndjson.partial")).ok();
    }
}

#[tokio::test]
async fn interrupted_purge_has_removed_what_it_says_and_the_rest_keeps_its_order() {
    let world = world().await;
    let ids = letters(&world, LETTERS, "team_mismatch").await;
    let way = Proxy::before(host_of(&world.servers.amqp_url)).await;
    let purge = half_way(&world, &way, &["dlq", "purge", "--all", "--yes"]).await;
    purge.signal("INT");
    way.set(Way::Open);
    let purge = purge.ended().await;
    assert_eq!((purge.code, &purge.json()["stopped"]), (1, &"interrupted".into()), "{purge:?}");
    assert!(purge.stderr.contains("what was not removed is still a dead letter"), "{purge:?}");
    let purged = u32::try_from(purge.json()["purged"].as_u64().unwrap()).unwrap();
    assert!((1..LETTERS).contains(&purged), "{purged}: it was in the middle");
    eventually("the rest to be back", async || world.dead_letters().await == LETTERS - purged).await;
    assert_eq!(listed(&world, &["--limit", "3000"]).await, ids[purged as usize..]);
}

#[tokio::test]
async fn killed_purge_loses_no_letter_that_it_had_only_taken() {
    let world = world().await;
    let ids = letters(&world, LETTERS, "team_mismatch").await;
    let way = Proxy::before(host_of(&world.servers.amqp_url)).await;
    let purge = half_way(&world, &way, &["dlq", "purge", "--all", "--yes"]).await;
    let not_taken = world.dead_letters().await as usize;
    drop(purge); // SIGKILL
    let mut left = Vec::new();
    eventually("what it had in its hands to be ready again", async || {
        let queue = format!("{}.dead-letter", world.queue);
        left.extend(drain(&world, &queue).await.iter().map(id_of));
        left.len() > not_taken && are_the_last(&left, &ids)
    })
    .await;
    assert!(left.len() < ids.len(), "it was in the middle");
}

#[tokio::test]
async fn export_that_was_cut_short_does_not_look_like_one() {
    let world = world().await;
    let ids = letters(&world, LETTERS, "team_mismatch").await;
    let way = Proxy::before(host_of(&world.servers.amqp_url)).await;
    let target = Target::new();
    let export = ["dlq", "export", "--to", target.path()];

    let interrupted = half_way(&world, &way, &export).await;
    interrupted.signal("INT");
    way.set(Way::Open);
    let interrupted = interrupted.ended().await;
    assert_eq!((interrupted.code, interrupted.stdout.as_str()), (1, ""), "{interrupted:?}");
    assert!(interrupted.stderr.contains("interrupted; nothing was changed"), "{interrupted:?}");
    assert!(!target.0.exists());
    eventually("all to be back", async || world.dead_letters().await == LETTERS).await;
    assert_eq!(listed(&world, &["--limit", "3000"]).await, ids);

    drop(half_way(&world, &way, &export).await); // SIGKILL
    assert!(!target.0.exists());
    eventually("all to be back", async || world.dead_letters().await == LETTERS).await;

    // What another export is writing is left alone.
    let partial = target.0.with_extension("ndjson.partial");
    std::fs::write(&partial, "a line of the other").unwrap();
    let other = std::fs::File::open(&partial).unwrap();
    other.lock().unwrap();
    let refused = world.run(&export).await;
    assert!(refused.code == 1 && refused.stderr.contains("another export writes"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&partial).unwrap(), "a line of the other");
    drop(other);

    // What was begun is in nobody's way.
    let whole = world.run(&export).await;
    assert_eq!((whole.code, &whole.json()["exported"]), (0, &LETTERS.into()), "{whole:?}");
    assert_eq!(target.lines(), LETTERS as usize);
}

#[tokio::test]
async fn broker_killed_half_way_keeps_what_was_not_purged_and_makes_no_export_look_whole() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    world.worker().await.stop().await;
    let ids = letters(&world, LETTERS, "team_mismatch").await;
    let way = Proxy::before(host_of(&world.servers.amqp_url)).await;

    let purge = half_way(&world, &way, &["dlq", "purge", "--all", "--yes"]).await;
    servers.control(&["rabbitmq", "kill"]);
    let purge = purge.ended().await;
    assert_eq!(purge.code, 1, "{purge:?}");
    let purged = usize::try_from(purge.json()["purged"].as_u64().unwrap()).unwrap();
    assert!((1..ids.len()).contains(&purged), "{purged}: it was in the middle");
    servers.control(&["rabbitmq", "start"]);
    // A broker that has just started counts its messages late. What it had not heard of is still there.
    let mut left = Vec::new();
    eventually("all that was not purged to be there", async || {
        left = listed(&world, &["--limit", "3000"]).await;
        left.len() >= ids.len() - purged && are_the_last(&left, &ids)
    })
    .await;

    let target = Target::new();
    let export = ["dlq", "export", "--to", target.path()];
    let broken = half_way(&world, &way, &export).await;
    servers.control(&["rabbitmq", "kill"]);
    let broken = broken.ended().await;
    assert_eq!((broken.code, broken.stdout.as_str()), (1, ""), "{broken:?}");
    assert!(!target.0.exists());
    servers.control(&["rabbitmq", "start"]);
    eventually("the same letters to be there", async || world.dead_letters().await as usize == left.len()).await;
    let whole = world.run(&export).await;
    assert_eq!((whole.code, target.lines()), (0, left.len()), "{whole:?}");
}
