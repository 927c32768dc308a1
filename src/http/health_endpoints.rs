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

/// 200 as long as the process answers.
pub(super) async fn livez() -> (StatusCode, Json<Body>) {
    answer(true, None)
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
