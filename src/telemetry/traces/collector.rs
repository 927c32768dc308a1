use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// An answer is some bytes that say which spans were refused.
const MAX_ANSWER_BYTES: usize = 65_536;

/// The way to the collector. It is asked from a thread of the exporter's, which has no runtime; the request is made on the worker's.
#[derive(Debug)]
pub(super) struct Collector {
    requests: Arc<Requests>,
    runtime: Handle,
}

#[derive(Debug)]
struct Requests {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    /// Whether the last request came to a good end, to log only what changes.
    works: AtomicBool,
}

impl Collector {
    /// Must be called on the worker's runtime.
    ///
    /// # Errors
    /// Where https is asked for and the system has no certificates.
    pub(super) fn new(https: bool, timeout: Duration) -> io::Result<Self> {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls(https)?).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let requests = Arc::new(Requests { client, timeout, works: AtomicBool::new(true) });
        Ok(Self { requests, runtime: Handle::current() })
    }
}

/// By ring, as for the other servers, whatever the process's default is.
fn tls(https: bool) -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder =
        if https { builder.with_native_roots()? } else { builder.with_root_certificates(RootCertStore::empty()) };
    Ok(builder.with_no_client_auth())
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let requests = Arc::clone(&self.requests);
        self.runtime.spawn(async move { requests.send(request).await }).await?
    }
}

impl Requests {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = match timeout(self.timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {:?}", self.timeout).into()),
        };
        match &answer {
            Ok(response) if response.status().is_success() => self.log_change(None),
            Ok(response) => self.log_change(Some(format!("it answers {}", response.status()))),
            Err(error) => self.log_change(Some(one_line(error.as_ref()))),
        }
        answer
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = self.client.request(request.map(Full::new)).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }

    /// Nothing else depends on traces, so their loss is worth one line.
    fn log_change(&self, error: Option<String>) {
        let worked = self.works.swap(error.is_none(), Ordering::Relaxed);
        match error {
            Some(error) if worked => tracing::warn!(error, "collector takes no traces; they are dropped until it does"),
            None if !worked => tracing::info!("collector takes traces again"),
            _ => {}
        }
    }
}

fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
