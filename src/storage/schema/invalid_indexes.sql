-- Indexes of public.snapshots that are not valid and are named in the text $1, and whether somebody is building them. Who may not see what
-- another role builds still sees that it builds, and the lock on the table.
SELECT format('%I.%I', n.nspname, c.relname) AS name,
       EXISTS (
           SELECT FROM pg_catalog.pg_stat_progress_create_index AS p
           JOIN pg_catalog.pg_locks AS l ON l.pid = p.pid
           WHERE l.relation = i.indrelid AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
       ) AS is_under_construction
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE i.indrelid = to_regclass('public.snapshots') AND NOT i.indisvalid AND position(c.relname || ' ' IN $1) > 0
