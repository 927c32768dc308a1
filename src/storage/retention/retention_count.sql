-- The snapshots that the policy's row for the type $1 applies to.
SELECT count(*) AS "all", count(event_id) AS with_event
FROM ONLY public.snapshots AS s
WHERE {{rows_of_type.sql}}
