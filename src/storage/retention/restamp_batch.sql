-- Gives the next $4 rows of the type $1 behind the id $3, whose expires_at is not created_at + $2, that value.
WITH page AS MATERIALIZED (
    SELECT s.id
    FROM ONLY public.snapshots AS s
    WHERE ($3::uuid IS NULL OR s.id > $3) AND {{restamp_stale.sql}}
    ORDER BY s.id
    LIMIT $4
    FOR NO KEY UPDATE
),
changed AS (
    UPDATE ONLY public.snapshots AS s
    SET expires_at = s.created_at + $2::interval
    FROM page
    WHERE s.id = page.id AND {{restamp_stale.sql}}
    RETURNING 1
)
SELECT (SELECT count(*) FROM changed) AS changed,
       (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last
