-- The snapshot $1 with its data, whosever it is, expired or not.
SELECT {{snapshot_columns.sql}},
       data
FROM public.snapshots
WHERE id = $1
