-- applied_ahead::find: what was applied ahead of its time for the events $1.
SELECT a.event_id, a.team_id, a.occurred_at, a.applied_at
FROM snapshot_lifecycle.applied_ahead AS a
WHERE a.event_id = ANY ($1)
