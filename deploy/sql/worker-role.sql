-- The least-privileged login role of the worker. Run after `snapshot-lifecycle migrate`, as the owner of the tables; again after each
-- upgrade, and for each database of the server, since it only adds what is missing and leaves the password of an existing role:
--
--   psql "$OWNER_DATABASE_URL" -v password="$WORKER_PASSWORD" -f deploy/sql/worker-role.sql
--
-- The role sees and deletes the snapshots of every team, and can do nothing else: no insert, no change, no other table of the
-- backend. It is bound by row-level security and has policies of its own instead of BYPASSRLS.
\set ON_ERROR_STOP on
\if :{?password}
\else
DO 'BEGIN RAISE EXCEPTION ''no password for the role: psql -v password=...''; END';
\endif
BEGIN;
-- A policy needs the table for itself for a moment; behind a long query everybody else would queue up behind us.
SET LOCAL lock_timeout = '5s';

SELECT format('CREATE ROLE snapshot_lifecycle_worker LOGIN NOINHERIT PASSWORD %L', :'password')
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'snapshot_lifecycle_worker')
\gexec

GRANT USAGE ON SCHEMA public, snapshot_lifecycle TO snapshot_lifecycle_worker;
GRANT SELECT, DELETE ON public.snapshots TO snapshot_lifecycle_worker;
-- A row lock (SELECT … FOR UPDATE, FOR KEY SHARE) counts as an update of some column. The two policies for UPDATE below let
-- rows be locked (USING) and let no changed row be written (WITH CHECK); the second is restrictive, because the
-- backend's own policy would otherwise permit what the first does not.
GRANT UPDATE (id) ON public.snapshots TO snapshot_lifecycle_worker;

DROP POLICY IF EXISTS snapshot_lifecycle_worker_select ON public.snapshots;
CREATE POLICY snapshot_lifecycle_worker_select ON public.snapshots
    FOR SELECT TO snapshot_lifecycle_worker USING (true);
DROP POLICY IF EXISTS snapshot_lifecycle_worker_delete ON public.snapshots;
CREATE POLICY snapshot_lifecycle_worker_delete ON public.snapshots
    FOR DELETE TO snapshot_lifecycle_worker USING (true);
DROP POLICY IF EXISTS snapshot_lifecycle_worker_lock ON public.snapshots;
CREATE POLICY snapshot_lifecycle_worker_lock ON public.snapshots
    FOR UPDATE TO snapshot_lifecycle_worker USING (true) WITH CHECK (false);
DROP POLICY IF EXISTS snapshot_lifecycle_worker_never_write ON public.snapshots;
CREATE POLICY snapshot_lifecycle_worker_never_write ON public.snapshots
    AS RESTRICTIVE FOR UPDATE TO snapshot_lifecycle_worker USING (true) WITH CHECK (false);

GRANT SELECT ON snapshot_lifecycle.migrations, snapshot_lifecycle.retention, snapshot_lifecycle.pause TO snapshot_lifecycle_worker;
GRANT SELECT, INSERT, UPDATE ON snapshot_lifecycle.lease TO snapshot_lifecycle_worker;
GRANT SELECT, INSERT, DELETE ON snapshot_lifecycle.applied_ahead TO snapshot_lifecycle_worker;
GRANT SELECT, DELETE ON snapshot_lifecycle.outbox TO snapshot_lifecycle_worker;
GRANT SELECT, UPDATE ON snapshot_lifecycle.delete_budget TO snapshot_lifecycle_worker;

COMMIT;
