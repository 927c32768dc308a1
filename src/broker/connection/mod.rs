//! Where the broker is, and a connection to it, whose inbound frames are repaired so that lapin can read them.

pub(super) mod address;
pub(super) mod connect;
mod content_header;
mod field_repair;
mod filtered_stream;
mod filtering_runtime;
mod frame_filter;
#[cfg(feature = "worker")]
pub(super) mod greeting;
mod header_shrink;
mod method_frame;
