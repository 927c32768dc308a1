use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::eventually;

/// A collector of traces, that keeps what it is sent.
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<ReceivedSpan>>>,
    /// The headers of each request, by name.
    requests: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    task: JoinHandle<()>,
}

/// A span as it was sent; ids in hexadecimal.
#[derive(Debug, Clone)]
pub struct ReceivedSpan {
    pub name: String,
    pub kind: i32,
    pub trace_id: String,
    pub span_id: String,
    pub parent: String,
    /// Trace, span and attributes of each.
    pub links: Vec<(String, String, BTreeMap<String, String>)>,
    pub attributes: BTreeMap<String, String>,
    /// Name and attributes of each.
    pub events: Vec<(String, BTreeMap<String, String>)>,
    pub is_error: bool,
    /// Nanoseconds since 1970.
    pub began: u64,
    pub ended: u64,
    /// Attributes of the process.
    pub resource: BTreeMap<String, String>,
}

impl Collector {
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), None).await
    }

    /// At an address that nobody listens on, over TLS where there is a configuration.
    pub async fn start_at(address: SocketAddr, tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (spans, requests) = (Arc::<Mutex<_>>::default(), Arc::<Mutex<_>>::default());
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let task = tokio::spawn(accept(listener, tls, Arc::clone(&spans), Arc::clone(&requests)));
        Self { address, spans, requests, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.spans.lock().unwrap().clone()
    }

    /// The spans of this name, once there are `count`.
    pub async fn spans_named(&self, name: &str, count: usize) -> Vec<ReceivedSpan> {
        let named = || self.spans().into_iter().filter(|span| span.name == name).collect::<Vec<_>>();
        eventually(&format!("{count} spans {name}"), async || named().len() >= count).await;
        named()
    }

    /// The headers of the requests.
    pub fn requests(&self) -> Vec<BTreeMap<String, String>> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    spans: Arc<Mutex<Vec<ReceivedSpan>>>,
    requests: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, spans, requests) = (tls.clone(), Arc::clone(&spans), Arc::clone(&requests));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, spans, requests).await,
                // Where the client refuses the certificate, there is nothing to serve.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, spans, requests).await;
                    }
                }
            }
        });
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    spans: Arc<Mutex<Vec<ReceivedSpan>>>,
    requests: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
) {
    let answer = service_fn(|request: Request<Incoming>| {
        let (spans, requests) = (Arc::clone(&spans), Arc::clone(&requests));
        async move {
            let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
            let headers = request.headers().iter().map(|(name, value)| (name.to_string(), text(value)));
            let path = (":path".to_owned(), request.uri().path().to_owned());
            requests.lock().unwrap().push(headers.chain([path]).collect());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let sent = ExportTraceServiceRequest::decode(body).expect("what is sent is of the protocol");
            spans.lock().unwrap().extend(received(sent));
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        }
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await.ok();
}

fn received(request: ExportTraceServiceRequest) -> Vec<ReceivedSpan> {
    let mut received = Vec::new();
    for of_resource in request.resource_spans {
        let resource = attributes(&of_resource.resource.unwrap_or_default().attributes);
        for span in of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans) {
            received.push(ReceivedSpan {
                kind: span.kind,
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                links: span
                    .links
                    .iter()
                    .map(|link| (hex(&link.trace_id), hex(&link.span_id), attributes(&link.attributes)))
                    .collect(),
                attributes: attributes(&span.attributes),
                events: span.events.iter().map(|event| (event.name.clone(), attributes(&event.attributes))).collect(),
                is_error: span.status.is_some_and(|status| status.code == 2),
                began: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
                resource: resource.clone(),
                name: span.name,
            });
        }
    }
    received
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    pairs.iter().map(|pair| (pair.key.clone(), pair.value.as_ref().map(text).unwrap_or_default())).collect()
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
