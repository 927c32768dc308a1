-- The oldest records behind the id $1 that the exchange $2 may have, at most $3. A record without an exchange is anybody's.
--
-- `is_behind`: an earlier record of the event is among those up to $1, so this one must not be published before it.
SELECT o.id, o.message_id, o.event_id, o.team_id, o.status, o.occurred_at, o.traceparent,
       EXISTS (
           SELECT FROM snapshot_lifecycle.outbox AS e
           WHERE e.event_id = o.event_id AND e.id <= $1 AND (e.exchange IS NULL OR e.exchange = $2)
       ) AS is_behind
FROM snapshot_lifecycle.outbox AS o
WHERE o.id > $1 AND (o.exchange IS NULL OR o.exchange = $2)
ORDER BY o.id
LIMIT $3
