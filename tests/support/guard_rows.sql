-- Raises where the type is a SQLSTATE, keeps a `contract`, takes six seconds for a `slow` one, and 0.6 s for an `album`.
CREATE FUNCTION public.guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE OLD.snapshot_type
        WHEN 'contract' THEN RETURN NULL;
        WHEN 'slow' THEN PERFORM pg_sleep(6);
        WHEN 'album' THEN PERFORM pg_sleep(0.6);
        WHEN 'offer', 'viewed' THEN NULL;
        ELSE RAISE EXCEPTION 'not this one' USING ERRCODE = OLD.snapshot_type;
    END CASE;
    RETURN OLD;
END $$;
CREATE TRIGGER guard BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.guard();
CREATE TABLE public.page_views (snapshot_id UUID NOT NULL REFERENCES public.snapshots (id));
