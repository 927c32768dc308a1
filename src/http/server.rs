use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::state::AppState;
use super::{health_endpoints, metrics_endpoint};
use crate::config::Environment;
use crate::heartbeat::Heartbeats;
use crate::telemetry::{Health, Metrics};

/// Probes, Prometheus and a person need a handful. Beyond this the oldest connection without a request is closed.
const MOST_CONNECTIONS: usize = 128;
/// Before a connection is closed to make room, so that a client on a busy machine gets time to ask, and one that connects again and again
/// is slowed down: 6,400 per second.
const SPARED_FOR: Duration = Duration::from_millis(20);
/// A request line and headers; the least that hyper allows is half of it.
const MOST_HEADER_BYTES: usize = 16 * 1024;
/// For a client to send its request.
const HEADERS_WITHIN: Duration = Duration::from_secs(1);
/// For everything, the answer included.
const CONNECTION_AT_MOST: Duration = Duration::from_secs(10);

/// A bound address, about to serve.
pub struct Server {
    listener: TcpListener,
    router: Router,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {address}; is another worker running there? set LIFECYCLE_HTTP_ADDR to a free address")]
pub struct ServerError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

impl Server {
    /// Binds the address.
    ///
    /// # Errors
    /// If the address is taken or is not one of this machine's.
    pub async fn bind(
        address: SocketAddr,
        health: Health,
        heartbeats: Heartbeats,
        metrics: Metrics,
        environment: Environment,
    ) -> Result<Self, ServerError> {
        let listener = TcpListener::bind(address).await.map_err(|source| ServerError { address, source })?;
        let state = AppState { health, heartbeats, metrics, environment };
        let router = Router::new()
            .route("/livez", get(health_endpoints::livez))
            .route("/readyz", get(health_endpoints::readyz))
            .route("/metrics", get(metrics_endpoint::metrics))
            .with_state(state);
        Ok(Self { listener, router })
    }

    /// The address, with the port that was chosen if port 0 was requested.
    ///
    /// # Errors
    /// If the system does not know it.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves as long as the process lives: during a soft stop the probes still need an answer. One request per connection, and
    /// no client keeps one for long.
    ///
    /// At the limit, the oldest connection that has not sent its request is closed: a probe sends it at once, so this is one
    /// that idles or is slow. No limit per address: a flood from the probes' own machine would shut out the probes.
    pub async fn run(self) {
        let mut connections = Connections::default();
        let mut failing = false;
        loop {
            connections.make_room().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    failing = false;
                    connections.add(stream, self.router.clone());
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "could not accept an HTTP connection; logged once until it succeeds");
                    }
                    failing = true;
                    // Usually there are no file descriptors left, and each connection has one.
                    connections.close_one().await;
                }
            }
            // Accepted connections are served before more are accepted.
            yield_now().await;
        }
    }
}

/// `asked` becomes true as soon as the request has arrived.
async fn serve(stream: TcpStream, router: Router, asked: Arc<AtomicBool>) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        asked.store(true, Ordering::Relaxed);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(MOST_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    timeout(CONNECTION_AT_MOST, connection).await.ok(); // a client that went away does not matter
}

struct Connection {
    since: Instant,
    asked: Arc<AtomicBool>,
    task: AbortHandle,
}

/// The open connections, the oldest first.
#[derive(Default)]
struct Connections(VecDeque<Connection>);

impl Connections {
    #[expect(
        clippy::disallowed_methods,
        reason = "tracked here: aborted when room is needed, and bounded by a timeout"
    )]
    fn add(&mut self, stream: TcpStream, router: Router) {
        let asked = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(serve(stream, router, Arc::clone(&asked))).abort_handle();
        self.0.push_back(Connection { since: Instant::now(), asked, task });
    }

    async fn make_room(&mut self) {
        self.0.retain(|connection| !connection.task.is_finished());
        if self.0.len() >= MOST_CONNECTIONS {
            self.close_one().await;
        }
    }

    /// Closes the oldest that has not sent its request, after its minimum time. Where all have, the oldest: it reads its answer
    /// too slowly. If none is open, waits: that may help.
    async fn close_one(&mut self) {
        let idle = self.0.iter().position(|connection| !connection.asked.load(Ordering::Relaxed));
        if let Some(connection) = self.0.remove(idle.unwrap_or(0)) {
            sleep_until(connection.since + SPARED_FOR).await;
            connection.task.abort();
        } else {
            sleep(SPARED_FOR).await;
        }
    }
}
