-- How many records wait, and since when the oldest does.
SELECT count(*) AS pending,
       clock_timestamp() - COALESCE(min(occurred_at), clock_timestamp()) AS oldest
FROM snapshot_lifecycle.outbox
