-- Ends the transactions of ours that are still open, and returns them with whether they are over. A role may end its own backends.
--
-- A transaction is known by its process and its start. MATERIALIZED: found first and ended second, never the other way round.
--
-- $1 processes
-- $2 when the transaction of each began, in microseconds since 1970
-- $3 how many milliseconds to wait for each to end
WITH open AS MATERIALIZED (
    SELECT a.pid, ours.began
    FROM pg_stat_activity AS a
    JOIN unnest($1::int[], $2::bigint[]) AS ours (pid, began)
      ON a.pid = ours.pid AND (extract(epoch FROM a.xact_start) * 1000000)::bigint = ours.began
    WHERE a.usename = current_user AND a.pid <> pg_backend_pid()
)
SELECT pid, began, pg_terminate_backend(pid, $3) AS is_over
FROM open
