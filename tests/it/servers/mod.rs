//! Reaching PostgreSQL and RabbitMQ: TLS, users, poolers, exchanges and queues.

mod broker_users;
mod connecting;
mod definitions;
mod pooler;
mod tls;
mod topology;
