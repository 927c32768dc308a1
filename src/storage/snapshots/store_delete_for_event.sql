-- Deletes the snapshots of the event $1 and the team $2 that were created at or before $3 and do not outlive their event: $4 the types
-- that differ from the default, $5 the default. By the team's own role, so row-level security may bind it.
DELETE FROM public.snapshots
WHERE event_id = $1 AND team_id = $2 AND created_at <= $3 AND (snapshot_type::text = ANY ($4)) = $5
