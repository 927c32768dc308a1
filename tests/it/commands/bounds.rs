//! Numbers, durations and times at and beyond every bound: refused or used, and no command panics.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Finished, Snapshot, World, finish, program};

const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "NaN",
    "inf",
];
const DURATIONS: [&str; 8] = [
    "0s",
    "1ms",
    "1s",
    "36525d",
    "36526d",
    "18446744073709551615ms",
    "18446744073709551615d",
    "99999999999999999999999s",
];
const TIMES: [&str; 9] = [
    "0000-01-01T00:00:00Z",
    "0000-01-01T00:00:00+23:59",
    "0001-01-01T00:00:00Z",
    "1970-01-01T00:00:00.0000000001Z",
    "9999-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59-23:59",
    "10000-01-01T00:00:00Z",
    "-0001-01-01T00:00:00Z",
    "294276-12-31T23:59:59Z",
];

/// Done, failed with a reason, or refused; never a panic.
fn ends_well(what: &str, ended: &Finished) {
    assert!((0..=2).contains(&ended.code), "{what}: {ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{what}: {ended:?}");
    assert!(ended.code == 0 || ended.stderr.contains("error: "), "{what}: {ended:?}");
}

#[tokio::test]
async fn no_number_duration_or_time_makes_a_command_panic() {
    let world = World::new().await;
    world.worker().await.stop().await;
    let (team, event) = (world.team().await, world.event().await.to_string());
    for at in [OffsetDateTime::now_utc(), OffsetDateTime::UNIX_EPOCH] {
        world.insert(&Snapshot::of(team).event(event.parse().unwrap()).created_at(at)).await;
    }
    world.publish_raw(&[b"no json".to_vec()]).await;
    let before = world.snapshots().await;
    let team = team.to_string();
    let publish = ["publish", "--event-id", &event, "--status", "lead"];
    let cases: &[(&[&str], &str, &[&str])] = &[
        (&["evict"], "--max-snapshots-per-team", &NUMBERS),
        (&["evict"], "--delete-rate", &NUMBERS),
        (&["sweep"], "--delete-rate", &NUMBERS),
        (&["snapshots", "list", "--team-id", &team], "--limit", &NUMBERS),
        (&["dlq", "list"], "--limit", &NUMBERS),
        (&["dlq", "list"], "--position", &NUMBERS),
        (&["dlq", "replay"], "--max-replays", &NUMBERS),
        (&["dlq", "replay"], "--rate", &NUMBERS),
        (&["dlq", "replay"], "--stop-on-failures", &NUMBERS),
        (&["publish", "--from", "/dev/null"], "--skip", &NUMBERS),
        (&publish, "--step", &NUMBERS),
        (&["doctor"], "--prefetch", &NUMBERS),
        (&["doctor"], "--max-message-bytes", &NUMBERS),
        (&["doctor"], "--max-attempts", &NUMBERS),
        (&["doctor"], "--sweep-interval", &DURATIONS),
        (&["doctor"], "--evict-interval", &DURATIONS),
        (&["doctor"], "--shutdown-timeout", &DURATIONS),
        (&["retention", "set", "offer", "--restamp"], "--ttl", &DURATIONS),
        (&["dlq", "list"], "--since", &DURATIONS),
        (&["dlq", "list"], "--until", &TIMES),
        (&["delete-event", &event], "--occurred-at", &TIMES),
        (&publish, "--occurred-at", &TIMES),
    ];
    for (arguments, flag, values) in cases {
        for value in *values {
            // With =, so that a minus does not make it a flag.
            let given = format!("{flag}={value}");
            let ended = world.run(&[arguments, &[given.as_str()][..]].concat()).await;
            if *arguments == ["doctor"] && ended.code == 1 {
                continue; // a check fails, and the answer says which
            }
            ends_well(&format!("{arguments:?} {given}"), &ended);
        }
    }
    assert_eq!(world.snapshots().await, before);
}

#[tokio::test]
async fn worker_with_the_longest_durations_starts_and_stops() {
    let world = World::new().await;
    let longest = ["LIFECYCLE_SHUTDOWN_TIMEOUT", "LIFECYCLE_SWEEP_INTERVAL", "LIFECYCLE_EVICT_INTERVAL"];
    let worker = world.worker_with(&longest.map(|name| (name, "36525d"))).await;
    assert!(!worker.log_text().contains("panicked"), "{}", worker.log_text());
    worker.stop().await;
    let mut doctor = world.program(&["doctor"]);
    doctor.envs(longest.map(|name| (name, "36525d")));
    assert_eq!(finish(doctor).code, 0);
}

#[tokio::test]
async fn no_date_that_postgresql_holds_makes_a_command_panic() {
    let world = World::new().await;
    let (team, event) = (world.team().await, world.event().await);
    let dates = ["-infinity", "4713-01-01 BC", "0001-01-01", "2026-01-05", "20000-01-01", "294276-12-31", "infinity"];
    for created in dates {
        for expires in dates {
            world
                .sql(format!(
                    r"
                        INSERT INTO public.snapshots (team_id, event_id, snapshot_type, data, created_at, expires_at)
                        VALUES ('{team}', '{event}', 'offer', '{{}}', '{created}', '{expires}')"
                ))
                .await;
        }
    }
    let (team, event) = (team.to_string(), event.to_string());
    for arguments in [
        &["snapshots", "list", "--team-id", &team][..],
        &["snapshots", "list", "--event-id", &event, "--output", "table"],
        &["sweep"],
        &["evict", "--max-snapshots-per-team", "5"],
        &["delete-event", &event],
        &["retention", "list"],
        &["retention", "set", "offer", "--ttl", "36525d", "--restamp"],
        &["doctor"],
    ] {
        let ended = world.run(arguments).await;
        if arguments == ["doctor"] {
            assert!(!ended.stderr.contains("panicked"), "{ended:?}");
            continue;
        }
        ends_well(&format!("{arguments:?}"), &ended);
    }
    for id in world.snapshots().await {
        let shown = world.run(&["snapshots", "show", &id.to_string()]).await;
        assert_eq!(shown.code, 0, "{shown:?}");
    }
    assert_eq!(finish(program(&["snapshots", "show", &Uuid::nil().to_string()])).code, 2, "no URL");
}
