use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::state::AppState;
use crate::config::Environment;
use crate::telemetry::Dependency;

#[derive(Debug, Serialize)]
pub(super) struct Body {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dependencies: Option<Dependencies>,
}

#[derive(Debug, Serialize)]
struct Dependencies {
    postgres: &'static str,
    rabbitmq: &'static str,
}

/// 200 as long as the process answers and none of its loops has stood still, whatever the servers do.
pub(super) async fn livez(State(state): State<AppState>) -> (StatusCode, Json<Body>) {
    answer(state.heartbeats.late().is_none(), None)
}

/// 200 if both servers are up, 503 otherwise.
pub(super) async fn readyz(State(state): State<AppState>) -> (StatusCode, Json<Body>) {
    let word = |dependency| if state.health.is_up(dependency) { "up" } else { "down" };
    let dependencies = (state.environment == Environment::Development)
        .then(|| Dependencies { postgres: word(Dependency::Postgres), rabbitmq: word(Dependency::Rabbitmq) });
    answer(state.health.is_ready(), dependencies)
}

fn answer(good: bool, dependencies: Option<Dependencies>) -> (StatusCode, Json<Body>) {
    let (code, status) = if good { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "unavailable") };
    (code, Json(Body { status, dependencies }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::heartbeat::Heartbeats;
    use crate::telemetry::{Health, Metrics};

    #[tokio::test]
    async fn live_as_long_as_no_loop_is_late_whatever_the_servers_do() {
        let (heartbeats, metrics) = (Heartbeats::default(), Metrics::new());
        let health = Health::new(metrics.clone());
        let state = AppState { health, heartbeats: heartbeats.clone(), metrics, environment: Environment::Production };
        let heartbeat = heartbeats.watch("pipeline");
        assert_eq!(livez(State(state.clone())).await.0, StatusCode::OK);
        heartbeat.stand_still();
        assert_eq!(livez(State(state.clone())).await.0, StatusCode::SERVICE_UNAVAILABLE);
        heartbeat.back_after(Duration::ZERO);
        assert_eq!(livez(State(state)).await.0, StatusCode::OK);
    }
}
