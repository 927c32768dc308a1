-- Under an empty search path the caller's temporary schema comes first for types: a domain pg_temp.text with a check of the caller's would run as our owner. So it is named, and last.
DO $$
DECLARE
    function pg_catalog.regprocedure;
BEGIN
    FOR function IN
        SELECT p.oid FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = 'snapshot_lifecycle'::pg_catalog.regnamespace AND p.prosecdef AND pg_catalog.pg_has_role(p.proowner, 'USAGE')
    LOOP
        EXECUTE pg_catalog.format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', function);
    END LOOP;
END
$$;
