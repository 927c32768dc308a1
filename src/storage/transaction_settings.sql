-- The settings of a transaction, which end with it, and who serves it.
--
-- The planner settings make every plan follow the indexes, whatever the statistics of a table that is emptied and filled all day
-- say: a hash join over a sequential scan is right only until the table grows. JIT off belongs to it: a scan that is "off" still
-- serves a table without an index, at a cost so high that each statement would be compiled first, which halved the whole.
-- PostgreSQL 17's transaction_timeout is off, because the others bound what we do, and it ends the connection.
--
-- Sent as text with the values in it, which takes one round trip where binds take two. All of them are ours.
--
-- $1 lock_timeout, $2 statement_timeout, $3 idle_in_transaction_session_timeout: with their unit
-- $4 the rule that deletes, or ''
-- $5 whether search_path is ours, and not the role's with pg_catalog first
-- $6 the team on whose behalf it is, for the backend's policies, or ''
SELECT pg_catalog.pg_backend_pid() AS pid,
       (extract(epoch FROM pg_catalog.now()) OPERATOR(pg_catalog.*) 1000000::pg_catalog.numeric)::pg_catalog.int8 AS began,
       pg_catalog.set_config('lock_timeout', $1, true),
       pg_catalog.set_config('statement_timeout', $2, true),
       pg_catalog.set_config('idle_in_transaction_session_timeout', $3, true),
       pg_catalog.set_config('snapshot_lifecycle.rule', $4, true),
       CASE WHEN $6::pg_catalog.text OPERATOR(pg_catalog.<>) '' THEN pg_catalog.set_config('app.current_team_id', $6, true) END,
       CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL
            THEN pg_catalog.set_config('transaction_timeout', '0', true)
       END,
       pg_catalog.set_config(
           'search_path',
           CASE WHEN $5 THEN 'pg_catalog, pg_temp'
                WHEN pg_catalog.strpos(pg_catalog.current_setting('search_path'), 'pg_catalog') OPERATOR(pg_catalog.>) 1
                THEN pg_catalog.concat('pg_catalog, ', pg_catalog.current_setting('search_path'))
                ELSE pg_catalog.current_setting('search_path')
           END,
           true),
       pg_catalog.set_config('enable_hashjoin', 'off', true),
       pg_catalog.set_config('enable_mergejoin', 'off', true),
       pg_catalog.set_config('enable_seqscan', 'off', true),
       pg_catalog.set_config('jit', 'off', true)
