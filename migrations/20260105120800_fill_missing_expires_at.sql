-- A writer that does not know the policy leaves expires_at out; it runs as its owner, because the writer has no rights in our schema.
CREATE FUNCTION snapshot_lifecycle.fill_expires_at() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
BEGIN
    NEW.expires_at := COALESCE(NEW.created_at, pg_catalog.now()) + (
        SELECT ttl
        FROM snapshot_lifecycle.retention
        WHERE snapshot_type IN (NEW.snapshot_type, '*')
        ORDER BY snapshot_type = '*'
        LIMIT 1
    );
    RETURN NEW;
END
$$;

CREATE TRIGGER snapshot_lifecycle_fill_expires_at
    BEFORE INSERT ON public.snapshots
    FOR EACH ROW
    WHEN (NEW.expires_at IS NULL)
    EXECUTE FUNCTION snapshot_lifecycle.fill_expires_at();
