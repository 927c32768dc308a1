//! What came in: bytes to [`StatusMessage`] or [`Reject`], and back. Pure: no clock, no server.

mod decode;
mod event_status;
mod reject;
mod schema;
mod status_message;

pub use decode::{Envelope, decode, instant};
pub use event_status::{EventStatus, UnknownStatus};
pub use reject::{Reason, Reject};
pub use schema::json_schema;
pub use status_message::{InvalidStatusMessage, StatusMessage};
