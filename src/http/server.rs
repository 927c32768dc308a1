use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{health, metrics};
use crate::config::Environment;
use crate::telemetry::{Health, Metrics};

/// Probes, Prometheus and a person are a handful.
const MOST_CONNECTIONS: usize = 64;
/// A request line and headers; the least that hyper allows is half of it.
const MOST_HEADER_BYTES: usize = 16 * 1024;
/// For a client to say what it wants.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
/// For everything, the answer included.
const CONNECTION_AT_MOST: Duration = Duration::from_secs(10);
/// A failing accept must not turn round in circles.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

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

    /// Serves as long as the process lives: during a soft stop the probes still want an answer. One request a connection, and
    /// nobody holds one for long.
    pub async fn run(self) {
        let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        // Before accepting: whoever comes beyond that waits in the kernel's queue.
        while let Ok(permit) = Arc::clone(&connections).acquire_owned().await {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Of the one that came, or for want of files: the next may fare better.
                    tracing::warn!(%error, "could not accept an HTTP connection");
                    sleep(ACCEPT_AGAIN_AFTER).await;
                    continue;
                }
            };
            let connection = http1::Builder::new()
                .keep_alive(false)
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_WITHIN)
                .max_buf_size(MOST_HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.router.clone()));
            tokio::spawn(async move {
                timeout(CONNECTION_AT_MOST, connection).await.ok(); // a client that went away is no matter
                drop(permit);
            });
        }
    }
}
