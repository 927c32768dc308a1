-- Our functions run as their owner, and PUBLIC may execute what is new: attached to a table of its own, a role could record what it likes. Firing needs no right.
DO $$
DECLARE
    function pg_catalog.regprocedure;
BEGIN
    FOR function IN
        SELECT p.oid FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = 'snapshot_lifecycle'::pg_catalog.regnamespace AND p.prosecdef AND pg_catalog.pg_has_role(p.proowner, 'USAGE')
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
    END LOOP;
END
$$;
