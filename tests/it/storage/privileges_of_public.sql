-- What every role of the server may do with the objects of the schema, and functions that run as their owner unprotected.
SELECT format('%s on %s', r, n.nspname) FROM pg_namespace AS n, unnest(ARRAY['USAGE', 'CREATE']) AS r
    WHERE n.nspname = 'snapshot_lifecycle' AND has_schema_privilege('public', n.oid, r)
UNION ALL SELECT format('EXECUTE on %s', p.oid::regprocedure) FROM pg_proc AS p
    WHERE p.pronamespace = 'snapshot_lifecycle'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')
UNION ALL SELECT format('%s on %s', r, c.oid::regclass) FROM pg_class AS c,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS r
    WHERE c.relnamespace = 'snapshot_lifecycle'::regnamespace AND c.relkind = 'r' AND has_table_privilege('public', c.oid, r)
UNION ALL SELECT format('a column of %s', c.oid::regclass) FROM pg_class AS c
    WHERE c.relnamespace = 'snapshot_lifecycle'::regnamespace AND c.relkind = 'r'
      AND has_any_column_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
UNION ALL SELECT format('%s on %s', r, c.oid::regclass) FROM pg_class AS c, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS r
    WHERE c.relnamespace = 'snapshot_lifecycle'::regnamespace AND c.relkind = 'S' AND has_sequence_privilege('public', c.oid, r)
UNION ALL SELECT format('%s runs as its owner under the search path %s', p.oid::regprocedure, p.proconfig) FROM pg_proc AS p
    WHERE p.pronamespace = 'snapshot_lifecycle'::regnamespace AND p.prosecdef
      AND p.proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']
