-- Counts, after the delete, the rows that a trigger or rule of the backend has kept, by position of their end. The binds are those of
-- event_end_delete.sql.
SELECT e.position, pg_catalog.count(*) AS rows
FROM {{event_ends.sql}}
JOIN ONLY public.snapshots AS s
  ON {{event_end_rule.sql}}
GROUP BY e.position
