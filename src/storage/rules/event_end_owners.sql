-- For ends that name a team without snapshots of the event: the teams whose snapshots the end would delete, had it named them. The binds
-- are those of event_end_delete.sql. Here the rule is asked of ends of every team.
WITH named AS (
    SELECT e.event_id, e.team_id, e.occurred_at, e.position
    FROM {{event_ends.sql}}
)
SELECT e.position, pg_catalog.array_agg(DISTINCT s.team_id) AS owners
FROM named AS n
CROSS JOIN LATERAL (SELECT n.event_id, NULL::uuid, n.occurred_at, n.position) AS e (event_id, team_id, occurred_at, position)
JOIN ONLY public.snapshots AS s
  ON s.team_id IS NOT NULL
      AND {{event_end_rule.sql}}
WHERE NOT EXISTS (SELECT FROM ONLY public.snapshots AS o WHERE o.event_id = n.event_id AND o.team_id = n.team_id)
GROUP BY e.position
