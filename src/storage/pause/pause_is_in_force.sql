-- Whether $1 is paused.
SELECT EXISTS (SELECT FROM snapshot_lifecycle.pause AS p WHERE p.what = $1 AND ({{pause_in_force.sql}}))
