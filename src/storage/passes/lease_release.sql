-- Releases a lease, and notes when the pass completed. Its end is -infinity, so that the next holder can tell a lease that was released
-- from one whose holder has died.
--
-- $1 name
-- $2 holder
-- $3 whether the pass completed
UPDATE snapshot_lifecycle.lease
SET expires_at = '-infinity',
    completed_at = CASE WHEN $3 THEN clock_timestamp() ELSE completed_at END
WHERE name = $1 AND holder = $2
