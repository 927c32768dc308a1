-- Takes a lease, unless another holds it or a pass completed within the interval.
--
-- What lies in the future is of a clock that has stepped back since, and counts for nothing: a lease that lasts for more than twice its
-- length, and a pass that completed in the future. The SELECT sees the row as it was before.
--
-- $1 name
-- $2 holder
-- $3 how long it lasts
-- $4 the interval; NULL: it is due whenever it is free
WITH taken AS (
    INSERT INTO snapshot_lifecycle.lease AS l (name, holder, expires_at)
    VALUES ($1, $2, clock_timestamp() + $3)
    ON CONFLICT (name) DO UPDATE
    SET holder = excluded.holder,
        expires_at = excluded.expires_at,
        completed_at = CASE WHEN l.completed_at <= clock_timestamp() THEN l.completed_at END
    WHERE (l.holder = excluded.holder OR l.expires_at NOT BETWEEN clock_timestamp() AND clock_timestamp() + 2 * $3)
      AND ($4::interval IS NULL
           OR l.completed_at IS NULL
           OR l.completed_at NOT BETWEEN clock_timestamp() - $4 AND clock_timestamp())
    RETURNING 1
)
SELECT EXISTS (SELECT FROM taken) AS is_taken,
       COALESCE(l.completed_at NOT BETWEEN clock_timestamp() - $4 AND clock_timestamp(), true) AS is_due,
       COALESCE(l.expires_at > clock_timestamp() + 2 * $3 OR l.completed_at > clock_timestamp(), false) AS is_ahead,
       COALESCE(l.holder <> $2 AND isfinite(l.expires_at), false) AS was_not_released
FROM (VALUES ($1)) AS wanted (name)
LEFT JOIN snapshot_lifecycle.lease AS l ON l.name = wanted.name
