//! `dlq purge` and `dlq export`: what they remove and what they save.

use crate::support::{TempFile, World, eventually};

#[tokio::test]
async fn purge_removes_only_what_matches() {
    let world = World::with_queues().await;
    let kept = world.add_dead_letters(2, "team_mismatch").await;
    world.add_dead_letters(3, "too_large").await;
    let preview = world.run(&["dlq", "purge", "--reason", "too_large"]).await;
    assert_eq!((preview.code, preview.json()["matched"].as_u64(), world.dead_letters().await), (0, Some(3), 5));
    let reasons = &preview.json()["reasons"];
    assert_eq!(
        (reasons.as_array().unwrap().len(), &reasons[0]["reason"], &reasons[0]["count"]),
        (1, &"too_large".into(), &3.into())
    );
    let selection = preview.json()["selection"].as_str().unwrap().to_owned();
    let more = world.add_dead_letters(1, "too_large").await;
    let purge = world.run(&["dlq", "purge", "--reason", "too_large", "--exactly", &selection, "--yes"]).await;
    assert_eq!((purge.code, purge.json()["purged"].as_u64()), (0, Some(3)), "{purge:?}");
    // RabbitMQ counts the last one a little later.
    assert!(purge.json()["letters"].as_u64().is_some_and(|count| (5..=6).contains(&count)), "{purge:?}");
    assert_eq!(world.list_dead_letters(&[]).await, [kept, more].concat());
    let all = world.run(&["dlq", "purge", "--all", "--yes", "--output", "table"]).await;
    assert!(all.stdout.contains("purged 3 dead letters"), "{all:?}");
    assert_eq!(world.dead_letters().await, 0);
}

#[tokio::test]
async fn purge_of_everything_has_to_say_so() {
    let world = World::with_queues().await;
    let ids = world.add_dead_letters(3, "too_large").await;
    let refused = world.run(&["dlq", "purge", "--yes"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
    assert!(refused.stderr.contains("--all") && refused.stderr.contains("--exactly"), "{refused:?}");
    let both = world.run(&["dlq", "purge", "--all", "--reason", "too_large", "--yes"]).await;
    assert_eq!(both.code, 2, "{both:?}");
    for preview in [&["dlq", "purge"][..], &["dlq", "purge", "--all"]] {
        let preview = world.run(&[preview, &["--output", "table"]].concat()).await;
        assert!(preview.code == 0 && preview.stdout.contains("would purge 3 of 3 dead letters"), "{preview:?}");
        assert!(preview.stdout.contains("add --all --yes to do it"), "{preview:?}");
    }
    assert_eq!(world.list_dead_letters(&[]).await, ids);
    // A selection says which, however it was made.
    let selection = world.run(&["dlq", "purge"]).await.json()["selection"].as_str().unwrap().to_owned();
    let purge = world.run(&["dlq", "purge", "--exactly", &selection, "--yes"]).await;
    assert_eq!((purge.code, purge.json()["purged"].as_u64()), (0, Some(3)), "{purge:?}");
    world.add_dead_letters(1, "too_large").await;
    let purge = world.run(&["dlq", "purge", "--all", "--yes", "--output", "table"]).await;
    assert!(purge.code == 0 && purge.stdout.contains("purged 1 dead letter\n"), "{purge:?}");
}

#[tokio::test]
async fn export_saves_every_byte_and_never_overwrites() {
    let world = World::new().await;
    let worker = world.worker().await;
    world.publish_raw(&[vec![0xff, 0x00, b'{'], b"no json".to_vec()]).await;
    eventually("the dead letters", async || world.dead_letters().await == 2).await;
    let file = TempFile::absent();
    let path = file.path();
    let export = world.run(&["dlq", "export", "--to", path]).await;
    assert_eq!((export.code, export.json()["exported"].as_u64()), (0, Some(2)), "{export:?}");
    let saved = file.read();
    let lines: Vec<serde_json::Value> = saved.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines[0]["body_base64"].as_str(), lines[1]["body"].as_str()), (Some("/wB7"), Some("no json")));
    assert_eq!(lines[1]["headers"]["lifecycle-reason"], "invalid_json");
    let again = world.run(&["dlq", "export", "--to", path]).await;
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("exists already"), "{again:?}");
    assert_eq!(file.read(), saved);
    let to_stdout = world.run(&["dlq", "export"]).await;
    assert_eq!(to_stdout.stdout, saved);
    let selection = export.json()["selection"].as_str().unwrap().to_owned();
    assert!(to_stdout.stderr.contains(&selection), "{to_stdout:?}");
    // What arrived after the export is not purged with what it saved.
    world.publish_raw(&[b"late".to_vec()]).await;
    eventually("the late dead letter", async || world.dead_letters().await == 3).await;
    let purge = world.run(&["dlq", "purge", "--exactly", &selection, "--yes"]).await;
    assert_eq!((purge.code, purge.json()["purged"].as_u64()), (0, Some(2)), "{purge:?}");
    assert_eq!(world.take_dead_letters(1).await[0].body, b"late");
    worker.stop().await;
}
