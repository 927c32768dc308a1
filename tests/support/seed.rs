use super::World;

/// The SQL of the note that the project comes from, as somebody would have run it by hand.
pub const SEED: &str = include_str!("seed_table.sql");

pub const SEED_INDEXES: &str = r"
    CREATE INDEX idx_snapshots_team_type ON snapshots(team_id, snapshot_type);
    CREATE INDEX idx_snapshots_event ON snapshots(event_id);
    CREATE INDEX idx_snapshots_expires ON snapshots(expires_at);";

pub const SEED_POLICY: &str = r"
    ALTER TABLE snapshots ENABLE ROW LEVEL SECURITY;
    CREATE POLICY snapshots_team_isolation ON snapshots
        FOR ALL USING (team_id = current_setting('app.current_team_id')::uuid);";

impl World {
    /// Everything that can be said about the table of snapshots: columns, constraints, indexes, policies, triggers, row-level security.
    pub async fn schema(&self) -> Vec<String> {
        sqlx::query_scalar(include_str!("describe_snapshots.sql")).fetch_all(&self.pool).await.unwrap()
    }
}
