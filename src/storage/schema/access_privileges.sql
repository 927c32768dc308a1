-- Privileges that the role lacks; deploy/sql/worker-role.sql grants them.
WITH need (relation, privilege) AS (
    VALUES ('public.snapshots', 'SELECT'),
           ('public.snapshots', 'DELETE'),
           ('snapshot_lifecycle.retention', 'SELECT'),
           ('snapshot_lifecycle.pause', 'SELECT'),
           ('snapshot_lifecycle.lease', 'SELECT'),
           ('snapshot_lifecycle.lease', 'INSERT'),
           ('snapshot_lifecycle.lease', 'UPDATE'),
           ('snapshot_lifecycle.applied_ahead', 'SELECT'),
           ('snapshot_lifecycle.applied_ahead', 'INSERT'),
           ('snapshot_lifecycle.applied_ahead', 'DELETE'),
           ('snapshot_lifecycle.outbox', 'SELECT'),
           ('snapshot_lifecycle.outbox', 'DELETE'),
           ('snapshot_lifecycle.delete_budget', 'SELECT'),
           ('snapshot_lifecycle.delete_budget', 'UPDATE')
)
SELECT format('it lacks %s on %s', privilege, relation)
FROM need
WHERE NOT has_table_privilege(relation, privilege)
UNION ALL
SELECT 'it lacks UPDATE on a column of public.snapshots, without which it may not lock rows'
WHERE NOT has_any_column_privilege('public.snapshots', 'UPDATE')
