-- Part of cap_evict_batch.sql and cap_next.sql, CTEs: the newest rows of a team up to the cap are locked against deletion; only where
-- all of them are, `doomed` is the next rows that are older than the oldest of them, locked.
--
-- SKIP LOCKED: a row that is being deleted right now counts as gone. A row without created_at counts as the oldest.
--
-- $1 team
-- $2 the cap
-- $3 how many rows at most
-- $4, $5 age and id of the last row of the batch before; NULL: from the beginning
newest AS MATERIALIZED (
    SELECT COALESCE(created_at, '-infinity'::timestamptz) AS age, id
    FROM ONLY public.snapshots
    WHERE team_id = $1
    ORDER BY COALESCE(created_at, '-infinity'::timestamptz) DESC, id DESC
    LIMIT $2
    FOR KEY SHARE SKIP LOCKED
),
oldest_kept AS MATERIALIZED (
    SELECT age, id
    FROM newest
    WHERE (SELECT count(*) FROM newest) = $2
    ORDER BY age, id
    LIMIT 1
),
doomed AS MATERIALIZED (
    SELECT s.ctid AS place, COALESCE(s.created_at, '-infinity'::timestamptz) AS age, s.id
    FROM oldest_kept AS k, ONLY public.snapshots AS s
    WHERE s.team_id = $1
      AND (COALESCE(s.created_at, '-infinity'::timestamptz), s.id) < (k.age, k.id)
      AND ($4::timestamptz IS NULL OR (COALESCE(s.created_at, '-infinity'::timestamptz), s.id) > ($4, $5::uuid))
    ORDER BY COALESCE(s.created_at, '-infinity'::timestamptz), s.id
    LIMIT $3
    FOR UPDATE OF s SKIP LOCKED
)
