//! Logging and metrics. A leaf: it knows closed names, and nothing of how they come about.

mod health;
mod logging;
mod metrics;

pub use health::{Dependency, Health};
pub use logging::{LoggingError, init as init_logging};
pub use metrics::{Metrics, Outcome};
