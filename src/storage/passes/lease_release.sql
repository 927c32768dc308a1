-- Releases a lease, and notes when the pass completed.
--
-- $1 name
-- $2 holder
-- $3 whether the pass completed
UPDATE snapshot_lifecycle.lease
SET expires_at = clock_timestamp(),
    completed_at = CASE WHEN $3 THEN clock_timestamp() ELSE completed_at END
WHERE name = $1 AND holder = $2
