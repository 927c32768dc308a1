-- What protects public.snapshots from the backend's own writers, and its rows from a delete.
SELECT c.relrowsecurity AS isolated,
       row_security_active(c.oid) AS binds_role,
       EXISTS (
           SELECT FROM pg_catalog.pg_trigger AS t
           WHERE t.tgrelid = c.oid AND t.tgname = 'snapshot_lifecycle_fill_expires_at' AND t.tgenabled::text IN ('O', 'A')
       ) AS fills_expiry,
       NOT EXISTS (
           SELECT FROM pg_catalog.pg_attribute AS a
           WHERE a.attrelid = c.oid AND a.attname = 'expires_at' AND a.attnotnull
       ) AS expiry_may_be_missing,
       EXISTS (
           SELECT FROM pg_catalog.pg_publication_tables AS t
           JOIN pg_catalog.pg_publication AS p ON p.pubname = t.pubname
           WHERE t.schemaname = 'public' AND t.tablename = 'snapshots' AND p.pubdelete
       )
       AND CASE c.relreplident
           WHEN 'f' THEN false
           WHEN 'n' THEN true
           WHEN 'd' THEN NOT EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)
           ELSE NOT EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisreplident)
       END AS published_without_identity
FROM pg_catalog.pg_class AS c
WHERE c.oid = 'public.snapshots'::regclass
