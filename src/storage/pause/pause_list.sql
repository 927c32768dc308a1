-- What is paused, of the names $1 and in their order: a later version may know others.
SELECT {{pause_columns.sql}}
FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS known (what, place)
JOIN snapshot_lifecycle.pause AS p ON p.what = known.what
WHERE {{pause_in_force.sql}}
ORDER BY known.place
