//! Every command has both forms of output, and a reader that goes away is no error.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Snapshot, World, local_store};

#[tokio::test]
async fn every_command_has_both_forms_and_bears_a_reader_that_goes_away() {
    let world = World::new().await;
    world.sql("ALTER TABLE public.events ADD COLUMN status TEXT").await;
    world.dead_letter_bodies(3).await;
    let (team, event) = (world.team().await.to_string(), world.event().await.to_string());
    world.insert(&Snapshot::of(team.parse().unwrap()).event(event.parse().unwrap())).await;
    let id = world.snapshots().await.first().unwrap().to_string();
    let store = local_store(2);
    let commands: &[&[&str]] = &[
        &["migrate"],
        &["publish", "--event-id", &event, "--status", "lead"],
        &["delete-event", &event],
        &["sweep"],
        &["evict"],
        &["pause"],
        &["pause", "evict"],
        &["resume"],
        &["evict", "--team", &team],
        &["dlq", "list"],
        &["dlq", "show", "--position", "1"],
        &["dlq", "stats"],
        &["dlq", "replay"],
        &["dlq", "purge"],
        &["retention", "list"],
        &["retention", "set", "offer", "--ttl", "3d"],
        &["retention", "set", "offer", "--ttl", "3d", "--restamp"],
        &["outbox", "install", "--table", "events", "--status-column", "status"],
        &["outbox", "status"],
        &["outbox", "uninstall"],
        &["snapshots", "list", "--team-id", &team],
        &["snapshots", "show", &id],
        &["snapshots", "import", store.path(), "--team-id", &team, "--dry-run"],
        &["doctor"],
    ];
    for command in commands {
        let form = |form| [command, &["--output", form][..]].concat();
        let off_a_terminal = world.run(command).await;
        assert_eq!(off_a_terminal.code, 0, "{command:?}: {off_a_terminal:?}");
        assert!(off_a_terminal.json().is_object() || off_a_terminal.json().is_array(), "{command:?}");
        let json = world.run(&form("json")).await;
        assert_eq!(json.code, 0, "{command:?}: {json:?}");
        json.json();
        let table = world.run(&form("table")).await;
        assert_eq!(table.code, 0, "{command:?}: {table:?}");
        let is_json = serde_json::from_str::<Value>(&table.stdout).is_ok();
        assert!(!table.stdout.trim().is_empty() && !is_json, "{command:?}: {table:?}");
        for form in [form("json"), form("table")] {
            let mut child = world.program(&form).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            drop(child.stdout.take());
            let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), stderr.contains("error")), (Some(0), false), "{form:?}: {stderr}");
        }
    }
    assert_eq!((world.dead_letters().await, world.snapshots().await.len()), (3, 1), "all of it was looking");
}

#[tokio::test]
async fn what_has_one_form_only_bears_a_reader_that_goes_away_too() {
    let world = World::new().await;
    world.dead_letter_bodies(1_000).await; // more than a pipe holds
    let commands: [&[&str]; 5] = [
        &["dlq", "export"],
        &["dlq", "show", "--position", "1", "--raw"],
        &["publish", "--schema"],
        &["man"],
        &["completions", "bash"],
    ];
    for command in commands {
        // Before the first byte, and after it.
        for bytes in [0, 1] {
            let mut child = world.program(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut reader = child.stdout.take().unwrap();
            let output = tokio::task::spawn_blocking(move || {
                reader.read_exact(&mut vec![0; bytes]).unwrap();
                drop(reader);
                child.wait_with_output().unwrap()
            });
            let output = output.await.unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            let complains = ["error", "panicked", "Broken pipe"].iter().any(|word| stderr.contains(word));
            assert_eq!((output.status.code(), complains), (Some(0), false), "{command:?} {bytes}: {stderr}");
        }
    }
    assert_eq!(world.dead_letters().await, 1_000, "all of it was looking");
}
