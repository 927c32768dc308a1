-- The rows that event_steps_delete.sql found and a trigger or rule of the backend has kept. The binds are its binds.
SELECT s.id
FROM {{event_ends.sql}}
JOIN ONLY public.snapshots AS s
  ON s.id = ANY ($6)
      AND ({{event_end_rule.sql}}) IS TRUE
