-- How long it takes until the next delete is free. A moment that is too far ahead is set back to now.
--
-- $1 the farthest that the moment can be ahead, unless the clock has stepped back
WITH set_back AS (
    UPDATE snapshot_lifecycle.delete_budget
    SET free_at = clock_timestamp()
    WHERE free_at > clock_timestamp() + $1
    RETURNING 1
)
SELECT COALESCE(max(LEAST(GREATEST(free_at - clock_timestamp(), '0'), $1)), '0') AS wait,
       EXISTS (SELECT FROM set_back) AS was_set_back
FROM snapshot_lifecycle.delete_budget
WHERE isfinite(free_at)
