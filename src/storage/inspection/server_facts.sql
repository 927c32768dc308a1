-- What the server says of itself and of the role.
--
-- `transaction_timeout` is asked of the settings of role and database, because our own transactions set it to 0.
SELECT current_setting('server_version_num')::int AS version_number,
       current_setting('server_version') AS version,
       current_user::text AS role,
       (SELECT split_part(c.setting, '=', 2)
        FROM pg_catalog.pg_db_role_setting AS s, unnest(s.setconfig) AS c (setting)
        WHERE c.setting LIKE 'transaction\_timeout=%' AND c.setting <> 'transaction_timeout=0'
          AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
          AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user))
        LIMIT 1) AS transaction_timeout,
       CASE
           WHEN pg_is_in_recovery() THEN 'standby'
           WHEN current_setting('default_transaction_read_only')::bool THEN 'default'
       END AS read_only,
       clock_timestamp() AS now,
       current_setting('autovacuum')::bool AND current_setting('track_counts')::bool AS autovacuum
