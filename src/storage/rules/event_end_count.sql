-- Counts the snapshots that an event's end names, by type: also those of types that are kept, because $4 and $5 are those of a policy
-- that keeps none. The binds are those of event_end_delete.sql.
SELECT s.snapshot_type::text AS snapshot_type, pg_catalog.count(*) AS rows
FROM {{event_ends.sql}}
JOIN ONLY public.snapshots AS s
  ON {{event_end_rule.sql}}
GROUP BY 1
ORDER BY 1
