//! Traces, where `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector: one span for each batch, that continues the traces of its messages.
//!
//! The spans are built when a batch has ended, out of the times that were noted; nothing is built for each message. Without a collector a
//! [`BatchSpan`] is empty, and no header is read. Names and attributes follow OpenTelemetry's semantic conventions for messaging and for
//! RabbitMQ, which are still in development.
//!
//! <https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/>

mod batch_span;
mod collector;
mod exporter;
mod process;
mod sampler;

pub use batch_span::{BatchEvent, BatchSpan, BatchStep};
pub use exporter::TracedBroker;
pub use process::Traces;
