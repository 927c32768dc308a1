//! The worker's exchanges and queues: their names, how they should be, declaring or verifying them,
//! writing them down for RabbitMQ to import, and how many messages they hold.

pub(super) mod declare;
pub(super) mod definitions;
pub(super) mod depth;
pub(super) mod ensure;
pub(super) mod names;
pub(super) mod plan;
pub(super) mod verify;
