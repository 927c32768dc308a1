use std::time::Duration;

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::Dependency;
use super::log_queue::LINES_DROPPED;
use crate::message::Reason;
use crate::policy::Rule;

/// What became of a message, as the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its snapshots are gone, or there were none.
    Applied,
    /// Its status ends nothing.
    Ignored,
    /// It failed by itself and waits for another try.
    Retried,
    /// It is in the dead-letter queue.
    DeadLettered,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Applied, Self::Ignored, Self::Retried, Self::DeadLettered];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Ignored => "ignored",
            Self::Retried => "retried",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

/// Every metric of the program, each declared once; every series is there at zero from the start.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    messages: IntCounterVec,
    dead_letters: IntCounterVec,
    snapshots_deleted: IntCounterVec,
    batch_seconds: Histogram,
    batch_messages: Histogram,
    message_age_seconds: Histogram,
    expired_snapshots: IntGauge,
    oldest_expired_seconds: Gauge,
    last_pass: GaugeVec,
    pass_seconds: HistogramVec,
    dead_letter_queue_messages: IntGauge,
    queue_messages: IntGauge,
    wait_queue_messages: IntGauge,
    outbox_messages: IntCounterVec,
    outbox_pending: IntGauge,
    outbox_oldest_seconds: IntGauge,
    up: IntGaugeVec,
}

/// The rules that are passes over the whole table.
const PASSES: [Rule; 2] = [Rule::Ttl, Rule::Cap];

impl Metrics {
    /// Declares everything.
    ///
    /// # Panics
    /// Never: names and labels are constants, and a test calls this.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one declaration after the other")]
    pub fn new() -> Self {
        let registry = Registry::new();
        register(&registry, LINES_DROPPED.clone());

        Self {
            messages: counter(
                &registry,
                "messages_total",
                "Messages by what became of them.",
                "outcome",
                Outcome::ALL.map(Outcome::as_str),
            ),
            dead_letters: counter(
                &registry,
                "dead_letters_total",
                "Messages put into the dead-letter queue by reason.",
                "reason",
                Reason::ALL.map(Reason::as_str),
            ),
            snapshots_deleted: counter(
                &registry,
                "snapshots_deleted_total",
                "Snapshots deleted by the rule that took them.",
                "rule",
                Rule::ALL.map(Rule::as_str),
            ),
            batch_seconds: histogram(
                &registry,
                "batch_seconds",
                "Time from taking a batch of messages to its last acknowledgement.",
                seconds(0.001),
            ),
            batch_messages: histogram(
                &registry,
                "batch_messages",
                "Messages a batch.",
                prometheus::exponential_buckets(1.0, 2.0, 12),
            ),
            message_age_seconds: histogram(
                &registry,
                "message_age_seconds",
                "Time from occurred_at to the commit.",
                prometheus::exponential_buckets(0.005, 4.0, 14),
            ),
            expired_snapshots: gauge(
                &registry,
                "expired_snapshots",
                "Expired snapshots that are still there: the TTL backlog.",
            ),
            oldest_expired_seconds: float_gauge(
                &registry,
                "oldest_expired_seconds",
                "Time since the oldest expired snapshot that is still there expired.",
            ),
            last_pass: {
                let opts = opts(
                    "last_pass_timestamp_seconds",
                    "When the fleet's last pass ended well, seconds since 1970; 0 is never.",
                );
                let family = GaugeVec::new(opts, &["rule"]).expect("constant name and labels");
                register(&registry, family.clone());
                for rule in PASSES {
                    family.with_label_values(&[rule.as_str()]);
                }
                family
            },
            pass_seconds: {
                let opts = HistogramOpts::from(opts("pass_seconds", "Duration of passes by this process."))
                    .buckets(seconds(0.005).expect("constant buckets"));
                let family = HistogramVec::new(opts, &["rule"]).expect("constant name and labels");
                register(&registry, family.clone());
                for rule in PASSES {
                    family.with_label_values(&[rule.as_str()]);
                }
                family
            },
            dead_letter_queue_messages: gauge(
                &registry,
                "dead_letter_queue_messages",
                "Messages in the dead-letter queue.",
            ),
            queue_messages: gauge(&registry, "queue_messages", "Messages ready in the queue, without those in flight."),
            wait_queue_messages: gauge(&registry, "wait_queue_messages", "Messages that wait for another attempt."),
            outbox_messages: counter(
                &registry,
                "outbox_messages_total",
                "Tries of this process to publish a record of the outbox, by how they ended.",
                "outcome",
                ["published", "failed"],
            ),
            outbox_pending: gauge(&registry, "outbox_pending", "Records of the outbox that wait to be published."),
            outbox_oldest_seconds: gauge(
                &registry,
                "outbox_oldest_seconds",
                "Time since the oldest record that waits was made.",
            ),
            up: {
                let family =
                    IntGaugeVec::new(opts("up", "1 where the dependency is up, as last seen."), &["dependency"])
                        .expect("constant name and labels");
                register(&registry, family.clone());
                for dependency in Dependency::ALL {
                    family.with_label_values(&[dependency.as_str()]);
                }
                family
            },
            registry,
        }
    }

    /// Counts messages by what became of them.
    pub fn count_messages(&self, outcome: Outcome, count: u64) {
        self.messages.with_label_values(&[outcome.as_str()]).inc_by(count);
    }

    /// Counts one dead letter.
    pub fn count_dead_letter(&self, reason: Reason) {
        self.count_messages(Outcome::DeadLettered, 1);
        self.dead_letters.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts deleted rows.
    pub fn count_deleted(&self, rule: Rule, rows: u64) {
        self.snapshots_deleted.with_label_values(&[rule.as_str()]).inc_by(rows);
    }

    /// Notes one batch.
    pub fn observe_batch(&self, messages: usize, took: Duration) {
        self.batch_messages.observe(messages as f64);
        self.batch_seconds.observe(took.as_secs_f64());
    }

    /// Notes how old a message was when its work was committed. A publisher's clock ahead of ours counts as no age.
    pub fn observe_age(&self, seconds: f64) {
        self.message_age_seconds.observe(seconds.max(0.0));
    }

    /// Notes one pass by this process.
    pub fn observe_pass(&self, rule: Rule, took: Duration) {
        self.pass_seconds.with_label_values(&[rule.as_str()]).observe(took.as_secs_f64());
    }

    /// Sets when the fleet's last pass ended well, seconds since 1970.
    pub fn set_last_pass(&self, rule: Rule, timestamp: f64) {
        self.last_pass.with_label_values(&[rule.as_str()]).set(timestamp);
    }

    /// Sets the TTL backlog.
    pub fn set_expired(&self, rows: i64, oldest_seconds: f64) {
        self.expired_snapshots.set(rows);
        self.oldest_expired_seconds.set(oldest_seconds);
    }

    /// Sets the depths of the queues; what waits keeps its last value where it is not known.
    pub fn set_queue_messages(&self, queue: u32, dead_letters: u32, waiting: Option<u32>) {
        self.queue_messages.set(queue.into());
        self.dead_letter_queue_messages.set(dead_letters.into());
        if let Some(waiting) = waiting {
            self.wait_queue_messages.set(waiting.into());
        }
    }

    /// Counts records of the outbox that were published, and those that could not be.
    pub fn count_outbox(&self, published: usize, failed: usize) {
        self.outbox_messages.with_label_values(&["published"]).inc_by(published as u64);
        self.outbox_messages.with_label_values(&["failed"]).inc_by(failed as u64);
    }

    /// Sets the outbox's backlog.
    pub fn set_outbox(&self, pending: i64, oldest_seconds: i64) {
        self.outbox_pending.set(pending);
        self.outbox_oldest_seconds.set(oldest_seconds);
    }

    pub(super) fn set_up(&self, dependency: Dependency, up: bool) {
        self.up.with_label_values(&[dependency.as_str()]).set(up.into());
    }

    /// Prometheus text, format 0.0.4.
    ///
    /// # Panics
    /// Never: writing into memory does not fail.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing into memory does not fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("snapshot_lifecycle_{name}"), help)
}

fn register(registry: &Registry, collector: impl prometheus::core::Collector + 'static) {
    registry.register(Box::new(collector)).expect("each metric is declared once");
}

fn counter<const N: usize>(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
    values: [&str; N],
) -> IntCounterVec {
    let family = IntCounterVec::new(opts(name, help), &[label]).expect("constant name and labels");
    register(registry, family.clone());
    for value in values {
        family.with_label_values(&[value]);
    }
    family
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::with_opts(opts(name, help)).expect("constant name");
    register(registry, gauge.clone());
    gauge
}

fn float_gauge(registry: &Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::with_opts(opts(name, help)).expect("constant name");
    register(registry, gauge.clone());
    gauge
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: prometheus::Result<Vec<f64>>) -> Histogram {
    let buckets = buckets.expect("constant buckets");
    let histogram = Histogram::with_opts(HistogramOpts::from(opts(name, help)).buckets(buckets))
        .expect("constant name and buckets");
    register(registry, histogram.clone());
    histogram
}

fn seconds(first: f64) -> prometheus::Result<Vec<f64>> {
    prometheus::exponential_buckets(first, 2.5, 12)
}
