-- The third rule: deletes the oldest snapshots of a team that has more than the cap. The binds are those of cap_doomed.sql.
WITH {{cap_doomed.sql}},
gone AS (
    DELETE FROM ONLY public.snapshots AS s
    USING doomed AS d
    WHERE s.ctid = d.place
      AND (s.team_id = $1) IS TRUE
      AND ((COALESCE(s.created_at, '-infinity'::timestamptz), s.id) < (SELECT age, id FROM oldest_kept)) IS TRUE
    RETURNING d.place
),
{{kept_rows.sql}},
last AS MATERIALIZED (
    SELECT age, id
    FROM doomed
    ORDER BY age DESC, id DESC
    LIMIT 1
)
SELECT (SELECT count(*) FROM doomed) AS found,
       (SELECT count(*) FROM gone) AS deleted,
       (SELECT count(*) FROM kept) AS kept,
       ARRAY(SELECT id FROM kept LIMIT 5) AS kept_ids,
       (SELECT age FROM last) AS last_age,
       (SELECT id FROM last) AS last_id
