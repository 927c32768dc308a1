-- Foreign keys that refer to public.snapshots, and their columns where no whole, valid index begins with them.
SELECT format('%I.%I', n.nspname, c.relname) AS "table",
       k.confdeltype::text IN ('a', 'r') AS blocks,
       k.confdeltype::text = 'c' AS cascades,
       CASE
           WHEN NOT EXISTS (
               SELECT FROM pg_catalog.pg_index AS i
               WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
                 AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey
           )
           THEN (
               SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY u.n)
               FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, n)
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
           )
       END AS columns_without_index
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.confrelid = to_regclass('public.snapshots')
ORDER BY 1
