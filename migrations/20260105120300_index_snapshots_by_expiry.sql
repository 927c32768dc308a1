-- no-transaction
-- The TTL sweep walks expired snapshots in this order, a batch at a time.
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_snapshots_expires ON public.snapshots (expires_at);
