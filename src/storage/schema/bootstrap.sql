-- What must exist before the first migration: where the applied ones are recorded, and the lease that makes one replica at a time migrate.
CREATE SCHEMA IF NOT EXISTS snapshot_lifecycle;
CREATE TABLE IF NOT EXISTS snapshot_lifecycle.migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    checksum BYTEA NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS snapshot_lifecycle.lease (
    name TEXT PRIMARY KEY,
    holder UUID NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    completed_at TIMESTAMPTZ
);
