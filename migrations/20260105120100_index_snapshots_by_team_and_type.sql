-- no-transaction
-- The host lists a team's snapshots by type; built without a lock that would stop its writes.
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_snapshots_team_type ON public.snapshots (team_id, snapshot_type);
