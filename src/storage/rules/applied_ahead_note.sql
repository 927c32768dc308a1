-- applied_ahead::note: remembers the ends of $1, $2, $3 (event, team, occurred_at) whose time has not come yet.
-- A duplicate that another transaction is applying is waited for, so that the first of two replicas is the first.
-- Sorted, so that two replicas with the same messages do not wait for each other.
INSERT INTO snapshot_lifecycle.applied_ahead (event_id, team_id, occurred_at, applied_at)
SELECT DISTINCT e.event_id, e.team_id, e.occurred_at, pg_catalog.now()
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS e (event_id, team_id, occurred_at)
WHERE e.occurred_at > pg_catalog.now()
ORDER BY e.event_id, e.team_id, e.occurred_at
ON CONFLICT (event_id, team_id, occurred_at) DO NOTHING
