-- Part of a SELECT, two arrays of sentences: what is wrong with the role, and what is wrong with the table, such that a DELETE succeeds
-- and takes fewer rows than its rule names, or others.
--
-- A deleting transaction asks this in one of its own statements, which costs no round trip. `CASE WHEN false` reads nothing and
-- evaluates no policy, but naming the table locks it until the transaction ends: the answer holds for every later statement of the
-- transaction, because a change of the policies or of the table itself waits for that lock.
--
-- Under row-level security without a policy for the role a DELETE succeeds with 0 rows, which must never be taken
-- for "nothing to do". So a role that row-level security binds needs, for SELECT, DELETE and UPDATE (which is what
-- a row lock counts as), a permissive policy that is plainly `true`, and no restrictive one.
ARRAY(
    SELECT pg_catalog.format('row-level security hides rows from its %s: it has neither BYPASSRLS nor a policy FOR %s USING (true)', c.name, c.name)
    FROM (VALUES ('SELECT', 'r'), ('DELETE', 'd'), ('UPDATE', 'w')) AS c (name, command)
    WHERE pg_catalog.row_security_active('public.snapshots') AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_policy AS p
        WHERE p.polrelid = 'public.snapshots'::pg_catalog.regclass::pg_catalog.oid
          AND p.polpermissive AND p.polcmd::pg_catalog.text IN (c.command, '*')
          AND pg_catalog.pg_get_expr(p.polqual, p.polrelid) = 'true'
          AND EXISTS (
              SELECT FROM pg_catalog.unnest(p.polroles) AS r (oid) WHERE r.oid = '0' OR pg_catalog.pg_has_role(r.oid, 'USAGE')
          )
    )
    UNION ALL
    SELECT pg_catalog.format('the restrictive row-level security policy %I hides rows from it', p.polname)
    FROM pg_catalog.pg_policy AS p
    WHERE pg_catalog.row_security_active('public.snapshots')
      AND p.polrelid = 'public.snapshots'::pg_catalog.regclass::pg_catalog.oid
      AND NOT p.polpermissive AND p.polcmd <> 'a'
      AND pg_catalog.pg_get_expr(p.polqual, p.polrelid) IS DISTINCT FROM 'true'
      AND EXISTS (
          SELECT FROM pg_catalog.unnest(p.polroles) AS r (oid) WHERE r.oid = '0' OR pg_catalog.pg_has_role(r.oid, 'USAGE')
      )
) AS role_problems,
ARRAY(
    SELECT pg_catalog.concat(t.message, '; ', t.fix)
    FROM (
        {{../schema/table_shape.sql}}
    ) AS t
    WHERE CASE WHEN false THEN EXISTS (SELECT FROM ONLY public.snapshots) ELSE true END
) AS table_problems
