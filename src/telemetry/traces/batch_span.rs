use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::{
    Event, Link, Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use time::OffsetDateTime;
use uuid::Uuid;

use super::exporter::Exporter;
use crate::clock;
use crate::message::TraceContext;

/// The SDK keeps no more unless `OTEL_SPAN_LINK_COUNT_LIMIT` says so.
const MAX_LINKS: usize = 128;
const OPERATION_NAME: &str = "messaging.operation.name";
const OPERATION_TYPE: &str = "messaging.operation.type";
const MESSAGE_ID: &str = "messaging.message.id";
const ERROR_TYPE: &str = "error.type";

/// What happens to a batch, noted until it has ended; then its span is sent. Empty where no traces are.
///
/// Dropped before it was [`settled`](Self::settled), its span is an error: the broker delivers again what is left.
#[derive(Debug, Default)]
pub struct BatchSpan(Option<Box<Notes>>);

#[derive(Debug)]
struct Notes {
    exporter: Arc<Exporter>,
    began: OffsetDateTime,
    messages: usize,
    /// Where its messages come from, and their ids.
    origins: Vec<(TraceContext, Option<Uuid>)>,
    step_began: OffsetDateTime,
    steps: Vec<DoneStep>,
    events: Vec<Event>,
    settled: bool,
}

/// A step of a batch, a span below its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchStep {
    /// One transaction, with those that find out which message is at fault.
    Delete,
    /// Copies are published and deliveries acknowledged.
    Settle,
}

#[derive(Debug)]
struct DoneStep {
    step: BatchStep,
    began: OffsetDateTime,
    ended: OffsetDateTime,
    failed: bool,
}

/// What became of a message other than an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchEvent {
    /// What happened.
    pub name: &'static str,
    /// Why, by its closed name.
    pub reason: Option<&'static str>,
    /// To whom.
    pub message_id: Option<Uuid>,
}

impl BatchSpan {
    pub(super) fn begin(
        exporter: Arc<Exporter>,
        began: OffsetDateTime,
        messages: impl ExactSizeIterator<Item = (Option<TraceContext>, Option<Uuid>)>,
    ) -> Self {
        let number = messages.len();
        let mut origins: Vec<_> = messages.filter_map(|(context, id)| Some((context?, id))).collect();
        // What leads to a span that is recorded comes first.
        origins.sort_by_key(|(context, _)| !context.is_sampled());
        origins.truncate(MAX_LINKS);
        Self(Some(Box::new(Notes {
            exporter,
            began,
            messages: number,
            origins,
            step_began: began,
            steps: Vec::new(),
            events: Vec::new(),
            settled: false,
        })))
    }

    /// A step of the batch has ended, that began where the one before it ended.
    pub fn step(&mut self, step: BatchStep) {
        let Some(notes) = &mut self.0 else { return };
        let ended = clock::now();
        notes.steps.push(DoneStep { step, began: notes.step_began, ended, failed: false });
        notes.step_began = ended;
    }

    /// The batch is tried again after it was held.
    pub fn resume(&mut self) {
        if let Some(notes) = &mut self.0 {
            notes.step_began = clock::now();
        }
    }

    /// Messages of the batch are held, because their delete has failed as in an outage.
    pub fn held(&mut self) {
        let Some(notes) = &mut self.0 else { return };
        for step in notes.steps.iter_mut().rev().filter(|step| step.step == BatchStep::Delete).take(1) {
            step.failed = true;
        }
    }

    /// Something has become of a message.
    pub fn events(&mut self, events: impl IntoIterator<Item = BatchEvent>) {
        let Some(notes) = &mut self.0 else { return };
        let now: SystemTime = clock::now().into();
        notes.events.extend(events.into_iter().map(|BatchEvent { name, reason, message_id }| {
            let reason = reason.map(|reason| KeyValue::new("snapshot_lifecycle.reason", reason));
            let id = message_id.map(|id| KeyValue::new(MESSAGE_ID, id.to_string()));
            Event::new(name, now, reason.into_iter().chain(id).collect(), 0)
        }));
    }

    /// Each message of the batch has its outcome.
    pub fn settled(mut self) {
        if let Some(notes) = &mut self.0 {
            notes.settled = true;
        }
    }
}

impl Drop for BatchSpan {
    fn drop(&mut self) {
        if let Some(notes) = self.0.take() {
            notes.send();
        }
    }
}

impl Notes {
    fn send(self) {
        let Self { exporter, began, messages, origins, steps, events, settled, .. } = self;
        let tracer = &exporter.tracer;
        let contexts: Vec<_> = origins.iter().map(|(context, _)| span_context(context)).collect();
        // One message alone is continued: a reader sees one trace from the publisher to the delete.
        let parent = match contexts.as_slice() {
            [context] if messages == 1 => Context::new().with_remote_span_context(context.clone()),
            _ => Context::new(),
        };
        let links = contexts.into_iter().zip(&origins).map(|(context, (_, id))| {
            Link::new(context, id.iter().map(|id| KeyValue::new(MESSAGE_ID, id.to_string())).collect(), 0)
        });
        let mut attributes = exporter.attributes("process", "process");
        match (messages, origins.first()) {
            (1, Some((_, Some(id)))) => attributes.push(KeyValue::new(MESSAGE_ID, id.to_string())),
            (1, _) => {}
            _ => attributes.push(KeyValue::new("messaging.batch.message_count", count(messages))),
        }
        if !settled {
            attributes.push(KeyValue::new(ERROR_TYPE, "not_settled"));
        }
        let span = tracer
            .span_builder(format!("process {}", exporter.broker.destination))
            .with_kind(SpanKind::Consumer)
            .with_start_time(began)
            .with_attributes(attributes)
            .with_events(events)
            .with_links(links.collect());
        let span = tracer.build_with_context(span, &parent);
        let inside = parent.with_span(span);
        for step in steps {
            let (ended, failed) = (step.ended, step.failed);
            let mut child = tracer.build_with_context(step.span(&exporter), &inside);
            if failed {
                child.set_status(Status::error("held, and tried again"));
            }
            child.end_with_timestamp(ended.into());
        }
        if !settled {
            inside.span().set_status(Status::error("not settled; the broker delivers again"));
        }
        inside.span().end();
    }
}

impl DoneStep {
    fn span(self, exporter: &Exporter) -> SpanBuilder {
        let (name, mut attributes) = match self.step {
            BatchStep::Delete => (
                "DELETE snapshots".to_owned(),
                vec![
                    KeyValue::new("db.system.name", "postgresql"),
                    KeyValue::new("db.operation.name", "DELETE"),
                    KeyValue::new("db.collection.name", "snapshots"),
                ],
            ),
            BatchStep::Settle => {
                (format!("settle {}", exporter.broker.destination), exporter.attributes("settle", "settle"))
            }
        };
        if self.failed {
            attributes.push(KeyValue::new(ERROR_TYPE, "held"));
        }
        let span = SpanBuilder::from_name(name).with_kind(SpanKind::Client).with_start_time(self.began);
        span.with_attributes(attributes)
    }
}

impl Exporter {
    fn attributes(&self, name: &'static str, kind: &'static str) -> Vec<KeyValue> {
        vec![
            KeyValue::new("messaging.system", "rabbitmq"),
            KeyValue::new(OPERATION_NAME, name),
            KeyValue::new(OPERATION_TYPE, kind),
            KeyValue::new("messaging.destination.name", self.broker.destination.clone()),
            KeyValue::new("server.address", self.broker.host.clone()),
            KeyValue::new("server.port", i64::from(self.broker.port)),
        ]
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn span_context(context: &TraceContext) -> SpanContext {
    let state = context.state().and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
    let flags = TraceFlags::new(context.flags());
    SpanContext::new(TraceId::from(context.trace_id()), SpanId::from(context.span_id()), flags, true, state)
}
