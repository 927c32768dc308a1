-- The policy with the snapshots that each row applies to, `*` last. TTLs in seconds, a month counting 30 days.
WITH counted AS (
    SELECT COALESCE(r.snapshot_type, '*') AS snapshot_type, sum(s.n)::bigint AS n, sum(s.with_event)::bigint AS with_event
    FROM (
        SELECT snapshot_type, count(*) AS n, count(event_id) AS with_event
        FROM ONLY public.snapshots
        GROUP BY snapshot_type
    ) AS s
    LEFT JOIN snapshot_lifecycle.retention AS r ON r.snapshot_type = s.snapshot_type AND r.snapshot_type <> '*'
    GROUP BY 1
)
SELECT r.snapshot_type, extract(epoch FROM r.ttl)::bigint, r.keep_after_event, COALESCE(c.n, 0), COALESCE(c.with_event, 0)
FROM snapshot_lifecycle.retention AS r
LEFT JOIN counted AS c USING (snapshot_type)
ORDER BY r.snapshot_type = '*', r.snapshot_type
