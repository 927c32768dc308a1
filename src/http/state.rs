use crate::config::Environment;
use crate::heartbeat::Heartbeats;
use crate::telemetry::{Health, Metrics};

/// What the handlers answer from.
#[derive(Clone)]
pub(super) struct AppState {
    pub(super) health: Health,
    pub(super) heartbeats: Heartbeats,
    pub(super) metrics: Metrics,
    pub(super) environment: Environment,
}
