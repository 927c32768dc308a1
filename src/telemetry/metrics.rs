use prometheus::{Encoder, Registry, TextEncoder};

use super::dependency::Dependency;
use super::families::{Buckets, Counter, Gauge, Histogram, register};
use super::labels::{Lease, MessageOutcome, OutboxOutcome, Version};
use super::log_queue::LINES_DROPPED;
use crate::message::Reason;
use crate::policy::{Activity, PassName, Rule};

/// Declares the metrics: the doc comment is the help text, the type the kind and the label.
macro_rules! metrics {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $set:ident {
            $(#[doc = $help:literal] $field:ident: $kind:ty = $name:literal $(in $buckets:expr)?;)+
        }
    ) => {
        $(#[$meta])*
        $visibility struct $set {
            registry: Registry,
            $(#[doc = $help] pub $field: $kind,)+
        }

        impl $set {
            /// Declares every metric.
            ///
            /// # Panics
            /// Never: names and labels are constants, and a test calls this.
            #[must_use]
            pub fn new() -> Self {
                let registry = Registry::new();
                // One for the process, as stderr is.
                register(&registry, LINES_DROPPED.clone());
                let metrics = Self {
                    $($field: <$kind>::declare(&registry, $name, $help.trim_ascii() $(, $buckets)?),)+
                    registry,
                };
                metrics.build_info.set_for(Version, 1.0);
                metrics
            }
        }
    };
}

metrics! {
    /// Every metric of the program, each declared once; every series starts at zero.
    #[derive(Clone)]
    pub struct Metrics {
        /// Messages by outcome.
        messages: Counter<MessageOutcome> = "messages_total";
        /// Messages put into the dead-letter queue, by reason.
        dead_letters: Counter<Reason> = "dead_letters_total";
        /// Deleted snapshots, by the rule that named them.
        snapshots_deleted: Counter<Rule> = "snapshots_deleted_total";
        /// Time from the first message of a batch to its last acknowledgement.
        batch_seconds: Histogram = "batch_seconds" in Buckets { first: 0.001, factor: 2.5, count: 12 };
        /// Messages per batch.
        batch_messages: Histogram = "batch_messages" in Buckets { first: 1.0, factor: 2.0, count: 12 };
        /// Time from occurred_at to the commit.
        message_age_seconds: Histogram = "message_age_seconds" in Buckets { first: 0.005, factor: 4.0, count: 14 };
        /// Expired snapshots that are not deleted yet: the TTL backlog.
        expired_snapshots: Gauge = "expired_snapshots";
        /// Time since the oldest expired snapshot that is not deleted yet expired.
        oldest_expired_seconds: Gauge = "oldest_expired_seconds";
        /// When any replica last completed a pass, in seconds since 1970; 0 is never.
        last_pass: Gauge<PassName> = "last_pass_timestamp_seconds";
        /// Leases that this process took because the holder before it had not released them: it died, or was cut off.
        lease_takeovers: Counter<Lease> = "lease_takeovers_total";
        /// Duration of the passes of this process.
        pass_seconds: Histogram<PassName> = "pass_seconds" in Buckets { first: 0.005, factor: 2.5, count: 12 };
        /// Messages in the dead-letter queue.
        dead_letter_queue_messages: Gauge = "dead_letter_queue_messages";
        /// Messages ready in the queue, without those in flight.
        queue_messages: Gauge = "queue_messages";
        /// Messages that wait for another attempt.
        wait_queue_messages: Gauge = "wait_queue_messages";
        /// Attempts of this process to publish a record of the outbox, by outcome.
        outbox_messages: Counter<OutboxOutcome> = "outbox_messages_total";
        /// Records of the outbox that wait to be published.
        outbox_pending: Gauge = "outbox_pending";
        /// Age of the oldest record of the outbox that waits.
        outbox_oldest_seconds: Gauge = "outbox_oldest_seconds";
        /// 1 if the dependency was up when last used, else 0.
        up: Gauge<Dependency> = "up";
        /// 1 if an operator has paused it for the whole fleet, else 0.
        paused: Gauge<Activity> = "paused";
        /// Always 1; the label is the program's version.
        build_info: Gauge<Version> = "build_info";
    }
}

impl Metrics {
    /// Counts one dead letter.
    pub fn count_dead_letter(&self, reason: Reason) {
        self.messages.add(MessageOutcome::DeadLettered, 1);
        self.dead_letters.add(reason, 1);
    }

    /// Notes how old a message was when its work was committed. A publisher's clock that is ahead of ours counts as no age.
    pub fn observe_age(&self, age: time::Duration) {
        self.message_age_seconds.observe(age.as_seconds_f64().max(0.0));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_of_every_metric_starts_at_zero() {
        let text = String::from_utf8(Metrics::new().render()).unwrap();
        let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert_eq!(families.len(), 21, "{families:#?}");
        let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        for line in &series {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value == "0" || name.contains("log_lines_dropped") || name.contains("build_info"), "{line}");
        }
        for (label, name) in [
            ("outcome=\"retried\"", "messages_total"),
            ("reason=\"delivery_limit\"", "dead_letters_total"),
            ("rule=\"event_end\"", "snapshots_deleted_total"),
            ("rule=\"cap\"", "pass_seconds_count"),
            ("rule=\"ttl\"", "last_pass_timestamp_seconds"),
            ("outcome=\"failed\"", "outbox_messages_total"),
            ("dependency=\"rabbitmq\"", "up"),
            ("lease=\"outbox\"", "lease_takeovers_total"),
            ("what=\"consume\"", "paused"),
        ] {
            let expected = format!("snapshot_lifecycle_{name}{{{label}}} 0");
            assert!(series.contains(&expected.as_str()), "{expected}\n{text}");
        }
        assert!(!text.contains("rule=\"event_end\"} 0\nsnapshot_lifecycle_last_pass"), "an event's end is no pass");
    }
}
