-- Examines the table ($1 schema, $2 name) and its columns ($3 id, $4 status, $5 team or NULL); answers with what is wrong, or
-- with the statements that make the trigger. $6: inserts are recorded too. $7: the exchange to publish to, NULL is any worker's. $8: the
-- version of this text.
WITH found AS (
    SELECT c.oid, c.relkind::text AS kind, c.relispartition AS is_partition,
           id.attnum AS id_number, format_type(id.atttypid, NULL) AS id_type,
           status.attnum AS status_number, format_type(status.atttypid, NULL) AS status_type,
           -- A domain has the category of what it is a domain over.
           (SELECT y.typcategory::text IN ('S', 'E') FROM pg_catalog.pg_type AS y WHERE y.oid = status.atttypid) AS status_fits,
           team.attnum AS team_number, format_type(team.atttypid, NULL) AS team_type,
           EXISTS (SELECT FROM pg_catalog.pg_index AS x
                   WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid AND x.indpred IS NULL
                     AND x.indnkeyatts = 1 AND x.indkey[0] = id.attnum) AS id_is_unique
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute AS id ON id.attrelid = c.oid AND id.attname = $3 AND id.attnum > 0 AND NOT id.attisdropped
    LEFT JOIN pg_catalog.pg_attribute AS status ON status.attrelid = c.oid AND status.attname = $4 AND status.attnum > 0 AND NOT status.attisdropped
    LEFT JOIN pg_catalog.pg_attribute AS team ON team.attrelid = c.oid AND team.attname = $5 AND team.attnum > 0 AND NOT team.attisdropped
    WHERE n.nspname = $1 AND c.relname = $2
),
-- An older installation goes first, with its triggers: its function may have another name (the table was restored or made again),
-- and to drop only a trigger one must own the table.
old AS (
    SELECT COALESCE(string_agg(DISTINCT format('DROP FUNCTION %s CASCADE;', p.oid::regprocedure), ' '), '') AS drops
    FROM pg_catalog.pg_proc AS p LEFT JOIN pg_catalog.pg_trigger AS t ON t.tgfoid = p.oid
    WHERE p.pronamespace = to_regnamespace('snapshot_lifecycle') AND p.proname LIKE 'record\_status\_of\_%'
      AND (t.tgrelid = (SELECT oid FROM found) OR p.proname = 'record_status_of_' || (SELECT oid FROM found)
           OR (t.oid IS NULL AND (obj_description(p.oid, 'pg_proc')::json ->> 'schema', obj_description(p.oid, 'pg_proc')::json ->> 'table') = ($1, $2)))
)
SELECT CASE
           WHEN f.oid IS NULL THEN format('there is no table %s.%s', $1, $2)
           WHEN f.kind = 'p' OR f.is_partition THEN format('%s.%s is partitioned: a row that moves to another partition cannot be told from a new one, and its status would be published again; publish from the backend instead', $1, $2)
           WHEN f.kind <> 'r' THEN format('%s.%s is no table', $1, $2)
           WHEN f.id_type IS NULL THEN format('%s.%s has no column %s; --id-column names it', $1, $2, $3)
           WHEN f.id_type <> 'uuid' THEN format('column %s is of type %s; event ids are uuid', $3, f.id_type)
           WHEN f.status_type IS NULL THEN format('%s.%s has no column %s; --status-column names it', $1, $2, $4)
           WHEN NOT f.status_fits THEN format('column %s is of type %s; a status is a text or an enumeration', $4, f.status_type)
           WHEN $5 IS NOT NULL AND f.team_type IS NULL THEN format('%s.%s has no column %s; --team-column names it', $1, $2, $5)
           WHEN $5 IS NOT NULL AND f.team_type <> 'uuid' THEN format('column %s is of type %s; team ids are uuid', $5, f.team_type)
           WHEN $5 IS NULL AND NOT f.id_is_unique THEN format('column %s of %s.%s has no unique index of its own: whoever may write a row could end an event of another team; --team-column limits each record to the team of its row', $3, $1, $2)
       END AS problem,
       (SELECT drops FROM old) || format($statements$
CREATE FUNCTION snapshot_lifecycle.%1$I() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %2$L;
REVOKE ALL ON FUNCTION snapshot_lifecycle.%1$I() FROM PUBLIC;
COMMENT ON FUNCTION snapshot_lifecycle.%1$I() IS %3$L;
CREATE TRIGGER snapshot_lifecycle_outbox_update AFTER UPDATE ON %4$I.%5$I
    FOR EACH ROW WHEN (NEW.%6$I IS DISTINCT FROM OLD.%6$I) EXECUTE FUNCTION snapshot_lifecycle.%1$I();
$statements$,
           'record_status_of_' || COALESCE(f.oid, 0),
           format($body$
{{outbox_trigger_function.sql}}
$body$,
               COALESCE(f.oid, 0), $1, $2, $3, $4, CASE WHEN $5 IS NULL THEN 'NULL' ELSE format('NEW.%I', $5) END,
               f.id_number, f.status_number, COALESCE(f.team_number, 0), $7::text),
           json_build_object('version', $8::int, 'schema', $1, 'table', $2, 'id', $3, 'status', $4, 'team', $5::text,
                             'numbers', json_build_array(f.id_number, f.status_number, f.team_number),
                             'on_insert', $6::bool, 'exchange', $7::text)::text,
           $1, $2, $4)
       || CASE WHEN $6 THEN format($statements$
CREATE TRIGGER snapshot_lifecycle_outbox_insert AFTER INSERT ON %2$I.%3$I
    FOR EACH ROW WHEN (NEW.%4$I IS NOT NULL) EXECUTE FUNCTION snapshot_lifecycle.%1$I();
$statements$, 'record_status_of_' || f.oid, $1, $2, $4) ELSE '' END AS statements
FROM (VALUES (1)) AS one LEFT JOIN found AS f ON true
