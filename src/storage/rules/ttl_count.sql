-- Counts what a sweep would delete now, and since when the oldest of it is expired. It has no binds.
--
-- An expiry in a year that no calendar has counts as the first instant of the year 1.
SELECT count(*) AS rows,
       now() - GREATEST(COALESCE(min(expires_at), now()), '0001-01-01Z') AS oldest
FROM ONLY public.snapshots
WHERE expires_at <= now()
