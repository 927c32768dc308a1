-- A delete of a row whose event is in the table raises the SQLSTATE that is given there.
CREATE TABLE public.curse (event_id uuid PRIMARY KEY, code text);
CREATE FUNCTION public.curse() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found text := (SELECT c.code FROM public.curse AS c WHERE c.event_id = OLD.event_id);
BEGIN
    IF found IS NOT NULL THEN RAISE EXCEPTION 'cursed %', found USING ERRCODE = found; END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER curse BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.curse();
