-- What `outbox install` has left, a row for each function and table; of a table that is gone the function alone is left. $1: the
-- version of the function's text.
SELECT i.schema::text, i.name::text, i.function, COALESCE(format('%I.%I', i.schema, i.name), '(unknown)') AS "table",
       COALESCE(i.says ->> 'id', '-') AS id, COALESCE(i.says ->> 'status', '-') AS status, i.says ->> 'team' AS team,
       i.says ->> 'exchange' AS exchange, i.on_insert, i.enabled, i.problem IS NOT NULL AS outdated, i.problem,
       COALESCE((i.says ->> 'version')::int, 1) < $1 AS is_older, COALESCE((i.says ->> 'on_insert')::bool, false) AS shall_on_insert
FROM (
    SELECT p.oid::regprocedure::text AS function, says, COALESCE(n.nspname, says ->> 'schema') AS schema, COALESCE(c.relname, says ->> 'table') AS name,
           fires.on_insert, fires.on_update AND fires.all_enabled AND (fires.on_insert OR NOT COALESCE((says ->> 'on_insert')::bool, false)) AS enabled,
           CASE
               WHEN c.oid IS NULL THEN 'its table was dropped or replaced, and nothing is recorded'
               WHEN COALESCE((says ->> 'version')::int, 1) < $1 THEN 'it was installed by an older version'
               WHEN p.proname <> 'record_status_of_' || c.oid AND (says ->> 'schema', says ->> 'table') IS DISTINCT FROM (n.nspname::text, c.relname::text)
                   THEN 'it was installed for another table, and nothing is recorded'
               WHEN EXISTS (SELECT FROM (VALUES ('id', 0), ('status', 1), ('team', 2)) AS k (what, at)
                            LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = says ->> k.what AND NOT a.attisdropped
                            WHERE says ->> k.what IS NOT NULL AND a.attnum IS NULL)
                   THEN 'columns were renamed or dropped; each change is looked up the slow way'
               WHEN EXISTS (SELECT FROM (VALUES ('id', 0), ('status', 1), ('team', 2)) AS k (what, at)
                            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = says ->> k.what AND NOT a.attisdropped
                            WHERE a.attnum <> (says -> 'numbers' ->> k.at)::int)
                   THEN 'the table was restored, with other column numbers; a column that is renamed would not be found'
               WHEN has_function_privilege('public', p.oid, 'EXECUTE')
                   THEN 'every role may execute its function, as after a restore without privileges'
           END AS problem
    FROM pg_catalog.pg_proc AS p
    CROSS JOIN LATERAL (SELECT COALESCE(obj_description(p.oid, 'pg_proc'), '{}')::jsonb) AS d (says)
    CROSS JOIN LATERAL (
        SELECT t.tgrelid, bool_or(t.tgtype & 4 <> 0) AS on_insert, bool_or(t.tgtype & 16 <> 0) AS on_update,
               bool_and(t.tgenabled::text IN ('O', 'A')) AS all_enabled
        FROM pg_catalog.pg_trigger AS t WHERE t.tgfoid = p.oid GROUP BY t.tgrelid
        UNION ALL
        SELECT NULL, false, false, false WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgfoid = p.oid)
    ) AS fires
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid = fires.tgrelid
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE p.pronamespace = to_regnamespace('snapshot_lifecycle') AND p.proname LIKE 'record\_status\_of\_%'
) AS i
ORDER BY i.schema, i.name
