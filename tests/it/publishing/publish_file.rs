//! `publish --from`: every line arrives once, or the command says exactly where to continue.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;

use crate::support::{Servers, TempFile, World, eventually};

fn lines(count: usize) -> Vec<String> {
    (0..count)
        .map(|_| {
            let (message, event) = (Uuid::new_v4(), Uuid::new_v4());
            format!(r#"{{"message_id":"{message}","event_id":"{event}","status":"option","occurred_at":"2026-01-05T12:00:00Z"}}"#)
        })
        .collect()
}

fn start(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The number behind `--skip` in what a command said.
fn skip_in(stderr: &str) -> usize {
    let (_, after) = stderr.split_once("--skip ").unwrap_or_else(|| panic!("no --skip in {stderr}"));
    after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// How often each line is in the queue.
async fn arrived(world: &World, queue: &str) -> BTreeMap<String, usize> {
    let (connection, channel) = world.channel().await;
    let mut found = BTreeMap::new();
    while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap() {
        *found.entry(String::from_utf8(got.delivery.data.clone()).unwrap()).or_default() += 1;
    }
    connection.close(200, "done".into()).await.ok();
    found
}

#[tokio::test]
async fn every_line_arrives_exactly_once() {
    let world = World::with_queues().await;
    let all = lines(20_000);
    let file = TempFile::new(all.join("\n"));
    let published = world.run(&["publish", "--from", file.path()]).await;
    assert_eq!((published.code, published.json()["confirmed"].as_u64()), (0, Some(20_000)), "{published:?}");
    assert_eq!(published.stderr, "", "no progress bar off a terminal");
    assert_eq!(world.depth(&world.queue).await, 20_000);
    let empty = TempFile::new("");
    let nothing = world.run(&["publish", "--from", empty.path(), "--output", "table"]).await;
    assert!(nothing.code == 0 && nothing.stdout.contains("0 messages published"), "{nothing:?}");
    let missing = world.run(&["publish", "--from", "no such file"]).await;
    assert!(missing.code == 1 && missing.stderr.contains("could not open no such file"), "{missing:?}");
}

#[tokio::test]
async fn interrupted_it_says_where_to_go_on() {
    for signal in ["INT", "TERM"] {
        let world = World::with_queues().await;
        let all = lines(3_000);
        let mut child = start(world.program(&["publish", "--from", "-"]));
        let mut stdin = child.stdin.take().unwrap();
        // More may come, and does not: the command waits for it when the signal comes.
        stdin.write_all(format!("{}\n", all[..1_700].join("\n")).as_bytes()).unwrap();
        eventually("the lines to arrive", async || world.depth(&world.queue).await == 1_700).await;
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        drop(stdin);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("interrupted; 1700 messages are confirmed, continue with --skip 1700"), "{stderr}");
        let file = TempFile::new(all.join("\n"));
        let rest = world.run(&["publish", "--from", file.path(), "--skip", "1700"]).await;
        assert_eq!(rest.json()["confirmed"], 1_300, "{rest:?}");
        let once = all.into_iter().map(|line| (line, 1)).collect();
        assert!(arrived(&world, &world.queue).await == once, "each line once");
    }
}

#[tokio::test]
async fn unroutable_line_is_named_and_all_before_it_are_published() {
    let world = World::with_queues().await;
    // Only options have a queue: the others are unroutable.
    world.unbind_queue().await;
    world.bind_queue("event.status.option").await;
    let mut all = lines(6_000);
    for n in [4_500, 4_600, 5_900] {
        all[n] = all[n].replace("option", "lead");
    }
    let file = TempFile::new(all.join("\n"));
    let published = world.run(&["publish", "--from", file.path()]).await;
    assert_eq!(published.code, 1);
    assert!(published.stderr.contains("line 4501: unroutable"), "{published:?}");
    assert_eq!(skip_in(&published.stderr), 4_500);
    let there = arrived(&world, &world.queue).await;
    assert!(all[..4_500].iter().all(|line| there.get(line) == Some(&1)), "every line before it, once");
}

#[tokio::test]
async fn bad_line_is_fixed_or_left_out_and_a_skip_beyond_the_end_is_an_error() {
    let world = World::with_queues().await;
    let mut all = lines(6);
    all[1] = r#"{"event_id": 7}"#.to_owned();
    let file = TempFile::new(all.join("\n"));
    let published = world.run(&["publish", "--from", file.path()]).await;
    assert_eq!(published.code, 1);
    let advice = "1 message is confirmed, fix line 2 and continue with --skip 1, or leave it out with --skip 2";
    assert!(published.stderr.contains(advice), "{published:?}");
    for (skip, confirmed) in [("2", 4), ("6", 0)] {
        let rest = world.run(&["publish", "--from", file.path(), "--skip", skip]).await;
        assert_eq!((rest.code, rest.json()["confirmed"].as_u64()), (0, Some(confirmed)), "{rest:?}");
    }
    for skip in ["7", "100", "18446744073709551615"] {
        let beyond = world.run(&["publish", "--from", file.path(), "--skip", skip]).await;
        assert_eq!(beyond.code, 1, "{beyond:?}");
        assert!(beyond.stderr.contains(&format!("--skip {skip} is beyond the end, which is line 6")), "{beyond:?}");
    }
    assert_eq!(world.depth(&world.queue).await, 5);
}

#[tokio::test]
async fn refused_is_told_apart() {
    let world = World::with_queues().await;
    let (connection, channel) = world.channel().await;
    let full = format!("{}.full", world.queue);
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(10));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(full.as_str().into(), durable, arguments).await.unwrap();
    world.delete_at_end(&full);
    let bind = channel.queue_bind(
        full.as_str().into(),
        world.exchange.as_str().into(),
        "event.status.#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bind.await.unwrap();
    connection.close(200, "done".into()).await.ok();
    let file = TempFile::new(lines(500).join("\n"));
    let published = world.run(&["publish", "--from", file.path()]).await;
    assert_eq!(published.code, 1);
    assert!(published.stderr.contains("refused by the broker"), "{published:?}");
    assert!(published.stderr.contains(" refused of those in flight"), "{published:?}");
    assert!(skip_in(&published.stderr) >= 10, "{published:?}");
}

#[tokio::test]
async fn broker_that_goes_away_half_way_costs_no_line() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    world.worker().await.stop().await;
    let all = lines(4_000);
    let mut child = start(world.program(&["publish", "--from", "-"]));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{}\n", all[..2_500].join("\n")).as_bytes()).unwrap();
    eventually("some lines to arrive", async || world.depth(&world.queue).await >= 1_000).await;
    servers.control(&["rabbitmq", "kill"]);
    stdin.write_all(all[2_500..].join("\n").as_bytes()).ok();
    drop(stdin);
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("unconfirmed"), "{stderr}");
    let skip = skip_in(&stderr).to_string();
    servers.control(&["rabbitmq", "start"]);
    let file = TempFile::new(all.join("\n"));
    let rest = world.run(&["publish", "--from", file.path(), "--skip", &skip]).await;
    assert_eq!(rest.code, 0, "{rest:?}");
    let there = arrived(&world, &world.queue).await;
    assert!(all.iter().all(|line| there.contains_key(line)), "every line at least once");
    assert_eq!(there.len(), all.len());
}

#[tokio::test]
async fn reader_that_goes_away_does_not_stop_publishing() {
    let world = World::with_queues().await;
    let file = TempFile::new(lines(100).join("\n"));
    let mut child = start(world.program(&["publish", "--from", file.path()]));
    drop(child.stdout.take());
    let stderr = child.stderr.take().unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(0), "{:?}", BufReader::new(stderr).lines().collect::<Vec<_>>());
    assert_eq!(world.depth(&world.queue).await, 100);
}
