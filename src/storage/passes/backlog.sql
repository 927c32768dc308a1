-- What the gauges show, read by an index-only scan over what is expired. 
--
-- $1 the names of the passes, in the order of the answer
--
-- An expiry in a year that no calendar has counts as the first instant of the year 1.
SELECT count(*) AS expired,
       now() - GREATEST(COALESCE(min(expires_at), now()), '0001-01-01Z') AS oldest_expired,
       ARRAY(SELECT l.completed_at
             FROM unnest($1::text[]) WITH ORDINALITY AS p (name, place)
             LEFT JOIN snapshot_lifecycle.lease AS l ON l.name = p.name
             ORDER BY p.place) AS last_passes
FROM ONLY public.snapshots
WHERE expires_at <= now()
