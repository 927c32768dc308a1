//! `retention list` and `set`: what new rows follow, what existing rows keep, and what a restamp changes.

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Finished, Snapshot, World, as_user, finish, set};

async fn expires_in_days(world: &World, id: Uuid) -> f64 {
    sqlx::query_scalar(
        "SELECT (extract(epoch FROM expires_at - created_at) / 86400)::float8 FROM public.snapshots WHERE id = $1",
    )
    .bind(id)
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

async fn insert_without_expiry(world: &World, team: Uuid, kind: &str) -> Uuid {
    sqlx::query_scalar("INSERT INTO public.snapshots (team_id, snapshot_type, data) VALUES ($1, $2, '{}') RETURNING id")
        .bind(team)
        .bind(kind)
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn policy_is_listed_with_the_rows_it_applies_to() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    world.insert(&Snapshot::of(team)).await;
    world.insert(&Snapshot::of(team).kind("menu")).await;
    let list = world.run(&["retention", "list"]).await;
    let entries = list.json();
    let of = |name: &str| entries.as_array().unwrap().iter().find(|entry| entry["snapshot_type"] == name).unwrap();
    assert_eq!((of("offer")["ttl"].as_str(), of("offer")["rows"].as_i64()), (Some("7d"), Some(2)), "{list:?}");
    assert_eq!(of("offer")["rows_with_event"], 1);
    assert_eq!((of("qna")["ttl"].as_str(), of("qna")["keep_after_event"].as_bool()), (Some("365d"), Some(true)));
    assert_eq!(of("*")["rows"], 1, "a type that is not listed");
    let table = world.run(&["retention", "list", "--output", "table"]).await;
    assert!(table.stdout.contains("365d") && table.stdout.contains("kept"), "{table:?}");
}

#[tokio::test]
async fn nothing_changes_without_yes_and_new_rows_follow_at_once() {
    let world = World::new().await;
    let team = world.team().await;
    let old = insert_without_expiry(&world, team, "offer").await;
    let change = ["retention", "set", "offer", "--ttl", "12h", "--yes"];
    let preview = world.run(&change[..5]).await;
    assert_eq!((preview.code, preview.json()["dry_run"].as_bool()), (0, Some(true)), "{preview:?}");
    assert_eq!(
        (preview.json()["before"]["ttl_seconds"].as_i64(), preview.json()["rows"].as_i64()),
        (Some(604_800), Some(1))
    );
    let same = insert_without_expiry(&world, team, "offer").await;
    assert!((expires_in_days(&world, same).await - 7.0).abs() < 0.001);
    let changed = world.run(&change).await;
    assert_eq!(changed.code, 0, "{changed:?}");
    let new = insert_without_expiry(&world, team, "offer").await;
    assert!((expires_in_days(&world, new).await - 0.5).abs() < 0.001);
    for kept in [old, same] {
        assert!((expires_in_days(&world, kept).await - 7.0).abs() < 0.001, "existing rows keep theirs");
    }
    // A type of its own, and the default for the others.
    assert_eq!(world.run(&["retention", "set", "menu", "--ttl", "2d", "--yes"]).await.code, 0);
    assert_eq!(world.run(&["retention", "set", "*", "--ttl", "3d", "--yes"]).await.code, 0);
    for (kind, days) in [("menu", 2.0), ("wine", 3.0), ("rooms", 7.0)] {
        let id = insert_without_expiry(&world, team, kind).await;
        assert!((expires_in_days(&world, id).await - days).abs() < 0.001, "{kind}");
    }
}

#[tokio::test]
async fn running_worker_follows_what_the_policy_says_of_an_events_end() {
    let world = World::new().await;
    let (team, first, second) = (world.team().await, world.event().await, world.event().await);
    let worker = world.worker().await;
    world.insert(&Snapshot::of(team).event(first)).await;
    world.confirm_event(first, OffsetDateTime::now_utc()).await;
    worker.reaches("snapshots_deleted_total{rule=\"event_end\"}", 1.0).await;
    let kept = world.insert(&Snapshot::of(team).event(second)).await;
    let keep = world.run(&["retention", "set", "offer", "--keep-after-event", "true", "--yes"]).await;
    assert_eq!((keep.code, keep.json()["after"]["ttl_seconds"].as_i64()), (0, Some(604_800)), "{keep:?}");
    world.confirm_event(second, OffsetDateTime::now_utc()).await;
    worker.reaches("messages_total{outcome=\"applied\"}", 2.0).await;
    assert_eq!(world.snapshots().await, set([kept]));
    worker.stop().await;
}

#[tokio::test]
async fn restamp_changes_the_rows_of_the_type_and_no_others() {
    let world = World::new().await;
    let (team, now) = (world.team().await, OffsetDateTime::now_utc());
    let week_old = world.insert(&Snapshot::of(team).created_at(now - Duration::days(6))).await;
    let fresh = world.insert(&Snapshot::of(team).created_at(now)).await;
    let right = world.insert(&Snapshot::of(team).created_at(now).expires_at(now + Duration::days(2))).await;
    let undated = world.insert(&Snapshot::of(team).without_created_at()).await;
    let other = world.insert(&Snapshot::of(team).kind("rooms").created_at(now)).await;
    let unlisted = world.insert(&Snapshot::of(team).kind("menu").created_at(now)).await;
    let restamp = ["retention", "set", "offer", "--ttl", "2d", "--restamp", "--yes"];
    let preview = world.run(&restamp[..6]).await.json();
    let counts = &preview["would_restamp"];
    assert_eq!((counts["earlier"].as_i64(), counts["later"].as_i64()), (Some(2), Some(0)), "{preview}");
    assert_eq!((counts["expired_at_once"].as_i64(), counts["without_created_at"].as_i64()), (Some(1), Some(1)));
    assert!((expires_in_days(&world, fresh).await - 7.0).abs() < 0.01);
    let done = world.run(&restamp).await;
    assert_eq!((done.code, done.json()["restamped"].as_i64()), (0, Some(2)), "{done:?}");
    for id in [week_old, fresh, right] {
        assert!((expires_in_days(&world, id).await - 2.0).abs() < 0.001);
    }
    assert!((expires_in_days(&world, other).await - 7.0).abs() < 0.01, "another type");
    assert_eq!(world.count(&format!("id = '{undated}' AND expires_at > now() + interval '6 days'")).await, 1);
    assert_eq!(world.run(&restamp).await.json()["restamped"], 0, "the second time there is nothing to do");
    assert_eq!(world.run(&["retention", "set", "*", "--ttl", "3d", "--restamp", "--yes"]).await.json()["restamped"], 1);
    assert!((expires_in_days(&world, unlisted).await - 3.0).abs() < 0.001);
    assert!((expires_in_days(&world, other).await - 7.0).abs() < 0.01, "listed types have rows of their own");
}

#[tokio::test]
async fn two_large_restamps_at_once_change_each_row_once() {
    let world = World::new().await;
    let team = world.team().await;
    world.insert_many(team, 15_000).await;
    let arguments = ["retention", "set", "offer", "--ttl", "30d", "--restamp", "--yes"];
    let (first, second) = tokio::join!(world.run(&arguments), world.run(&arguments));
    assert_eq!((first.code, second.code), (0, 0), "{first:?} {second:?}");
    let restamped = |answer: &Finished| answer.json()["restamped"].as_i64().unwrap();
    assert_eq!(restamped(&first) + restamped(&second), 15_000);
    assert_eq!(world.count("expires_at = created_at + interval '30 days'").await, 15_000);
}

#[tokio::test]
async fn wrong_use_and_missing_rights_say_the_fix() {
    let world = World::new().await;
    for wrong in [
        &["retention", "set", "offer"][..],
        &["retention", "set", "offer", "--ttl", "7"],
        &["retention", "set", "offer", "--ttl", "0s"],
        &["retention", "set", "offer", "--ttl", "1500ms"],
        &["retention", "set", "", "--ttl", "7d"],
    ] {
        let refused = world.run(wrong).await;
        assert_eq!(refused.code, 2, "{wrong:?}: {refused:?}");
    }
    let role = format!("reader_{}", Uuid::new_v4().simple());
    world
        .sql(format!(
            r"
                CREATE ROLE {role} LOGIN BYPASSRLS PASSWORD 'secret';
                GRANT USAGE ON SCHEMA snapshot_lifecycle TO {role};
                GRANT SELECT, DELETE, UPDATE ON public.snapshots TO {role};
                GRANT SELECT ON snapshot_lifecycle.retention, snapshot_lifecycle.migrations, snapshot_lifecycle.pause TO {role};
                GRANT SELECT, INSERT, UPDATE ON snapshot_lifecycle.lease, snapshot_lifecycle.delete_budget TO {role};
                GRANT SELECT, INSERT, DELETE ON snapshot_lifecycle.outbox, snapshot_lifecycle.applied_ahead TO {role}"
        ))
        .await;
    let mut command = world.program(&["retention", "set", "offer", "--ttl", "1d", "--yes"]);
    command.env("DATABASE_URL", as_user(&world.database_url, &role, "secret"));
    let denied = finish(command);
    assert_eq!(denied.code, 1);
    assert!(denied.stderr.contains("the role that ran `migrate`"), "{denied:?}");
    world.sql(format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    let mut command = world.program(&["retention", "list"]);
    command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    let away = finish(command);
    assert_eq!(away.code, 1);
    assert!(away.stderr.starts_with("error: "), "{away:?}");
}

#[tokio::test]
async fn restamp_gives_an_expiry_to_rows_that_have_none() {
    let world = World::new().await;
    let team = world.team().await;
    world
        .sql(
            "ALTER TABLE public.snapshots ALTER COLUMN expires_at DROP NOT NULL; ALTER TABLE public.snapshots DISABLE TRIGGER snapshot_lifecycle_fill_expires_at",
        )
        .await;
    let (old, fresh) =
        (insert_without_expiry(&world, team, "offer").await, insert_without_expiry(&world, team, "offer").await);
    let other = insert_without_expiry(&world, team, "rooms").await;
    world.sql(format!("UPDATE public.snapshots SET created_at = now() - interval '3 days' WHERE id = '{old}'")).await;
    let restamp = ["retention", "set", "offer", "--ttl", "2d", "--restamp", "--yes"];
    let preview = world.run(&restamp[..6]).await.json();
    let counts = &preview["would_restamp"];
    assert_eq!(
        (counts["without_expires_at"].as_i64(), counts["expired_at_once"].as_i64()),
        (Some(2), Some(1)),
        "{preview}"
    );
    assert_eq!((counts["earlier"].as_i64(), counts["later"].as_i64()), (Some(0), Some(0)), "{preview}");
    let done = world.run(&restamp).await;
    assert_eq!((done.code, done.json()["restamped"].as_i64()), (0, Some(2)), "{done:?}");
    for id in [old, fresh] {
        assert!((expires_in_days(&world, id).await - 2.0).abs() < 0.001);
    }
    assert_eq!(world.count(&format!("id = '{other}' AND expires_at IS NULL")).await, 1, "another type");
    assert_eq!(world.run(&restamp).await.json()["restamped"], 0);
}

#[tokio::test]
async fn preview_says_that_the_workers_role_may_not_change_the_policy() {
    let world = World::new().await;
    let role = world.worker_role();
    let set = |more: &[&str]| {
        let mut command =
            world.program(&[&["retention", "set", "offer", "--ttl", "1d", "--output", "table"][..], more].concat());
        command.env("DATABASE_URL", world.url_as(&role));
        finish(command)
    };
    let preview = set(&[]);
    assert!(preview.stdout.contains("--yes would fail: this needs the role that ran `migrate`"), "{preview:?}");
    assert!(preview.stdout.contains("0 snapshots of type offer exist"), "{preview:?}");
    assert_eq!(set(&["--yes"]).code, 1);
    let allowed = world.run(&["retention", "set", "offer", "--ttl", "1d"]).await;
    assert_eq!(allowed.json()["permitted"], true, "{allowed:?}");
    world.drop_role(&role).await;
}
