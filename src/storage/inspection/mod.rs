//! What `doctor` asks of the database: facts only, read in transactions that the server keeps from changing anything
//! ([`Database::read_only`](super::Database::read_only)). What they mean is `doctor`'s.

pub(super) mod connection;
pub(super) mod foreign_keys;
pub(super) mod indexes;
pub(super) mod pooling;
pub(super) mod protection;
pub(super) mod server;
pub(super) mod vacuum;
