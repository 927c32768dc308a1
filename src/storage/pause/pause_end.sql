-- Resumes $1, and says what was paused until now.
WITH ended AS (
    DELETE FROM snapshot_lifecycle.pause AS p
    WHERE p.what = ANY ($1)
    RETURNING p.*
)
SELECT {{pause_columns.sql}}
FROM ended AS p
WHERE {{pause_in_force.sql}}
ORDER BY p.what
