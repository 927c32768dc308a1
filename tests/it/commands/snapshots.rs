//! `snapshots list` and `show`, through the binary.

use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{Snapshot, World};

#[tokio::test]
async fn list_shows_what_a_team_or_an_event_has() {
    let world = World::new().await;
    let (team, other, event) = (world.team().await, world.team().await, world.event().await);
    let mine = world.insert(&Snapshot::of(team).event(event)).await;
    world.insert(&Snapshot::of(team).kind("qna")).await;
    let theirs = world.insert(&Snapshot::of(other).event(event)).await;
    world.insert(&Snapshot::of(team).expires_at(OffsetDateTime::UNIX_EPOCH)).await;
    let (team, event) = (team.to_string(), event.to_string());
    let ids = |answer: &Value| {
        let mut ids: Vec<_> =
            answer.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let of_team = world.run(&["snapshots", "list", "--team-id", &team]).await;
    assert_eq!((of_team.code, of_team.json().as_array().unwrap().len()), (0, 2), "{of_team:?}");
    assert!(of_team.json()[0].get("data").is_none());
    let of_event = world.run(&["snapshots", "list", "--event-id", &event]).await.json();
    let mut both = [mine.to_string(), theirs.to_string()];
    both.sort();
    assert_eq!(ids(&of_event), both);
    let narrow = world.run(&["snapshots", "list", "--event-id", &event, "--team-id", &team]).await.json();
    assert_eq!(ids(&narrow), [mine.to_string()]);
    let typed = world.run(&["snapshots", "list", "--team-id", &team, "--type", "qna", "--output", "table"]).await;
    assert!(typed.stdout.contains("1 snapshot"), "{typed:?}");
    assert_eq!(world.run(&["snapshots", "list"]).await.code, 2);
    let gone = world.run(&["snapshots", "show", &Uuid::new_v4().to_string()]).await;
    assert!(gone.code == 1 && gone.stderr.contains("there is no snapshot"), "{gone:?}");
}
