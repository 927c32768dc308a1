-- Which of the tables exist.
SELECT to_regclass('public.teams') IS NOT NULL AND to_regclass('public.events') IS NOT NULL AS of_the_backend,
       to_regclass('public.snapshots') IS NOT NULL AS snapshots
