-- A row for each reason why public.snapshots is no table that the statements reach as a whole, and no further than the rules say; none
-- where there is no such table.
--
-- The statements say `FROM ONLY` and a row is known by its `id`: rows of a partition or a child would never be deleted, and where two rows
-- have one `id`, the wrong one could be named. Everything is qualified, because deleting transactions ask this too, under the backend's
-- search path.
SELECT shape.message, shape.fix, shape.is_of_its_kind
FROM (
    SELECT c.oid, c.relkind::pg_catalog.text AS kind
    FROM pg_catalog.pg_class AS c
    WHERE c.oid = pg_catalog.to_regclass('public.snapshots')::pg_catalog.oid
) AS s
CROSS JOIN LATERAL (
    SELECT 'it is partitioned' AS message, 'keep the snapshots in one table that is not partitioned' AS fix, true AS is_of_its_kind
    WHERE s.kind = 'p'
    UNION ALL
    SELECT 'it is not a table', 'give the view or foreign table another name', true
    WHERE s.kind NOT IN ('r', 'p')
    UNION ALL
    SELECT pg_catalog.format('it is itself a child or partition of %s', i.inhparent::pg_catalog.regclass),
           pg_catalog.format('as the owner: ALTER TABLE public.snapshots NO INHERIT %1$s, or ALTER TABLE %1$s DETACH PARTITION public.snapshots;', i.inhparent::pg_catalog.regclass),
           false
    FROM pg_catalog.pg_inherits AS i
    WHERE i.inhrelid = s.oid
    UNION ALL
    SELECT pg_catalog.format('%s inherits from it, and rows there would never be deleted', i.inhrelid::pg_catalog.regclass),
           pg_catalog.format('as the owner: ALTER TABLE %s NO INHERIT public.snapshots;', i.inhrelid::pg_catalog.regclass),
           false
    FROM pg_catalog.pg_inherits AS i
    WHERE i.inhparent = s.oid AND s.kind = 'r'
    UNION ALL
    SELECT 'id alone is not unique, so a delete may take rows of others with the same id',
           'as the owner: CREATE UNIQUE INDEX CONCURRENTLY ON public.snapshots (id);',
           false
    WHERE s.kind = 'r' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index AS i
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname = 'id'
        WHERE i.indrelid = s.oid AND i.indnkeyatts = 1 AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indislive
          AND i.indpred IS NULL
    )
) AS shape (message, fix, is_of_its_kind)
