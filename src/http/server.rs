use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use super::{health, metrics};
use crate::config::Environment;
use crate::telemetry::{Health, Metrics};

/// A bound address, about to serve.
pub struct Server {
    listener: TcpListener,
    router: Router,
}

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    pub(super) environment: Environment,
}

/// The address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {address}; is another worker running there? set LIFECYCLE_HTTP_ADDR to a free address")]
pub struct ServerError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

impl Server {
    /// Binds the address.
    pub async fn bind(
        address: SocketAddr,
        health: Health,
        metrics: Metrics,
        environment: Environment,
    ) -> Result<Self, ServerError> {
        let listener = TcpListener::bind(address).await.map_err(|source| ServerError { address, source })?;
        let shared = Shared { health, metrics, environment };
        let router = Router::new()
            .route("/livez", get(health::livez))
            .route("/readyz", get(health::readyz))
            .route("/metrics", get(metrics::metrics))
            .with_state(shared);
        Ok(Self { listener, router })
    }

    /// The address, with the port that was chosen where port 0 was asked for.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves as long as the process lives: during a soft stop the probes still want an answer.
    pub async fn run(self) {
        if let Err(error) = axum::serve(self.listener, self.router).await {
            tracing::error!(%error, "HTTP server failed");
        }
    }
}
