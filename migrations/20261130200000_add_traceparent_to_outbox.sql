-- The request that changed a status is known only in its own transaction, and its trace goes on in the message.
ALTER TABLE snapshot_lifecycle.outbox ADD COLUMN traceparent TEXT;
