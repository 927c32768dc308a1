-- What the gauges show, read by an index-only scan over what is expired. It has no binds.
--
-- An expiry in a year that no calendar has counts as the first instant of the year 1.
SELECT count(*) AS expired,
       now() - GREATEST(COALESCE(min(expires_at), now()), '0001-01-01Z') AS oldest_expired,
       (SELECT completed_at FROM snapshot_lifecycle.lease WHERE name = 'ttl') AS last_ttl_pass,
       (SELECT completed_at FROM snapshot_lifecycle.lease WHERE name = 'cap') AS last_cap_pass
FROM ONLY public.snapshots
WHERE expires_at <= now()
