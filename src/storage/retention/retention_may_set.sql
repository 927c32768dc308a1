-- Whether the role may change the policy and, if $1, restamp rows.
SELECT has_table_privilege('snapshot_lifecycle.retention', 'INSERT')
   AND has_table_privilege('snapshot_lifecycle.retention', 'UPDATE')
   AND (NOT $1 OR has_column_privilege('public.snapshots', 'expires_at', 'UPDATE'))
