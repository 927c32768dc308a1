-- The first rule: deletes the snapshots of events that have ended, and counts them by position of their end. The row of position 0 says
-- whether row-level security binds the role now.
--
-- A plain delete is faster than one with a row limit, because the limit needs the rows to be found first and deleted second. What it
-- cannot do is done in steps (event_steps_*.sql).
--
-- $1 to $3 the ends, as in event_ends.sql
-- $4, $5 the retention policy, as in event_end_rule.sql
WITH gone AS (
    DELETE FROM ONLY public.snapshots AS s
    USING {{event_ends.sql}}
    WHERE {{event_end_rule.sql}}
    RETURNING e.position
)
SELECT position, pg_catalog.count(*) AS rows
FROM gone
GROUP BY position
UNION ALL
SELECT 0, pg_catalog.row_security_active('public.snapshots')::int
