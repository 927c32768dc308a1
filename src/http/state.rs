use crate::config::Environment;
use crate::telemetry::{Health, Metrics};

/// What the handlers answer from.
#[derive(Clone)]
pub(super) struct AppState {
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    pub(super) environment: Environment,
}
