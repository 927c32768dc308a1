-- Inserts snapshots of the team $1, but not those whose id exists already: $2 ids, $3 types, $4 events, $5 params, $6 data,
-- $7 created_at, $8 expires_at. Returns the ids inserted.
INSERT INTO public.snapshots (id, team_id, snapshot_type, event_id, params, data, created_at, expires_at)
SELECT id, $1, snapshot_type, event_id, params::jsonb, data::jsonb, created_at, expires_at
FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[])
    AS new (id, snapshot_type, event_id, params, data, created_at, expires_at)
ON CONFLICT (id) DO NOTHING
RETURNING id
