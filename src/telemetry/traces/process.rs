use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::batch_span::BatchSpan;
use super::exporter::{Exporter, TracedBroker};
use crate::config::TraceOptions;
use crate::message::TraceContext;

/// The process's traces; cheap to clone. [`finish`](Self::finish) ends them.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Exporter>>);

impl Traces {
    /// Starts a thread that sends spans, where the options name a collector. To be called on the worker's runtime.
    ///
    /// # Errors
    /// Where the exporter cannot be made, with the reason.
    pub fn start(options: Option<TraceOptions>, broker: TracedBroker) -> Result<Self, String> {
        let exporter = options.map(|options| Exporter::start(options, broker)).transpose()?;
        Ok(Self(exporter.map(Arc::new)))
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

    /// Sends what has ended and is not sent yet, for at most this long.
    pub async fn finish(self, at_most: Duration) {
        if let Some(exporter) = self.0 {
            exporter.finish(at_most).await;
        }
    }
}
