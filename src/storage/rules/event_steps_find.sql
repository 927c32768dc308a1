-- Finds ids of the rows that an event's end deletes, and until when a row must have been made to be one.
--
-- $1 to $5 the end, as in event_end_delete.sql
-- $6 ids to leave out
-- $7 how many
SELECT ARRAY(
           SELECT s.id
           FROM ONLY public.snapshots AS s
           WHERE {{event_end_rule.sql}}
             AND s.id <> ALL ($6)
           LIMIT $7) AS ids,
       LEAST(e.occurred_at, pg_catalog.now()) AS cutoff
FROM {{event_ends.sql}}
