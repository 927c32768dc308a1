-- Whether autovacuum may work on public.snapshots, its dead rows, from how many on it does, and since when it was last vacuumed.
SELECT COALESCE((p.own ->> 'autovacuum_enabled')::bool, true),
       COALESCE(s.n_dead_tup, 0),
       (COALESCE(p.own ->> 'autovacuum_vacuum_threshold', current_setting('autovacuum_vacuum_threshold'))::float8
        + COALESCE(p.own ->> 'autovacuum_vacuum_scale_factor', current_setting('autovacuum_vacuum_scale_factor'))::float8
          * GREATEST(c.reltuples, 0))::bigint,
       clock_timestamp() - GREATEST(s.last_vacuum, s.last_autovacuum)
FROM pg_catalog.pg_class AS c
LEFT JOIN pg_catalog.pg_stat_all_tables AS s ON s.relid = c.oid
CROSS JOIN LATERAL (
    SELECT COALESCE(jsonb_object_agg(option_name, option_value), '{}') FROM pg_options_to_table(c.reloptions)
) AS p (own)
WHERE c.oid = to_regclass('public.snapshots')
