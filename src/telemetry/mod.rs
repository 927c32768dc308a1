//! Logging, metrics and traces. From `message` and `policy` it knows the closed names that are labels, and nothing of how they come about.

mod dependency;
mod families;
mod health;
mod labels;
mod log_queue;
mod logging;
mod metrics;
mod traces;

pub use dependency::Dependency;
pub use health::Health;
pub use labels::{Lease, MessageOutcome, OutboxOutcome};
pub use logging::{Logging, LoggingError, Stderr};
pub use metrics::Metrics;
pub use traces::{BatchEvent, BatchSpan, BatchStep, TracedBroker, Traces};
