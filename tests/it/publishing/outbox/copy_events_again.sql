-- Deletes all events and inserts them again, as a restore of the data alone does.
BEGIN;
CREATE TEMP TABLE kept AS SELECT * FROM public.events;
ALTER TABLE public.snapshots DROP CONSTRAINT snapshots_event_id_fkey;
DELETE FROM public.events;
INSERT INTO public.events SELECT * FROM kept;
ALTER TABLE public.snapshots ADD CONSTRAINT snapshots_event_id_fkey FOREIGN KEY (event_id) REFERENCES public.events (id);
DROP TABLE kept;
COMMIT;
