-- Part of each statement about event ends: the ends as rows of `e`, with their position from 1 on. `unnest` of several arrays is the
-- grammar's own, so it is not qualified.
--
-- $1 events
-- $2 teams; NULL: the end is of every team
-- $3 occurred_at of each
unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS e (event_id, team_id, occurred_at, position)
