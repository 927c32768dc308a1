-- Part of ttl_delete_batch.sql and ttl_next.sql, a CTE: the next expired rows, oldest expiry first, locked. Rows that another
-- transaction has locked are passed over.
--
-- $1 the cutoff: what expires up to then goes
-- $2 the instant from which on they are looked for; NULL: from the beginning
-- $3 ids of that instant that could not be deleted
-- $4 whether all of that instant is passed over
-- $5 how many at most
doomed AS MATERIALIZED (
    SELECT ctid AS place, id, expires_at
    FROM ONLY public.snapshots
    WHERE expires_at <= $1
      AND ($2::timestamptz IS NULL
           OR (expires_at >= $2 AND id <> ALL ($3::uuid[]) AND NOT ($4 AND expires_at = $2)))
    ORDER BY expires_at
    LIMIT $5
    FOR UPDATE SKIP LOCKED
)
