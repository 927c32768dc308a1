//! What to do about a message: pure decisions on messages, retention and retries. No clock, no server.

mod activity;
mod event_end;
mod kept_types;
mod retry;
mod rule;

pub use activity::{Activity, Paused};
pub use event_end::{Decision, EventEnd, decide, merge, named_teams};
pub use kept_types::KeptTypes;
pub use retry::{DELAYS, NextStep, after_failure};
pub use rule::{PassName, Rule};
