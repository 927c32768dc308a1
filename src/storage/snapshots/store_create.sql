-- Creates a snapshot: $1 team, $2 type, $3 event, $4 params, $5 data, $6 expires_at (NULL for the type's TTL, by a trigger).
INSERT INTO public.snapshots (team_id, snapshot_type, event_id, params, data, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING {{snapshot_columns.sql}}
