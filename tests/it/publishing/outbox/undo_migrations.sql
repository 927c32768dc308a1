-- Brings the schema back to what it was before the migrations of November 2026.
ALTER TABLE public.events ADD COLUMN status TEXT, ADD COLUMN team_id UUID;
DELETE FROM snapshot_lifecycle.migrations WHERE version BETWEEN 20261125100000 AND 20261125100400;
DROP INDEX snapshot_lifecycle.outbox_event;
ALTER TABLE snapshot_lifecycle.outbox DROP COLUMN exchange, ALTER COLUMN occurred_at SET DEFAULT clock_timestamp();
GRANT EXECUTE ON FUNCTION snapshot_lifecycle.fill_expires_at TO PUBLIC;
ALTER FUNCTION snapshot_lifecycle.fill_expires_at SET search_path = '';
