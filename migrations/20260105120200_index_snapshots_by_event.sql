-- no-transaction
-- The end of an event finds its snapshots by this, and a delete on the host's events table would read every snapshot without it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_snapshots_event ON public.snapshots (event_id);
