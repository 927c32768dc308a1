//! `snapshots import`: a local store becomes rows, once, and each entry that cannot is named.

use std::process::Stdio;

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Snapshot, TempFile, World, as_user, finish};

/// A local store in a file.
fn store(snapshots: &Value) -> TempFile {
    TempFile::new(json!({ "snapshots": snapshots }).to_string())
}

/// As Python's isoformat() writes it.
fn python(at: OffsetDateTime) -> String {
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");
    at.format(&format).unwrap()
}

fn entry(id: &str, kind: &str, event: Option<Uuid>, created: OffsetDateTime) -> Value {
    json!({
        "snapshot_id": id, "type": kind, "created_at": python(created), "expires_at": python(created + Duration::WEEK),
        "event_id": event, "params": { "capacity": 30 }, "data": { "rooms": ["Säle", 2.5, null] },
    })
}

#[tokio::test]
async fn store_is_imported_once_with_types_and_times() {
    let world = World::new().await;
    let (team, event, now) = (world.team().await, world.event().await, OffsetDateTime::now_utc());
    let before = world.insert(&Snapshot::of(team)).await;
    let store = store(&json!({
        "snap_1": entry("snap_1", "rooms", Some(event), now - Duration::DAY),
        "snap_2": entry("snap_2", "qna", None, now - Duration::HOUR),
        "snap_3": entry("snap_3", "offer", None, now - Duration::days(30)),
        "snap_4": entry("snap_4", "offer", Some(Uuid::new_v4()), now),
        "snap_5": { "snapshot_id": "snap_5", "type": "offer" },
    }));
    let arguments = ["snapshots", "import", store.path(), "--team-id", &team.to_string()];
    let dry = world.run(&[&arguments[..], &["--dry-run"]].concat()).await;
    assert_eq!((dry.json()["imported"].as_u64(), world.snapshots().await.len()), (Some(0), 1), "{dry:?}");
    assert_eq!((dry.json()["would_import"].as_u64(), dry.json()["dry_run"].as_bool()), (Some(2), Some(true)));
    assert_eq!(dry.json()["snapshots"][0]["outcome"], "would_import");
    let dry = world.run(&[&arguments[..], &["--dry-run", "--output", "table"]].concat()).await;
    assert!(dry.stdout.contains("would import 2, exist already 0"), "{dry:?}");

    let import = world.run(&arguments).await;
    assert_eq!(import.code, 1, "something is left out: {import:?}");
    let answer = import.json();
    assert_eq!(
        ["imported", "already_there", "expired", "left_out"].map(|name| answer[name].as_u64().unwrap()),
        [2, 0, 1, 2]
    );
    let of =
        |id: &str| answer["snapshots"].as_array().unwrap().iter().find(|entry| entry["old_id"] == id).unwrap().clone();
    assert!(of("snap_4")["reason"].as_str().unwrap().contains("no event"), "{answer}");
    assert!(of("snap_5")["reason"].as_str().unwrap().contains("created_at is missing"), "{answer}");
    let id = of("snap_1")["id"].as_str().unwrap().to_owned();
    let show = world.run(&["snapshots", "show", &id]).await.json();
    assert_eq!(
        (show["snapshot_type"].as_str(), show["event_id"].as_str()),
        (Some("rooms"), Some(event.to_string().as_str()))
    );
    assert_eq!(
        (&show["data"], &show["params"]),
        (&json!({ "rooms": ["Säle", 2.5, null] }), &json!({ "capacity": 30 }))
    );
    let created =
        OffsetDateTime::parse(show["created_at"].as_str().unwrap(), &time::format_description::well_known::Rfc3339);
    assert_eq!(python(created.unwrap()), python(now - Duration::DAY));
    assert_eq!(world.count("expires_at = created_at + interval '7 days'").await, 2);

    // Deleted meanwhile, one comes back; the other is not touched.
    let again = world.run(&arguments).await.json();
    assert_eq!((again["imported"].as_u64(), again["already_there"].as_u64()), (Some(0), Some(2)));
    assert_eq!(world.snapshots().await.len(), 3);
    assert!(world.snapshots().await.contains(&before));
    let table = world.run(&[&arguments[..], &["--output", "table"]].concat()).await;
    assert!(table.stdout.contains("snap_4") && table.stdout.contains("left out 2"), "{table:?}");
}

#[tokio::test]
async fn no_digit_is_lost_and_one_unreadable_entry_leaves_the_others() {
    let world = World::new().await;
    let team = world.team().await.to_string();
    let entry = |id: &str, data: &str| {
        format!(
            r#""{id}": {{"snapshot_id": "{id}", "type": "offer", "created_at": "2026-01-05T12:00:00", "expires_at": "2099-01-05T12:00:00", "data": {data}}}"#
        )
    };
    let numbers = "[31.245270191439438, 12345678901234567890123, 0.12345678901234567890]";
    let store = TempFile::new(format!(
        r#"{{"snapshots": {{{}, {}, {}}}}}"#,
        entry("snap_1", numbers),
        entry("snap_2", "[NaN]"),
        entry("snap_3", r#""\ud83d""#)
    ));
    let import = world.run(&["snapshots", "import", store.path(), "--team-id", &team]).await;
    assert_eq!((import.code, &import.json()["imported"], &import.json()["left_out"]), (1, &json!(1), &json!(2)));
    assert!(import.stderr.contains("2 snapshots were left out"), "{import:?}");
    let reasons = import.json()["snapshots"].to_string();
    assert!(reasons.contains("NaN or Infinity") && reasons.contains("cannot be read"), "{reasons}");
    let id = world.snapshots().await.first().unwrap().to_string();
    for form in ["json", "table"] {
        let shown = world.run(&["snapshots", "show", &id, "--output", form]).await;
        assert!(shown.stdout.contains(numbers), "{shown:?}");
    }
}

#[tokio::test]
async fn row_that_the_database_refuses_is_named_and_leaves_the_others() {
    let world = World::new().await;
    let (team, now) = (world.team().await.to_string(), OffsetDateTime::now_utc());
    world
        .sql(
            r"
                ALTER TABLE public.snapshots ADD CONSTRAINT modest CHECK (snapshot_type <> 'greedy');
                CREATE FUNCTION public.odd() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    CASE NEW.snapshot_type
                        WHEN 'outage' THEN RAISE EXCEPTION 'the moon is full' USING ERRCODE = '08006';
                        WHEN 'denied' THEN RAISE EXCEPTION 'not on a Monday' USING ERRCODE = '42501';
                        ELSE RETURN NEW;
                    END CASE;
                END $$;
                CREATE TRIGGER odd BEFORE INSERT ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.odd();",
        )
        .await;
    let mut entries = serde_json::Map::new();
    for n in 0..500 {
        let kind = match n {
            0 => "greedy",
            117 => "outage",
            118 => "denied",
            499 => &(0..9_000).map(|n: u32| char::from_u32(0x4e00 + n * 7 % 20_000).unwrap()).collect::<String>(),
            _ => "offer",
        };
        let id = format!("snap_{n:03}");
        entries.insert(id.clone(), entry(&id, kind, None, now));
    }
    let store = store(&Value::Object(entries));
    let arguments = ["snapshots", "import", store.path(), "--team-id", &team];
    for (imported, existing) in [(496, 0), (0, 496)] {
        let import = world.run(&arguments).await;
        let answer = import.json();
        assert_eq!(import.code, 1, "{}", import.stderr);
        let counts = ["imported", "already_there", "left_out"].map(|name| answer[name].as_u64().unwrap());
        assert_eq!(counts, [imported, existing, 4], "{}", import.stderr);
        let reason = |n: usize| answer["snapshots"][n]["reason"].as_str().unwrap_or_default().to_owned();
        for (n, why) in [(0, "modest"), (117, "the moon is full"), (118, "not on a Monday"), (499, "index row")] {
            assert!(reason(n).contains(why), "{n}: {}", reason(n));
            assert_eq!(reason(n).matches(why).count(), 1, "said once: {}", reason(n));
        }
        assert!(import.stderr.contains("4 snapshots were left out"), "{}", import.stderr);
    }
    assert_eq!(world.snapshots().await.len(), 496);
}

#[tokio::test]
async fn import_without_the_privilege_stops_and_leaves_nothing_out() {
    let world = World::new().await;
    let (team, now) = (world.team().await.to_string(), OffsetDateTime::now_utc());
    let role = format!("reader_{}", Uuid::new_v4().simple());
    world
        .sql(format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT SELECT ON public.events, public.teams, public.snapshots TO {role}"
        ))
        .await;
    let store =
        store(&json!({ "snap_1": entry("snap_1", "offer", None, now), "snap_2": entry("snap_2", "offer", None, now) }));
    let (_, host) = world.database_url.split_once('@').unwrap();
    let mut command = world.program(&["snapshots", "import", store.path(), "--team-id", &team]);
    command.env("DATABASE_URL", format!("postgres://{role}:secret@{host}"));
    let import = finish(command);
    assert_eq!((import.code, import.json()["left_out"].as_u64()), (1, Some(0)), "{import:?}");
    assert!(import.json()["stopped"].as_str().unwrap().contains("permission denied"), "{import:?}");
    assert_eq!(import.json()["snapshots"][0]["outcome"], "not_reached");
    world.sql(format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn role_that_the_backends_own_policies_bind_imports_its_teams_store() {
    let world = World::new().await;
    let (team, event, now) = (world.team().await, world.event().await, OffsetDateTime::now_utc());
    let role = format!("importer_{}", Uuid::new_v4().simple());
    world
        .sql(format!(
            r"
                ALTER TABLE public.events ADD COLUMN team_id UUID; UPDATE public.events SET team_id = '{team}';
                ALTER TABLE public.events ENABLE ROW LEVEL SECURITY; ALTER TABLE public.teams ENABLE ROW LEVEL SECURITY;
                CREATE POLICY own ON public.events USING (team_id = current_setting('app.current_team_id')::uuid);
                CREATE POLICY own ON public.teams USING (id = current_setting('app.current_team_id')::uuid);
                CREATE ROLE {role} LOGIN PASSWORD 'secret';
                GRANT SELECT ON public.events, public.teams TO {role};
                GRANT SELECT, INSERT ON public.snapshots TO {role}"
        ))
        .await;
    let store = store(&json!({ "snap_1": entry("snap_1", "offer", Some(event), now) }));
    let mut command = world.program(&["snapshots", "import", store.path(), "--team-id", &team.to_string()]);
    command.env("DATABASE_URL", as_user(&world.database_url, &role, "secret"));
    let import = finish(command);
    assert_eq!((import.code, world.snapshots().await.len()), (0, 1), "{import:?}");
    world.sql(format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn large_store_is_imported_by_two_at_once() {
    let world = World::new().await;
    let (team, now) = (world.team().await, OffsetDateTime::now_utc());
    let entries: serde_json::Map<String, Value> = (0..6_000)
        .map(|n| {
            let id = format!("snap_{n}");
            let entry = entry(&id, "offer", None, now - Duration::seconds(n));
            (id, entry)
        })
        .collect();
    let store = store(&Value::Object(entries));
    let team = team.to_string();
    let arguments = ["snapshots", "import", store.path(), "--team-id", &team];
    let (first, second) = tokio::join!(world.run(&arguments), world.run(&arguments));
    assert_eq!((first.code, second.code), (0, 0), "{} {}", first.stderr, second.stderr);
    let imported = |answer: &Value| answer["imported"].as_u64().unwrap();
    assert_eq!(imported(&first.json()) + imported(&second.json()), 6_000);
    assert_eq!(world.snapshots().await.len(), 6_000);
}

#[tokio::test]
async fn killed_import_is_completed_by_the_next() {
    let world = World::new().await;
    let (team, now) = (world.team().await.to_string(), OffsetDateTime::now_utc());
    let entries: serde_json::Map<String, Value> = (0..4_000)
        .map(|n| {
            let id = format!("snap_{n}");
            let entry = entry(&id, "offer", None, now);
            (id, entry)
        })
        .collect();
    let store = store(&Value::Object(entries));
    let arguments = ["snapshots", "import", store.path(), "--team-id", &team];
    let mut killed = world.program(&arguments).stdout(Stdio::null()).spawn().unwrap();
    crate::support::eventually("some rows", async || !world.snapshots().await.is_empty()).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let rest = world.run(&arguments).await;
    assert_eq!(rest.code, 0, "{}", rest.stderr);
    assert_eq!(world.snapshots().await.len(), 4_000);
}

#[tokio::test]
async fn unusable_files_and_absent_servers_change_nothing() {
    let world = World::new().await;
    let team = world.team().await.to_string();
    // A list is no store, not even one whose elements would pass for its fields.
    let list = r#"[{"id": "1", "type": "offer", "data": {}}]"#;
    for text in ["", "{", "[]", list, "{\"snapshot\": {}}", "{\"snapshots\": []}"] {
        let store = TempFile::new(text);
        let refused = world.run(&["snapshots", "import", store.path(), "--team-id", &team]).await;
        assert_eq!(refused.code, 1, "{text}: {refused:?}");
        assert!(refused.stderr.contains("is not a local snapshot store"), "{text}: {refused:?}");
        assert!(refused.stderr.contains(r#"{"snapshots": {OLD_ID: {"type""#), "it says the form: {refused:?}");
    }
    let empty = store(&json!({}));
    assert_eq!(world.run(&["snapshots", "import", empty.path(), "--team-id", &team]).await.code, 0);
    let nobody = world.run(&["snapshots", "import", empty.path(), "--team-id", &Uuid::new_v4().to_string()]).await;
    assert!(nobody.code == 1 && nobody.stderr.contains("there is no team"), "{nobody:?}");
    assert_eq!(world.run(&["snapshots", "import", "no such file", "--team-id", &team]).await.code, 1);
    let mut command = world.program(&["snapshots", "import", empty.path(), "--team-id", &team]);
    command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    assert_eq!(finish(command).code, 1);
    assert!(world.snapshots().await.is_empty());
}
