-- Of the names $1 those that no table, function or trigger has. Triggers are named without a schema.
SELECT name
FROM unnest($1::text[]) AS made (name)
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE format('%s.%s', n.nspname, c.relname) = made.name
    UNION ALL
    SELECT FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE format('%s.%s', n.nspname, p.proname) = made.name
    UNION ALL
    SELECT FROM pg_catalog.pg_trigger AS t
    WHERE t.tgname = made.name
)
