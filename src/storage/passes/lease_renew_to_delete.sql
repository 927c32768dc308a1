-- Lengthens the lease $1 of the holder $2 by $3, and asks whether an operator has paused $4, and whether a delete in this transaction
-- would miss rows without an error.
-- Everything is qualified, because it is asked under the backend's search path.
WITH renewed AS (
    UPDATE snapshot_lifecycle.lease
    SET expires_at = clock_timestamp() + $3
    WHERE name = $1 AND holder = $2
    RETURNING 1
)
SELECT EXISTS (SELECT FROM renewed) AS is_ours,
       EXISTS (SELECT FROM snapshot_lifecycle.pause AS p WHERE p.what = $4 AND ({{../pause/pause_in_force.sql}})) AS is_paused,
       {{../schema/row_level_security_and_table_shape.sql}}
