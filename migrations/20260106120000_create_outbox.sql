-- Status changes that the host's trigger records in the host's own transaction, each here until a worker has published it; `outbox install` makes the trigger.
CREATE TABLE snapshot_lifecycle.outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id UUID NOT NULL DEFAULT gen_random_uuid(),
    event_id UUID NOT NULL,
    team_id UUID,
    status TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE snapshot_lifecycle.outbox IS 'status changes that wait to be published to RabbitMQ by `snapshot-lifecycle run`';
