-- Fleets with different exchanges publish each its own records; NULL is any fleet's, as before.
ALTER TABLE snapshot_lifecycle.outbox ADD COLUMN exchange TEXT;
