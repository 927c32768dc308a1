//! What `doctor` wants to know of the database: facts only, read in transactions that the server keeps from changing
//! anything ([`Database::read_only`](super::Database::read_only)). What they mean is `doctor`'s.

mod connection;
mod server;
mod table;

pub use connection::{Encryption, Pooling};
pub use server::{MigrationState, ServerFacts};
pub use table::{Guards, Index, Need, Reference, TableUpkeep, Work};
