use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{Snapshot, World};

/// What a trigger of the backend may raise: an exception, and what looks like an outage, a conflict, a timeout.
const RAISES: [&str; 9] = ["P0001", "08006", "40001", "40P01", "53100", "57014", "57P01", "58030", "XX000"];

impl World {
    /// Makes the type of a row decide whether it can be deleted: an `offer` can, a `viewed` row is referred to, and for the others see
    /// the trigger.
    pub async fn guard_rows(&self) {
        self.sql(include_str!("guard_rows.sql")).await;
    }

    /// Rows in the order of their age, each of the given type, all expired.
    pub async fn insert_guarded(&self, team: Uuid, kinds: &[&'static str]) -> Vec<Uuid> {
        let mut ids = Vec::new();
        for (n, kind) in (0..).zip(kinds) {
            let at = OffsetDateTime::UNIX_EPOCH + Duration::seconds(n);
            let id = self.insert(&Snapshot::of(team).kind(kind).created_at(at).expires_at(at)).await;
            if *kind == "viewed" {
                self.sql(format!("INSERT INTO public.page_views VALUES ('{id}')")).await;
            }
            ids.push(id);
        }
        ids
    }
}

/// Each type that cannot be deleted, between types that can.
pub fn guarded_types() -> Vec<&'static str> {
    RAISES.into_iter().chain(["viewed", "contract"]).flat_map(|kind| ["offer", kind, "offer", "offer"]).collect()
}
