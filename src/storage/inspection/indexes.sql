-- The indexes of public.snapshots; none where there is no such table.
SELECT format('%I.%I', n.nspname, c.relname) AS name,
       pg_get_indexdef(c.oid) AS definition,
       i.indisvalid AND i.indisready AND i.indislive AS valid,
       i.indpred IS NULL AS whole
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE i.indrelid = to_regclass('public.snapshots')
ORDER BY 1
