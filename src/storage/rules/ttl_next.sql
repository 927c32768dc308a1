-- The row that a batch of one would delete. The binds are those of ttl_doomed.sql.
WITH {{ttl_doomed.sql}}
SELECT id, expires_at
FROM doomed
