//! Reaching PostgreSQL and RabbitMQ: what keeps a command from them is named, with the server and the fix, whatever the command.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use crate::support::{Snapshot, World, as_user, eventually, finish, host_of, program, set};

#[tokio::test]
async fn each_command_names_the_server_the_cause_and_the_fix() {
    let world = World::new().await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = silent.local_addr().unwrap();
    let server = host_of(&world.database_url);
    let url = |host: &str, database: &str| format!("postgres://u:hidden@{host}/{database}");
    let id = uuid::Uuid::new_v4().to_string();
    let commands: [&[&str]; 6] = [
        &["migrate"],
        &["sweep"],
        &["delete-event", &id],
        &["outbox", "status"],
        &["retention", "list"],
        &["snapshots", "list", "--team-id", &id],
    ];
    for (url, place, cause, fix) in [
        (url(&nobody.to_string(), "db"), nobody.to_string(), "refused", "start PostgreSQL"),
        (url("db.invalid:5432", "db"), "db.invalid:5432".to_owned(), "lookup", "correct host and port"),
        (url(&server, "db"), server.clone(), "\"u\"", "user and password"),
        (world.database_url.replace("/it_", "/not_"), server.clone(), "does not exist", "database's name"),
    ] {
        for arguments in commands {
            let mut command = world.program(arguments);
            command.env("DATABASE_URL", &url);
            let failed = tokio::task::spawn_blocking(move || finish(command)).await.unwrap();
            let words = failed.stderr.replace('\n', " ");
            assert_eq!(failed.code, 1, "{arguments:?}: {words}");
            for part in [place.as_str(), cause, fix] {
                assert!(words.contains(part), "{arguments:?}: no {part} in {words}");
                assert_eq!(words.matches(part).count(), 1, "{arguments:?}: {part} is said twice: {words}");
            }
            assert!(!words.contains("hidden") && !words.contains("pool timed out"), "{words}");
        }
    }
    let mut command = world.program(&["sweep"]);
    command.env("DATABASE_URL", url(&mute.to_string(), "db"));
    let failed = tokio::task::spawn_blocking(move || finish(command)).await.unwrap();
    assert!(failed.stderr.contains("no answer within") && failed.stderr.contains("firewall"), "{failed:?}");

    let mut command = world.program(&["run", "--http-addr", "127.0.0.1:0"]);
    command.env("DATABASE_URL", world.database_url.replace("/it_", "/not_"));
    let run = tokio::task::spawn_blocking(move || finish(command)).await.unwrap();
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("database's name") && !run.stderr.contains("at line"), "{run:?}");
}

#[tokio::test]
async fn each_command_names_rabbitmq_the_cause_and_the_fix() {
    let world = World::new().await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let url = &world.servers.amqp_url;
    let broker = host_of(url);
    let absent = [as_user(&format!("amqp://guest@{nobody}/%2f"), "guest", "hidden"), nobody];
    let stranger = [as_user(url, "guest", "hidden"), broker.clone()];
    let elsewhere = [url.replace("/%2f", "/elsewhere"), broker];
    let id = uuid::Uuid::new_v4().to_string();
    let now = "2026-01-01T00:00:00Z";
    let publish = ["publish", "--event-id", &id, "--status", "lead", "--occurred-at", now];
    let run = ["run", "--http-addr", "127.0.0.1:0"];
    for ([url, server], cause, fix) in [
        (&absent, "refused", "start RabbitMQ"),
        (&stranger, "ACCESS_REFUSED", "correct user and password"),
        (&elsewhere, "vhost elsewhere not found", "correct the virtual host"),
    ] {
        for arguments in [&["dlq", "list"][..], &["dlq", "stats"], &publish, &run] {
            let says = |words: &str| {
                for part in [server.as_str(), cause, fix] {
                    assert!(words.contains(part), "{arguments:?}: no {part} in {words}");
                }
                assert!(!words.contains("hidden"), "{arguments:?}: {words}");
            };
            if *arguments == run && cause == "refused" {
                // It waits for RabbitMQ, and says so.
                let worker = world.start_worker(&[("AMQP_URL", url)]).await;
                eventually("the worker to say so", async || worker.log_text().contains(fix)).await;
                says(&worker.log_text());
                continue;
            }
            let mut command = world.program(arguments);
            command.env("AMQP_URL", url);
            let failed = tokio::task::spawn_blocking(move || finish(command)).await.unwrap();
            assert_eq!(failed.code, 1, "{arguments:?}: {failed:?}");
            says(&failed.stderr.replace('\n', " "));
        }
    }
}

#[tokio::test]
async fn words_of_the_database_come_once_and_without_its_source() {
    let world = World::new().await;
    let team = world.team().await;
    let expired = world.insert(&Snapshot::of(team).expires_at(time::OffsetDateTime::UNIX_EPOCH)).await;
    world
        .sql(
            r"
                CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS
                    'BEGIN RAISE EXCEPTION ''invoice is not closed''; END';
                CREATE TRIGGER no BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.no()",
        )
        .await;
    let failed = world.run(&["sweep", "--yes"]).await;
    assert_eq!(failed.code, 1, "{failed:?}");
    assert_eq!(failed.stderr.matches("invoice is not closed").count(), 1, "{failed:?}");
    assert!(!failed.stderr.contains("at line"), "{failed:?}");
    assert_eq!(world.snapshots().await, set([expired]));
}

#[test]
fn misspelt_parameter_is_refused_and_what_stands_in_the_password_is_not_shown() {
    for (url, says) in [
        ("postgres://u:p@127.0.0.1:1/db?sslmod=verify-full", "sslmod= is unknown"),
        ("postgres://u:hunter#2@127.0.0.1:1/db", "%23"),
        ("postgres://u:hunter/2@127.0.0.1:1/db", "%2F"),
        ("postgres://u:p@127.0.0.1:1/db?sslmode=bogus", "verify-full"),
    ] {
        let mut command = program(&["sweep"]);
        command.env("DATABASE_URL", url);
        let refused = finish(command);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("DATABASE_URL") && refused.stderr.contains(says), "{refused:?}");
        assert!(!refused.stderr.contains("hunter") && !refused.stderr.contains("bogus"), "{refused:?}");
    }
}

#[tokio::test]
async fn ipv6_literal_is_reached() {
    let world = World::new().await;
    let expired = world.insert(&Snapshot::of(world.team().await).expires_at(time::OffsetDateTime::UNIX_EPOCH)).await;
    assert_eq!(world.snapshots().await, set([expired]));
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))).await.unwrap();
    let server = host_of(&world.database_url);
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = tokio::net::TcpStream::connect(&server).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await.ok() });
        }
    });
    let (user, rest) = world.database_url.split_once('@').unwrap();
    let url = format!("{user}@[::1]:{port}/{}", rest.split_once('/').unwrap().1);
    let mut command = world.program(&["sweep", "--yes"]);
    command.env("DATABASE_URL", url);
    let swept = tokio::task::spawn_blocking(move || finish(command)).await.unwrap();
    assert_eq!(swept.code, 0, "{swept:?}");
    assert!(world.snapshots().await.is_empty());
}

#[tokio::test]
async fn time_out_of_a_whole_transaction_is_a_time_out() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    let row = world.insert(&Snapshot::of(team).event(event)).await;
    // What PostgreSQL 17 raises where transaction_timeout is over (25P04).
    world
        .sql(
            r"
                CREATE FUNCTION public.over() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE 'terminating connection due to transaction timeout' USING ERRCODE = '25P04'; END $$;
                CREATE TRIGGER over BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.over()",
        )
        .await;
    let end = snapshot_lifecycle::policy::EventEnd {
        event_id: event,
        team_id: None,
        occurred_at: time::OffsetDateTime::now_utc(),
    };
    let error =
        world.database().event_end_delete(&[end], snapshot_lifecycle::storage::Limits::SHORT).await.unwrap_err();
    assert_eq!(error.verdict(), snapshot_lifecycle::storage::Verdict::Timeout);
    assert!(error.is_statement_timeout());
    assert_eq!(world.snapshots().await, set([row]));
}

/// PostgreSQL 17 and later; earlier ones have no such setting.
#[tokio::test]
async fn worker_goes_without_a_transaction_timeout_of_its_role() {
    let world = World::new().await;
    let version: i32 =
        sqlx::query_scalar("SELECT current_setting('server_version_num')::int").fetch_one(&world.pool).await.unwrap();
    if version < 170_000 {
        return;
    }
    let team = world.team().await;
    for _ in 0..100 {
        world.insert(&Snapshot::of(team).expires_at(time::OffsetDateTime::UNIX_EPOCH)).await;
    }
    let survivor = world.insert(&Snapshot::of(team)).await;
    let name = world.database_url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    world.make_each_delete_take("0.02").await;
    world.sql(format!("ALTER DATABASE {name} SET transaction_timeout = '500ms'")).await;
    let swept = world.run(&["sweep", "--yes"]).await;
    assert_eq!(swept.code, 0, "{swept:?}");
    assert_eq!(world.snapshots().await, set([survivor]));
    let doctor = world.run(&["doctor"]).await;
    assert!(doctor.stdout.contains("transaction_timeout is 500ms"), "{doctor:?}");
}

#[tokio::test]
async fn what_the_url_leaves_out_comes_from_the_environment_and_a_part_of_the_url_wins() {
    let world = World::new().await;
    let role = world.worker_role();
    let database = world.database_url.rsplit('/').next().unwrap().split('?').next().unwrap();
    let mut command = world.program(&["sweep"]);
    command
        .env("DATABASE_URL", format!("postgres://{}", host_of(&world.database_url)))
        .env("PGHOST", "db.invalid")
        .env("PGPORT", "1")
        .env("PGUSER", &role)
        .env("PGPASSWORD", "secret")
        .env("PGDATABASE", database);
    let swept = tokio::task::spawn_blocking(move || finish(command)).await.unwrap();
    assert_eq!(swept.code, 0, "{swept:?}");
    world.drop_role(&role).await;
}
