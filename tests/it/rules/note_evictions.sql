-- Notes of each eviction how many rows it deleted, and how many it saw at its end.
CREATE TABLE public.evictions (deleted BIGINT, left_over BIGINT);
CREATE FUNCTION public.judge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('snapshot_lifecycle.rule', true) = 'cap' AND EXISTS (SELECT FROM gone) THEN
        INSERT INTO public.evictions SELECT (SELECT count(*) FROM gone), count(*) FROM public.snapshots;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER judge AFTER DELETE ON public.snapshots REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.judge();
