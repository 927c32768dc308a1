-- The snapshot $1 of the team $2 with its data, unless it is expired.
SELECT {{snapshot_columns.sql}},
       data
FROM public.snapshots AS s
WHERE id = $1 AND team_id = $2 AND s.expires_at > now()
