//! What the adversary does: obstacles, hidden rows, hostile messages, clocks.

use proptest::prelude::prop_assert;
use proptest::test_runner::TestCaseError;
use time::{Duration, OffsetDateTime};

use super::scene::Scene;
use crate::support::{Obstacle, Policy, Random, Snapshot, body_of_team, eventually};

impl Scene {
    /// Puts an obstacle before one of the rows that should exist.
    pub(super) async fn obstruct(&mut self, row: usize, obstacle: Obstacle) {
        if let Some(row) = self.row(row) {
            self.world.obstruct(row.id, obstacle).await;
            self.obstructed.extend(row.event);
            self.kept |= obstacle == Obstacle::Keeps;
        }
    }

    pub(super) async fn hide(&mut self, policy: Policy) {
        // A worker that starts on hidden rows refuses to; here they are hidden under a running one.
        for worker in self.workers.iter().flatten() {
            eventually("the worker to consume", async || !worker.logged("consuming").is_empty()).await;
        }
        self.world.hide_rows(&self.role, policy).await;
        self.hidden = true;
    }

    pub(super) async fn show(&mut self) {
        if std::mem::take(&mut self.hidden) {
            self.world.show_rows(&self.role).await;
        }
    }

    pub(super) async fn hostile(&mut self, now: usize, event: usize, seed: u64) {
        let mut random = Random::of(seed);
        let no_message = format!("not json {now} {seed}").into_bytes();
        let body = body_of_team(self.events[event], None, "cancelled", self.at(now));
        self.world.publish_hostile(&[no_message.clone(), body.clone()], &mut random).await;
        self.invalid_json.insert(no_message);
        self.published.push((event, body));
        self.model.status(event, None, "cancelled", now);
    }

    /// Applied where it is within what clocks may differ by, and never to a snapshot that was made after that; else a dead letter.
    pub(super) async fn ahead(&mut self, event: usize, minutes: i64) -> Result<(), TestCaseError> {
        self.calm().await?;
        let now = OffsetDateTime::now_utc();
        let later = Snapshot::of(self.teams[0]).event(self.events[event]).created_at(now + Duration::minutes(3));
        let later = self.world.insert(&later).await;
        let body = body_of_team(self.events[event], None, "confirmed", now + Duration::minutes(minutes));
        self.world.publish_raw(&[body]).await;
        self.settle().await;
        prop_assert!(self.world.snapshots().await.contains(&later), "a snapshot made after the message was applied");
        self.world.sql(format!("DELETE FROM public.snapshots WHERE id = '{later}'")).await;
        if minutes > 5 {
            self.invalid_message += 1;
        } else {
            self.model.status(event, None, "confirmed", usize::MAX);
        }
        Ok(())
    }

    pub(super) async fn clock_steps(&self, minutes: i64) {
        self.world
            .sql(format!(
                r"
                    UPDATE snapshot_lifecycle.lease SET holder = gen_random_uuid(),
                        expires_at = clock_timestamp() + interval '{minutes} min',
                        completed_at = clock_timestamp() + interval '{minutes} min';
                    UPDATE snapshot_lifecycle.delete_budget SET free_at = clock_timestamp() + interval '{minutes} min'"
            ))
            .await;
    }
}
