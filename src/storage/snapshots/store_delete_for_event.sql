-- Deletes the snapshots that the end of one event deletes, by the rule of the messages. By the team's own role, so row-level security
-- may bind it. Without ONLY: on a partitioned table that would delete nothing and say nothing, and the store does not ask for the table's
-- shape as the worker does. One row of VALUES, and not event_ends.sql: there are no other ends, and the planner takes it for constants.
--
-- $1 the event, $2 the team, $3 when it ended
-- $4, $5 the retention policy, as in event_end_rule.sql
DELETE FROM public.snapshots AS s
USING (VALUES ($1::uuid, $2::uuid, $3::timestamptz)) AS e (event_id, team_id, occurred_at)
WHERE {{../rules/event_end_rule.sql}}
