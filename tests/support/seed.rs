use super::World;

/// The SQL of the note that the project comes from, as somebody would have run it by hand.
pub const SEED: &str = "
    CREATE TABLE snapshots (
        id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        team_id UUID NOT NULL REFERENCES teams(id),
        snapshot_type TEXT NOT NULL,
        event_id UUID REFERENCES events(id),
        params JSONB DEFAULT '{}',
        data JSONB NOT NULL,
        created_at TIMESTAMPTZ DEFAULT NOW(),
        expires_at TIMESTAMPTZ NOT NULL
    );";

pub const SEED_INDEXES: &str = "
    CREATE INDEX idx_snapshots_team_type ON snapshots(team_id, snapshot_type);
    CREATE INDEX idx_snapshots_event ON snapshots(event_id);
    CREATE INDEX idx_snapshots_expires ON snapshots(expires_at);";

pub const SEED_POLICY: &str = "
    ALTER TABLE snapshots ENABLE ROW LEVEL SECURITY;
    CREATE POLICY snapshots_team_isolation ON snapshots
        FOR ALL USING (team_id = current_setting('app.current_team_id')::uuid);";

impl World {
    /// Everything that can be said about the table of snapshots: columns, constraints, indexes, policies, triggers, row-level security.
    pub async fn schema(&self) -> Vec<String> {
        sqlx::query_scalar(
            r"
            SELECT format('column %s %s %s %s', column_name, data_type, is_nullable, column_default) FROM information_schema.columns
                WHERE table_schema = 'public' AND table_name = 'snapshots'
            UNION ALL SELECT format('constraint %s', pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid = 'public.snapshots'::regclass
            UNION ALL SELECT format('index %s %s', indexdef, indisvalid) FROM pg_indexes JOIN pg_index ON indexrelid = to_regclass(indexname) WHERE tablename = 'snapshots'
            UNION ALL SELECT format('policy %s %s %s %s', policyname, cmd, roles, qual) FROM pg_policies WHERE tablename = 'snapshots'
            UNION ALL SELECT format('trigger %s', pg_get_triggerdef(oid)) FROM pg_trigger WHERE tgrelid = 'public.snapshots'::regclass AND NOT tgisinternal
            UNION ALL SELECT format('row security %s %s', relrowsecurity, relforcerowsecurity) FROM pg_class WHERE oid = 'public.snapshots'::regclass
            ORDER BY 1
            ",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }
}
