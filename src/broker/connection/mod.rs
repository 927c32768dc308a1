//! Where the broker is, and a connection to it.

pub(super) mod address;
pub(super) mod connect;
mod filtered_stream;
mod frame_repair;
pub(super) mod greeting;
