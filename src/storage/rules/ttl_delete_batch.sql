-- The second rule: deletes the next snapshots whose expires_at is not after the cutoff, oldest expiry first.
--
-- The binds are those of ttl_doomed.sql. `last` is the instant that the batch came to, `kept_at_last` what it could not delete of it.
WITH {{ttl_doomed.sql}},
gone AS (
    DELETE FROM ONLY public.snapshots AS s
    USING doomed AS d
    WHERE s.ctid = d.place AND (s.expires_at <= $1) IS TRUE
    RETURNING d.place
),
{{kept_rows.sql}}
SELECT (SELECT count(*) FROM doomed) AS found,
       (SELECT count(*) FROM gone) AS deleted,
       (SELECT count(*) FROM kept) AS kept,
       ARRAY(SELECT id FROM kept LIMIT 5) AS kept_ids,
       (SELECT max(expires_at) FROM doomed) AS last,
       ARRAY(SELECT id FROM kept WHERE expires_at = (SELECT max(expires_at) FROM doomed)) AS kept_at_last
