//! What an operator has stopped for the whole fleet: one row for each activity, by the database's clock.
//!
//! Every deleting transaction of a worker reads it in its first statement, which costs no round trip. So what begins after a pause is committed
//! deletes nothing, however late the worker itself learns of it. What began before is waited for by the command, see `change.rs`.

pub(super) mod change;
pub(super) mod state;
