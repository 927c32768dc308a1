//! What came in: bytes to [`StatusMessage`] or [`Reject`], and back. Pure: no clock, no server.

mod decode;
mod envelope;
mod event_status;
mod field;
mod instant;
mod reject;
mod status_message;
mod trace_context;

pub use decode::decode;
pub use envelope::Envelope;
pub use event_status::{EventStatus, UnknownStatus};
pub use instant::instant;
pub use reject::{Reason, Reject};
pub use status_message::{InvalidStatusMessage, StatusMessage};
pub use trace_context::{InvalidTraceContext, TraceContext};
