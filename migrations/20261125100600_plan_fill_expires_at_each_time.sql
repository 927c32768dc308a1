-- A session keeps the plan of a function, and a plan made for a VARCHAR column refuses a TEXT one: the insert failed after ALTER COLUMN snapshot_type TYPE, until its session ended. A statement in a string is planned each time.
CREATE OR REPLACE FUNCTION snapshot_lifecycle.fill_expires_at() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE $statement$
        SELECT COALESCE(($1).created_at, pg_catalog.now()) + (
            SELECT ttl
            FROM snapshot_lifecycle.retention
            WHERE snapshot_type IN (($1).snapshot_type, '*')
            ORDER BY snapshot_type = '*'
            LIMIT 1
        )
    $statement$ INTO NEW.expires_at USING NEW;
    RETURN NEW;
END
$$;
