-- The least-privileged login role of the worker. Run once, after `snapshot-lifecycle migrate`, as the owner of the tables:
--
--   psql "$OWNER_DATABASE_URL" -v password="$(openssl rand -hex 24)" -f deploy/sql/worker-role.sql
--
-- The role sees and deletes the snapshots of every team, and can do nothing else: no insert, no change, no other table of the
-- host. It is bound by row-level security and has policies of its own instead of BYPASSRLS.
\set ON_ERROR_STOP on
BEGIN;

CREATE ROLE snapshot_lifecycle_worker LOGIN NOINHERIT PASSWORD :'password';

GRANT USAGE ON SCHEMA public, snapshot_lifecycle TO snapshot_lifecycle_worker;
GRANT SELECT, DELETE ON public.snapshots TO snapshot_lifecycle_worker;
-- A row lock (SELECT … FOR UPDATE, FOR KEY SHARE) counts as an update of some column. The two policies for UPDATE below let
-- rows be locked (USING) and let no changed row be written (WITH CHECK); the second is restrictive, because the
-- host's own policy would otherwise permit what the first does not.
GRANT UPDATE (id) ON public.snapshots TO snapshot_lifecycle_worker;

CREATE POLICY snapshot_lifecycle_worker_select ON public.snapshots
    FOR SELECT TO snapshot_lifecycle_worker USING (true);
CREATE POLICY snapshot_lifecycle_worker_delete ON public.snapshots
    FOR DELETE TO snapshot_lifecycle_worker USING (true);
CREATE POLICY snapshot_lifecycle_worker_lock ON public.snapshots
    FOR UPDATE TO snapshot_lifecycle_worker USING (true) WITH CHECK (false);
CREATE POLICY snapshot_lifecycle_worker_never_write ON public.snapshots
    AS RESTRICTIVE FOR UPDATE TO snapshot_lifecycle_worker USING (true) WITH CHECK (false);

GRANT SELECT ON snapshot_lifecycle.migrations, snapshot_lifecycle.retention TO snapshot_lifecycle_worker;
GRANT SELECT, INSERT, UPDATE ON snapshot_lifecycle.lease TO snapshot_lifecycle_worker;
GRANT SELECT, DELETE ON snapshot_lifecycle.outbox TO snapshot_lifecycle_worker;
GRANT SELECT, UPDATE ON snapshot_lifecycle.delete_budget TO snapshot_lifecycle_worker;

COMMIT;
