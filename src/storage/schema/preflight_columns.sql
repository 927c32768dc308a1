-- Columns that public.snapshots lacks, or has with another type; VARCHAR will do for TEXT. `add` is for those that can be added.
SELECT c.name || ' ' || c.type AS name,
       CASE WHEN a.attname IS NULL THEN format('ADD COLUMN %s %s', c.name, c.definition) END AS add
FROM (
    VALUES ('id', 'uuid', 'uuid DEFAULT gen_random_uuid() PRIMARY KEY'),
           ('team_id', 'uuid', 'uuid REFERENCES public.teams (id)'),
           ('snapshot_type', 'text', 'text'),
           ('event_id', 'uuid', 'uuid REFERENCES public.events (id)'),
           ('params', 'jsonb', 'jsonb DEFAULT ''{}'''),
           ('data', 'jsonb', 'jsonb'),
           ('created_at', 'timestamp with time zone', 'timestamptz DEFAULT now()'),
           ('expires_at', 'timestamp with time zone', 'timestamptz')
) AS c (name, type, definition)
LEFT JOIN pg_catalog.pg_attribute AS a
    ON a.attrelid = to_regclass('public.snapshots') AND a.attname = c.name AND NOT a.attisdropped
WHERE a.attname IS NULL
   OR format_type(a.atttypid, NULL) NOT IN (c.type, CASE c.type WHEN 'text' THEN 'character varying' ELSE c.type END)
