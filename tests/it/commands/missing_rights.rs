//! Every command without rights: it does nothing and says why.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Servers, Snapshot, TempFile, World, as_user, body, finish, local_store};

#[tokio::test]
async fn without_rights_in_the_database_nothing_happens_and_the_fix_is_said() {
    let world = World::new().await;
    world.sql("ALTER TABLE public.events ADD COLUMN status TEXT").await;
    let role = format!("nobody_{}", Uuid::new_v4().simple());
    world.sql(format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'")).await;
    let url = world.url_as(&role);
    let (team, event) = (world.team().await, world.event().await);
    let id = world.insert(&Snapshot::of(team).event(event).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    let (team, event, id) = (team.to_string(), event.to_string(), id.to_string());
    let store = local_store(2);
    for command in [
        &["migrate"][..],
        &["delete-event", &event, "--yes"],
        &["sweep", "--yes"],
        &["evict", "--yes"],
        &["evict", "--team", &team, "--yes"],
        &["retention", "list"],
        &["retention", "set", "offer", "--ttl", "3d", "--restamp", "--yes"],
        &["outbox", "install", "--table", "events", "--status-column", "status"],
        &["outbox", "status"],
        &["snapshots", "list", "--team-id", &team],
        &["snapshots", "show", &id],
        &["snapshots", "import", store.path(), "--team-id", &team],
        &["doctor"],
        &["run", "--http-addr", "127.0.0.1:0"],
    ] {
        let mut program = world.program(command);
        program.env("DATABASE_URL", &url);
        let refused = tokio::task::spawn_blocking(|| finish(program)).await.unwrap();
        assert_eq!(refused.code, 1, "{command:?}: {refused:?}");
        let said = format!("{}{}", refused.stderr, refused.stdout);
        assert!(
            ["permission denied", "lacks", "role that ran `migrate`", "owns"].iter().any(|words| said.contains(words)),
            "{command:?}: {said}"
        );
        assert!(!said.contains("secret"), "{command:?}: {said}");
    }
    assert_eq!(world.snapshots().await.len(), 1);
    let triggers: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'snapshot_lifecycle_outbox%'")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(triggers, 0);
    world.sql(format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn without_rights_at_the_broker_nothing_happens_and_the_reason_is_said() {
    let servers = Servers::private();
    let world = World::on(servers.pair()).await;
    world.dead_letter_bodies(2).await;
    let user = format!("u{}", Uuid::new_v4().simple());
    servers.control(&["rabbitmq", "ctl", "add_user", &user, "secret"]);
    servers.control(&["rabbitmq", "ctl", "set_permissions", "-p", "/", &user, "^$", "^$", "^$"]);
    let event = Uuid::new_v4().to_string();
    let file = TempFile::new(format!(
        "{}\n",
        String::from_utf8(body(Uuid::new_v4(), "lead", OffsetDateTime::now_utc())).unwrap()
    ));
    let export = TempFile::absent();
    for command in [
        &["publish", "--event-id", &event, "--status", "lead"][..],
        &["publish", "--from", file.path()],
        &["dlq", "list"],
        &["dlq", "stats"],
        &["dlq", "show", "--position", "1"],
        &["dlq", "export", "--to", export.path()],
        &["dlq", "replay", "--yes"],
        &["dlq", "purge", "--all", "--yes"],
        &["run", "--http-addr", "127.0.0.1:0"],
    ] {
        let mut program = world.program(command);
        program.env("AMQP_URL", as_user(&servers.pair().amqp_url, &user, "secret"));
        let refused = tokio::task::spawn_blocking(|| finish(program)).await.unwrap();
        assert_eq!(refused.code, 1, "{command:?}: {refused:?}");
        assert!(refused.stderr.contains("ACCESS_REFUSED"), "{command:?}: {refused:?}");
        assert!(!refused.stderr.contains("secret"), "{command:?}: {refused:?}");
    }
    assert!(!export.exists(), "an export that failed does not look like one");
    assert_eq!((world.dead_letters().await, world.depth(&world.queue).await), (2, 0));
    servers.control(&["rabbitmq", "ctl", "delete_user", &user]);
}
