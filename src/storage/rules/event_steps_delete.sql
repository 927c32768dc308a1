-- Deletes some of the rows that an event's end names, and says whether row-level security binds the role now. The rule is asked again of
-- each row, as `(...) IS TRUE`, which no index serves: so only `id` decides how they are found, whatever the statistics say.
--
-- $1 to $5 the end, as in event_end_delete.sql
-- $6 their ids
WITH gone AS (
    DELETE FROM ONLY public.snapshots AS s
    USING {{event_ends.sql}}
    WHERE s.id = ANY ($6)
      AND ({{event_end_rule.sql}}) IS TRUE
    RETURNING s.id
)
SELECT ARRAY(SELECT id FROM gone) AS ids,
       pg_catalog.row_security_active('public.snapshots') AS is_bound
