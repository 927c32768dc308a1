-- The transactions that have read what is paused and are not over: each holds the lock that reading takes.
SELECT DISTINCT l.virtualtransaction
FROM pg_catalog.pg_locks AS l
WHERE l.relation = 'snapshot_lifecycle.pause'::regclass
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND l.pid <> pg_backend_pid()
