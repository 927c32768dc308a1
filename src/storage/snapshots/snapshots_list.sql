-- Snapshots that are not expired, the newest first, at most $6.
--
-- $1 the team, $2 the event, $3 the type; NULL is any. $4 and $5 the id and created_at of the last row of the page before, or NULL: where
-- that row still exists, its place is looked up, because what was shown of it may be less exact.
SELECT {{snapshot_columns.sql}}
FROM public.snapshots AS s
WHERE s.expires_at > now()
  AND ($1::uuid IS NULL OR team_id = $1)
  AND ($2::uuid IS NULL OR event_id = $2)
  AND ($3::text IS NULL OR snapshot_type::text = $3)
  AND ($4::uuid IS NULL
       OR (COALESCE(s.created_at, '-infinity'), id) < (
           COALESCE(
               (SELECT COALESCE(last.created_at, '-infinity') FROM public.snapshots AS last WHERE last.id = $4),
               $5::timestamptz,
               '-infinity'
           ),
           $4
       ))
ORDER BY COALESCE(s.created_at, '-infinity') DESC, id DESC
LIMIT $6
