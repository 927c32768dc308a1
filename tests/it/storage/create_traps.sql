-- Functions and operators as if they were PostgreSQL's own, but closer to the types that we call them with. Each says that it was called,
-- and fails.
CREATE FUNCTION public.caught(what text) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'trap % was run', what; END $$;
DO $do$
DECLARE types text; operator text;
    own text[] := '{bool,int2,int4,int8,float8,oid,regclass,regtype,regproc,text,varchar,name,"char",uuid,timestamptz,interval,tid,jsonb}';
BEGIN
    PERFORM set_config('search_path', 'pg_catalog', true); -- so as not to be caught ourselves
    FOR types IN SELECT pg_catalog.unnest(string_to_array('text,text;text,text,text;text,name;text,name,name;text,text,text,text;text,text,name;text,regprocedure', ';')) LOOP
        EXECUTE pg_catalog.format('CREATE FUNCTION public.format(%s) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.caught(%L); RETURN NULL; END $f$', types, 'format ' || types);
    END LOOP;
    FOR types IN SELECT pg_catalog.unnest(string_to_array('uuid;text;oid;int8;timestamptz;bool', ';')) LOOP
        EXECUTE pg_catalog.format('CREATE FUNCTION public.unnest(%s[]) RETURNS SETOF %s LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.caught(%L); END $f$', types, types, 'unnest ' || types);
        EXECUTE pg_catalog.format('CREATE FUNCTION public.counted(state int8, item %s) RETURNS int8 LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.caught(%L); RETURN 0; END $f$', types, 'count ' || types);
        EXECUTE pg_catalog.format('CREATE AGGREGATE public.count(%s) (SFUNC = public.counted, STYPE = int8, INITCOND = 0)', types);
        EXECUTE pg_catalog.format('CREATE FUNCTION public.array_agged(state %s[], item %s) RETURNS %s[] LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.caught(%L); RETURN state; END $f$', types, types, types, 'array_agg ' || types);
        EXECUTE pg_catalog.format('CREATE AGGREGATE public.array_agg(%s) (SFUNC = public.array_agged, STYPE = %s[], INITCOND = ''{}'')', types, types);
    END LOOP;
    -- Cheap, so that a statement asks it before its other conditions.
    FOR types IN SELECT concat(a, ',', b) FROM unnest(own) AS a, unnest(own) AS b LOOP
        EXECUTE pg_catalog.format('CREATE FUNCTION public.trap(%s) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $f$ BEGIN PERFORM public.caught(%L); RETURN true; END $f$', types, 'operator ' || types);
        FOR operator IN SELECT o FROM unnest('{=,<>,<,<=,>,>=,+,-,&,||}'::text[]) AS o
            WHERE to_regoperator(concat('pg_catalog.', o, '(', types, ')')) IS NULL LOOP
            EXECUTE pg_catalog.format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.trap)', operator, split_part(types, ',', 1), split_part(types, ',', 2));
        END LOOP;
    END LOOP;
END $do$;
