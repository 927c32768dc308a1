-- Part of a batch, a CTE: the rows of `doomed` (their places in the table, `ctid`, found and locked by the same statement) that `gone`
-- did not delete, because a trigger or rule of the backend kept them.
--
-- A place names one row, within one statement and under the lock that the statement itself has taken; an id may name several where it is
-- not unique. A row that was updated between the statement's snapshot and its lock is at a place that the snapshot does not show. It is
-- not deleted, and the next pass finds it. So what was kept is what the snapshot shows and the delete did not return.
--
-- `gone` repeats the rule's conditions on the row itself as `(...) IS TRUE`, which no index serves: with poor statistics the planner
-- would otherwise walk an index once for each row instead of going to its place.
kept AS MATERIALIZED (
    SELECT s.id, s.expires_at
    FROM (SELECT place FROM doomed EXCEPT SELECT place FROM gone) AS k
    JOIN ONLY public.snapshots AS s ON s.ctid = k.place
    WHERE (SELECT count(*) FROM doomed) > (SELECT count(*) FROM gone)
)
