-- The function of the outbox's trigger, in PL/pgSQL: records a change of status. It is a template of format(), with these arguments:
-- 1 the table's number, 2 and 3 its schema and name, 4, 5 and 6 the event's id, its status and its team (an expression, NULL without
-- one), 7, 8 and 9 their column numbers, 10 the exchange. It never fails the backend's statement, and records no status that it does
-- not know.
DECLARE
    event pg_catalog.uuid;
    team pg_catalog.uuid;
    was pg_catalog.text;
    reached pg_catalog.text;
    traceparent pg_catalog.text;
    before pg_catalog.jsonb;
    after pg_catalog.jsonb;
BEGIN
    -- On a table of somebody else's it would record what that table says. A renamed table keeps its number, a restored one its name.
    IF TG_RELID <> '%1$s'::pg_catalog.oid AND (TG_TABLE_SCHEMA <> %2$L OR TG_TABLE_NAME <> %3$L) THEN
        RETURN NULL;
    END IF;
    BEGIN
        event := NEW.%4$I;
        team := %6$s;
        -- "C": in a Turkish database the lower case of CONFIRMED has an i without a dot.
        reached := pg_catalog.lower(pg_catalog.btrim(NEW.%5$I::pg_catalog.text) COLLATE pg_catalog."C");
        IF TG_OP = 'UPDATE' THEN
            was := pg_catalog.lower(pg_catalog.btrim(OLD.%5$I::pg_catalog.text) COLLATE pg_catalog."C");
        END IF;
    EXCEPTION WHEN OTHERS THEN
        -- A column was renamed, dropped or made another type, which must not fail the backend's statement: by their numbers.
        after := pg_catalog.to_jsonb(NEW);
        IF TG_OP = 'UPDATE' THEN
            before := pg_catalog.to_jsonb(OLD);
        END IF;
        SELECT CASE WHEN pg_catalog.lower(after ->> i.attname) ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN (after ->> i.attname)::pg_catalog.uuid END,
               CASE WHEN pg_catalog.lower(after ->> t.attname) ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN (after ->> t.attname)::pg_catalog.uuid END,
               pg_catalog.lower(pg_catalog.btrim(after ->> s.attname) COLLATE pg_catalog."C"), pg_catalog.lower(pg_catalog.btrim(before ->> s.attname) COLLATE pg_catalog."C")
        INTO event, team, reached, was
        FROM pg_catalog.pg_attribute AS i
        LEFT JOIN pg_catalog.pg_attribute AS s ON s.attrelid = i.attrelid AND s.attnum = %8$s
        LEFT JOIN pg_catalog.pg_attribute AS t ON t.attrelid = i.attrelid AND t.attnum = %9$s
        WHERE i.attrelid = TG_RELID AND i.attnum = %7$s;
    END;
    -- The same status written otherwise (letter case, spaces) is no change: published, it would look like a new end of the event.
    IF event IS NOT NULL AND reached IS DISTINCT FROM was AND reached IN ('lead', 'option', 'confirmed', 'cancelled', 'blocked') THEN
        -- Where the statement comes from, in a trace: PostgREST has the headers of its request in a setting, as JSON, in lower case, and
        -- others set one of ours. Matched and not read as JSON: whatever else stands there must not fail the backend's statement.
        traceparent := COALESCE(
            pg_catalog.substring(pg_catalog.current_setting('snapshot_lifecycle.traceparent', true), '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'),
            pg_catalog.substring(pg_catalog.current_setting('request.headers', true), '"traceparent" *: *"(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})"')
        );
        INSERT INTO snapshot_lifecycle.outbox (event_id, team_id, status, exchange, traceparent) VALUES (event, team, reached, %10$L, traceparent);
        -- A transaction that has notified cannot be prepared, so on a server where one may be, the relay is told nothing and looks.
        IF pg_catalog.current_setting('max_prepared_transactions') = '0' THEN
            -- Commits that notify wait for each other, all over the server. So of transactions side by side one does, and a record
            -- that is committed after the relay has looked is found when it looks again.
            IF pg_catalog.pg_try_advisory_xact_lock(8315161622119347807) THEN
                PERFORM pg_catalog.pg_notify('snapshot_lifecycle_outbox', '');
            END IF;
        END IF;
    END IF;
    RETURN NULL;
END
