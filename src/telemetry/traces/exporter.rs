use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use uuid::Uuid;

use super::collector::Collector;
use super::sampler::sampler;
use crate::config::TraceOptions;

/// Which version of the conventions the names are of.
const CONVENTIONS: &str = "https://opentelemetry.io/schemas/1.37.0";

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

impl Exporter {
    /// Starts a thread that sends spans. To be called on the worker's runtime.
    ///
    /// # Errors
    /// Where it cannot be made, with the reason.
    pub(super) fn start(options: TraceOptions, broker: TracedBroker) -> Result<Self, String> {
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
        Ok(Self { provider, tracer, broker })
    }

    /// Sends what is not sent yet, for at most this long.
    pub(super) async fn finish(&self, at_most: Duration) {
        // It waits for its thread, which waits for this runtime.
        let provider = self.provider.clone();
        let finished = spawn_blocking(move || provider.shutdown_with_timeout(at_most));
        timeout(at_most, finished).await.ok();
    }
}
