use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use time::OffsetDateTime;
use tokio::time::timeout;
use uuid::Uuid;

use super::batch_span::BatchSpan;
use super::collector::Collector;
use super::sampler::sampler;
use crate::config::TraceOptions;
use crate::message::TraceContext;

/// Which version of the conventions the names are of.
const CONVENTIONS: &str = "https://opentelemetry.io/schemas/1.37.0";

/// The process's traces; cheap to clone. [`finish`](Self::finish) ends them.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Exporter>>);

#[derive(Debug)]
pub(super) struct Exporter {
    provider: SdkTracerProvider,
    pub(super) tracer: SdkTracer,
    pub(super) broker: TracedBroker,
}

/// Where messages come from, as spans name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedBroker {
    /// Exchange and queue, with a colon between them.
    pub destination: String,
    /// The broker's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Traces {
    /// Starts a thread that sends spans, where the options name a collector. To be called on the worker's runtime.
    ///
    /// # Errors
    /// Where the exporter cannot be made, with the reason.
    pub fn start(options: Option<TraceOptions>, broker: TracedBroker) -> Result<Self, String> {
        let Some(options) = options else { return Ok(Self::default()) };
        let https = options.endpoint.scheme() == "https";
        let collector = Collector::new(https, options.timeout)
            .map_err(|error| format!("certificates for https cannot be read: {error}; SSL_CERT_FILE names a file"))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(options.endpoint)
            .with_timeout(options.timeout)
            .with_http_client(collector)
            .build()
            .map_err(|error| error.to_string())?;
        let mut resource = Resource::builder().with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", Uuid::new_v4().to_string()),
        ]);
        if !options.has_service_name {
            resource = resource.with_service_name(env!("CARGO_PKG_NAME"));
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler(options.sampler))
            .with_resource(resource.build())
            .build();
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(CONVENTIONS)
            .build();
        let tracer = provider.tracer_with_scope(scope);
        Ok(Self(Some(Arc::new(Exporter { provider, tracer, broker }))))
    }

    /// The span of a batch that has begun then, with one entry for each message: where it comes from, and its id. Without a collector nothing
    /// is taken from the iterator.
    #[must_use]
    pub fn batch(
        &self,
        began: OffsetDateTime,
        messages: impl ExactSizeIterator<Item = (Option<TraceContext>, Option<Uuid>)>,
    ) -> BatchSpan {
        match &self.0 {
            Some(exporter) => BatchSpan::begin(Arc::clone(exporter), began, messages),
            None => BatchSpan::default(),
        }
    }

    /// Sends what has ended and is not sent yet, for so long at most.
    pub async fn finish(self, at_most: Duration) {
        let Some(exporter) = self.0 else { return };
        // It waits for its thread, which waits for this runtime.
        let finished = tokio::task::spawn_blocking(move || exporter.provider.shutdown_with_timeout(at_most));
        timeout(at_most, finished).await.ok();
    }
}
