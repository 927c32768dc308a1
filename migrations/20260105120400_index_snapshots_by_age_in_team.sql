-- no-transaction
-- The cap finds a team's newest snapshots and the oldest above them in exactly this order: a NULL created_at counts as oldest, id breaks ties.
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_snapshots_team_newest ON public.snapshots (team_id, COALESCE(created_at, '-infinity'::timestamptz) DESC, id DESC);
