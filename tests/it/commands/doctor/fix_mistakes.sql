-- Fixes what make_mistakes.sql did, as doctor says, and makes the mistakes that do not show beside those.
CREATE INDEX idx_snapshots_event ON public.snapshots (event_id);
REINDEX INDEX public.idx_snapshots_team_newest; REINDEX INDEX public.backends_own;
ALTER TABLE public.snapshots RESET (autovacuum_enabled);
DROP TABLE public.favourites; DELETE FROM snapshot_lifecycle.outbox;
ALTER TABLE public.events DISABLE TRIGGER snapshot_lifecycle_outbox_update;
ALTER TABLE public.snapshots DISABLE ROW LEVEL SECURITY;
ALTER TABLE public.snapshots DISABLE TRIGGER snapshot_lifecycle_fill_expires_at;
