-- Database::applied_ahead_forget: deletes at most $1 entries whose time has come and of whose events no snapshot is left that was made
-- between the two times. A duplicate takes nothing then that it should not. The hour is for snapshots that are not committed yet.
WITH forgotten AS (
    SELECT a.event_id, a.team_id, a.occurred_at
    FROM snapshot_lifecycle.applied_ahead AS a
    WHERE a.occurred_at < now() - interval '1 hour'
      AND NOT EXISTS (
          SELECT FROM ONLY public.snapshots AS s
          WHERE s.event_id = a.event_id AND s.created_at > a.applied_at AND s.created_at <= a.occurred_at
      )
    LIMIT $1
)
DELETE FROM snapshot_lifecycle.applied_ahead AS a
USING forgotten AS f
WHERE a.event_id = f.event_id AND a.team_id IS NOT DISTINCT FROM f.team_id AND a.occurred_at = f.occurred_at
