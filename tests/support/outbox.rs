use std::collections::BTreeMap;

use lapin::options::BasicGetOptions;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Worker, World, eventually};

impl World {
    /// Gives the backend's events a status and a team, and installs the trigger on them.
    pub async fn install_outbox(&self) {
        self.install_outbox_with(&[]).await;
    }

    /// The same with more arguments.
    pub async fn install_outbox_with(&self, arguments: &[&str]) {
        self.sql(
            "ALTER TABLE public.events ADD COLUMN IF NOT EXISTS status TEXT, ADD COLUMN IF NOT EXISTS team_id UUID",
        )
        .await;
        let install = ["outbox", "install", "--table", "events", "--team-column", "team_id"];
        let install = self.run(&[&install, arguments].concat()).await;
        assert_eq!(install.code, 0, "{install:?}");
    }

    pub async fn set_status(&self, event: Uuid, status: &str) {
        self.sql(format!("UPDATE public.events SET status = '{status}' WHERE id = '{event}'")).await;
    }

    /// Records that are not published yet.
    pub async fn outbox_records(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM snapshot_lifecycle.outbox").fetch_one(&self.pool).await.unwrap()
    }

    /// Declares a second queue that gets a copy of every message.
    pub async fn copy_messages(&self) -> String {
        self.own_queue(&self.exchange, &["#"]).await
    }

    /// Who holds the lease of the outbox, and until when, once it is no longer the one that ends then.
    pub async fn outbox_lease_after(&self, ended: Option<OffsetDateTime>) -> (Uuid, OffsetDateTime) {
        let lease = "SELECT holder, expires_at FROM snapshot_lifecycle.lease WHERE name LIKE 'outbox%' AND expires_at IS DISTINCT FROM $1";
        let mut found = None;
        eventually("the outbox's lease to be given", async || {
            found = sqlx::query_as(lease).bind(ended).fetch_optional(&self.pool).await.unwrap();
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Takes all status messages out of a queue: the statuses of each event in the order of arrival, and the message ids.
    pub async fn take_statuses(&self, queue: &str) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
        let (connection, channel) = self.channel().await;
        let (mut statuses, mut ids) = (BTreeMap::<String, Vec<String>>::new(), Vec::new());
        while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap() {
            let body: Value = serde_json::from_slice(&got.delivery.data).unwrap();
            let text = |name: &str| body[name].as_str().unwrap().to_owned();
            statuses.entry(text("event_id")).or_default().push(text("status"));
            ids.push(text("message_id"));
        }
        connection.close(200, "done".into()).await.ok();
        (statuses, ids)
    }
}

impl Worker {
    /// How many records of the outbox it has published.
    pub fn published(&self) -> f64 {
        self.metric("outbox_messages_total{outcome=\"published\"}")
    }
}
