-- Lengthens a lease; no row where it is another's.
--
-- $1 name
-- $2 holder
-- $3 how long it lasts
UPDATE snapshot_lifecycle.lease
SET expires_at = clock_timestamp() + $3
WHERE name = $1 AND holder = $2
