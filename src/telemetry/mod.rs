//! Logging and metrics. A leaf: it knows closed names, and nothing of how they come about.

mod health;
mod log_queue;
mod logging;
mod metrics;

pub use health::{Dependency, Health};
pub use logging::{Logging, LoggingError, Stderr};
pub use metrics::{Metrics, Outcome};
