-- The row that a batch of one would delete. The binds are those of cap_doomed.sql.
WITH {{cap_doomed.sql}}
SELECT id, age
FROM doomed
