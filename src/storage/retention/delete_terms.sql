-- What a delete in this transaction goes by: the policy, whether a trigger or rule of the backend may keep rows, whether an operator has
-- paused the end of events, and whether the delete would miss rows without an error. $1: the events, of which one may have been ended ahead of its time. Everything is qualified, because
-- it is asked under the backend's search path.
SELECT ARRAY(SELECT snapshot_type FROM snapshot_lifecycle.retention ORDER BY snapshot_type) AS types,
       ARRAY(SELECT keep_after_event FROM snapshot_lifecycle.retention ORDER BY snapshot_type) AS keep,
       EXISTS (
           SELECT FROM pg_catalog.pg_trigger
           WHERE tgrelid = 'public.snapshots'::pg_catalog.regclass::pg_catalog.oid
             AND tgenabled <> 'D' AND NOT tgisinternal
             AND tgtype & 11::int2 = 11::int2 /* BEFORE DELETE FOR EACH ROW */
       )
       OR EXISTS (
           SELECT FROM pg_catalog.pg_rewrite
           WHERE ev_class = 'public.snapshots'::pg_catalog.regclass::pg_catalog.oid AND ev_type = '4'
       ) AS may_keep,
       EXISTS (
           SELECT FROM snapshot_lifecycle.pause AS p WHERE p.what = 'consume'::text AND ({{../pause/pause_in_force.sql}})
       ) AS is_paused,
       pg_catalog.row_security_active('public.snapshots') AS bound,
       pg_catalog.now() AS now,
       EXISTS (SELECT FROM snapshot_lifecycle.applied_ahead WHERE event_id = ANY ($1)) AS applied_ahead,
       {{../schema/row_level_security_and_table_shape.sql}}
