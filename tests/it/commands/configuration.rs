//! Environment variables and arguments: what is refused with exit code 2, and that no secret is shown.

use uuid::Uuid;

use crate::support::{TempFile, World, finish, program};

#[test]
fn unusable_values_end_with_two_and_name_the_variable() {
    for (variable, value, allowed) in [
        ("LIFECYCLE_SWEEP_INTERVAL", "5", "5m"),
        ("LIFECYCLE_EVICT_INTERVAL", "0s", "above zero"),
        ("LIFECYCLE_PREFETCH", "0", "1..="),
        ("LIFECYCLE_PREFETCH", "70000", "65535"),
        ("LIFECYCLE_MAX_MESSAGE_BYTES", "-1", "1..="),
        ("LIFECYCLE_MAX_ATTEMPTS", "many", "invalid digit"),
        ("LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM", "0", "1..="),
        ("LIFECYCLE_DELETE_RATE", "fast", "unlimited"),
        ("LIFECYCLE_TOPOLOGY", "create", "declare, verify"),
        ("LIFECYCLE_HTTP_ADDR", "8080", "127.0.0.1:8080"),
        ("LIFECYCLE_ENV", "staging", "production, development"),
        ("LIFECYCLE_SHUTDOWN_TIMEOUT", "soon", "30s"),
        ("LIFECYCLE_LOG_FORMAT", "xml", "json, text"),
        ("LIFECYCLE_QUEUE", "", "1 to 200 bytes"),
        ("RUST_LOG", "loud[", "debug"),
        ("DATABASE_URL", "mysql://user:secret@host/db", "postgres://"),
        ("AMQP_URL", "http://user:secret@host", "amqp://"),
        ("DATABASE_URL", "", "postgres://"),
    ] {
        let mut command = program(&["run"]);
        command
            .env("DATABASE_URL", "postgres://127.0.0.1:1/none")
            .env("AMQP_URL", "amqp://127.0.0.1:1")
            .env(variable, value);
        let refused = finish(command);
        assert_eq!(refused.code, 2, "{variable}={value}: {refused:?}");
        assert!(refused.stderr.contains(variable), "{variable}={value}: {refused:?}");
        assert!(refused.stderr.contains(allowed), "{variable}={value}: {refused:?}");
        assert!(!refused.stderr.contains("secret"), "{refused:?}");
    }
    let missing = finish(program(&["run"]));
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("DATABASE_URL"), "{missing:?}");
    for wrong in [
        &["sweeep"][..],
        &["publish"],
        &["publish", "--event-id", "7", "--status", "lead"],
        &["publish", "--schema", "--from", "-"],
        &["delete-event"],
        &["sweep", "--yes", "--output", "xml"],
    ] {
        assert_eq!(finish(program(wrong)).code, 2, "{wrong:?}");
    }
}

#[test]
fn errors_of_arguments_say_what_would_do() {
    for (arguments, says) in [
        (&["publish"][..], &["--event-id <ID>", "--from <FILE>"][..]),
        (&["publish", "--event-id", "0e8b6bd4-5a52-4b1c-8b6f-7d1f0c3c9a11"], &["--status"]),
        (&["publish", "--event-id", "abc", "--status", "lead"], &["--event-id", "not a UUID"]),
        (&["snapshots", "list"], &["--team-id <ID>", "--event-id <ID>"]),
        (&["snapshots", "list", "--team-id", "7"], &["--team-id", "not a UUID"]),
        (&["snapshots", "show", "abc"], &["not a UUID"]),
        (&["retention", "set", "offer"], &["--ttl <DURATION>", "--keep-after-event", "--restamp"]),
        (&["evict", "--team-id", "abc"], &["not a UUID"]),
        (&["delete-event", "abc"], &["EVENT_ID", "not a UUID"]),
        (&["dlq", "list", "--reason", "bad"], &["--reason", "unknown_status", "delivery_limit"]),
        (&["dlq", "list", "--since", "yesterday"], &["RFC 3339", "1h"]),
        (&["dlq", "replay", "--stop-on-failures", "0.2"], &["20%", "0.2%"]),
        (&["dlq", "replay", "--stop-on-failures", "NaN"], &["20%"]),
    ] {
        let refused = finish(program(arguments));
        assert_eq!(refused.code, 2, "{arguments:?}: {refused:?}");
        assert!(says.iter().all(|says| refused.stderr.contains(says)), "{arguments:?}: {refused:?}");
    }
}

#[tokio::test]
async fn secrets_may_come_from_files_and_are_never_shown() {
    let world = World::new().await;
    let file = TempFile::new(format!("{}\n", world.database_url));
    let mut command = program(&["sweep"]);
    command.env("DATABASE_URL_FILE", file.path());
    let swept = finish(command);
    assert_eq!(swept.code, 0, "{swept:?}");

    let mut command = program(&["sweep"]);
    command.env("DATABASE_URL_FILE", file.path()).env("DATABASE_URL", &world.database_url);
    let both = finish(command);
    assert_eq!(both.code, 2);
    assert!(both.stderr.contains("DATABASE_URL and DATABASE_URL_FILE"), "{both:?}");

    let mut command = program(&["sweep"]);
    command.env("DATABASE_URL_FILE", "/no/such/file");
    let absent = finish(command);
    assert_eq!(absent.code, 2);
    assert!(absent.stderr.contains("DATABASE_URL_FILE") && absent.stderr.contains("/no/such/file"), "{absent:?}");

    file.write(format!("\u{feff}{}", world.database_url));
    let mut command = program(&["sweep"]);
    command.env("DATABASE_URL_FILE", file.path());
    let marked = finish(command);
    assert_eq!(marked.code, 2);
    assert!(marked.stderr.contains("DATABASE_URL_FILE") && marked.stderr.contains("byte order mark"), "{marked:?}");

    // Empty is unset, and what another command needs is not read.
    let mut command = world.program(&["sweep"]);
    command.env("DATABASE_URL_FILE", "").env_remove("AMQP_URL").env("AMQP_URL_FILE", "/no/such/file");
    let swept = finish(command);
    assert_eq!(swept.code, 0, "{swept:?}");

    file.write("postgres://user:hunter2@127.0.0.1:1/none");
    for arguments in [&["run", "--help"][..], &["sweep"]] {
        let mut command = program(arguments);
        command.env("DATABASE_URL_FILE", file.path()).env("AMQP_URL", "amqp://user:hunter2@127.0.0.1:1");
        let shown = finish(command);
        assert!(!format!("{shown:?}").contains("hunter2"), "{shown:?}");
    }
}

#[tokio::test]
async fn server_that_is_away_is_an_error_with_a_reason() {
    let world = World::new().await;
    let mut command = world.program(&["sweep"]);
    command.env("DATABASE_URL", "postgres://user:hunter2@127.0.0.1:1/none");
    let away = finish(command);
    assert_eq!(away.code, 1);
    assert!(!away.stderr.contains("hunter2"), "{away:?}");
    let mut command = world.program(&["publish", "--event-id", &Uuid::new_v4().to_string(), "--status", "lead"]);
    command.env("AMQP_URL", "amqp://user:hunter2@127.0.0.1:1");
    let away = finish(command);
    assert_eq!(away.code, 1);
    assert!(away.stderr.contains("not published") && !away.stderr.contains("hunter2"), "{away:?}");
}
