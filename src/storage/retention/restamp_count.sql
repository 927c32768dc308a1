-- What a restamp with the TTL $2 would do to the rows of the type $1.
SELECT count(*) FILTER (WHERE created_at + $2::interval < expires_at) AS earlier,
       count(*) FILTER (WHERE created_at + $2::interval > expires_at) AS later,
       count(*) FILTER (WHERE created_at IS NOT NULL AND expires_at IS NULL) AS without_expires_at,
       count(*) FILTER (WHERE created_at + $2::interval <= now() AND (expires_at > now() OR expires_at IS NULL)) AS expired_at_once,
       count(*) FILTER (WHERE created_at IS NULL) AS without_created_at
FROM ONLY public.snapshots AS s
WHERE {{rows_of_type.sql}}
