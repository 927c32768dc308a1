-- Pauses, and never makes a pause that is in force end sooner: of two operators who pause, the one who needs longer is safe. Its beginning
-- stays where it is in force, and is now where it was over.
--
-- $1 what
-- $2 for how long; NULL: until it is resumed
-- $3 who, as the operating system knows them
INSERT INTO snapshot_lifecycle.pause AS p (what, since, until, by_role, by_user)
SELECT what, clock_timestamp(), clock_timestamp() + $2::interval, session_user, $3::text
FROM unnest($1::text[]) AS paused (what)
ON CONFLICT (what) DO UPDATE
SET since = CASE WHEN {{pause_in_force.sql}} THEN p.since ELSE excluded.since END,
    until = excluded.until,
    by_role = excluded.by_role,
    by_user = excluded.by_user
WHERE COALESCE(p.until, 'infinity') < COALESCE(excluded.until, 'infinity')
