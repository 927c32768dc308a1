-- The next teams in the order of their ids, and which of them have more snapshots than the cap.
--
-- Walks the distinct team ids of the index (a loose index scan) and reads cap + 1 index entries of each. It does not read `teams`, to
-- which the worker needs no access.
--
-- $1 the cap
-- $2 the last team of the page before; NULL: from the beginning
-- $3 how many teams
WITH RECURSIVE team (id, number) AS (
    (SELECT team_id, 1
     FROM ONLY public.snapshots
     WHERE $2::uuid IS NULL OR team_id > $2
     ORDER BY team_id
     LIMIT 1)
    UNION ALL
    SELECT (SELECT s.team_id FROM ONLY public.snapshots AS s WHERE s.team_id > team.id ORDER BY s.team_id LIMIT 1),
           number + 1
    FROM team
    WHERE team.id IS NOT NULL AND number < $3
)
SELECT team.id,
       EXISTS (
           SELECT FROM ONLY public.snapshots AS s
           WHERE s.team_id = team.id
           ORDER BY COALESCE(s.created_at, '-infinity'::timestamptz) DESC, s.id DESC
           OFFSET $1 LIMIT 1) AS is_overfull
FROM team
WHERE team.id IS NOT NULL
ORDER BY team.id
