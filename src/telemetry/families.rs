//! The kinds of metrics, typed by their label: a closed set, so that every series exists, at zero, from the start.

use std::marker::PhantomData;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::labels::Label;

/// A counter with one label.
#[derive(Clone)]
pub struct Counter<L> {
    family: IntCounterVec,
    label: PhantomData<L>,
}

impl<L: Label> Counter<L> {
    pub(super) fn declare(registry: &Registry, name: &str, help: &str) -> Self {
        let family = IntCounterVec::new(options(name, help), L::NAME.as_slice()).expect("constant name and labels");
        register(registry, family.clone());
        for value in L::all() {
            family.with_label_values(value.text().as_slice());
        }
        Self { family, label: PhantomData }
    }

    /// Counts this many more.
    pub fn add(&self, label: L, count: u64) {
        self.family.with_label_values(label.text().as_slice()).inc_by(count);
    }
}

/// A gauge; without a label `L` is `()`.
#[derive(Clone)]
pub struct Gauge<L = ()> {
    family: GaugeVec,
    label: PhantomData<L>,
}

impl<L: Label> Gauge<L> {
    pub(super) fn declare(registry: &Registry, name: &str, help: &str) -> Self {
        let family = GaugeVec::new(options(name, help), L::NAME.as_slice()).expect("constant name and labels");
        register(registry, family.clone());
        for value in L::all() {
            family.with_label_values(value.text().as_slice());
        }
        Self { family, label: PhantomData }
    }

    /// Sets the gauge of this label.
    pub fn set_for(&self, label: L, value: f64) {
        self.family.with_label_values(label.text().as_slice()).set(value);
    }
}

impl Gauge {
    /// Sets the gauge.
    pub fn set(&self, value: f64) {
        self.set_for((), value);
    }
}

/// A histogram; without a label `L` is `()`.
#[derive(Clone)]
pub struct Histogram<L = ()> {
    family: HistogramVec,
    label: PhantomData<L>,
}

/// Upper bounds of a histogram's buckets, each a multiple of the one before.
#[derive(Clone, Copy)]
pub(super) struct Buckets {
    pub(super) first: f64,
    pub(super) factor: f64,
    pub(super) count: usize,
}

impl<L: Label> Histogram<L> {
    pub(super) fn declare(registry: &Registry, name: &str, help: &str, buckets: Buckets) -> Self {
        let Buckets { first, factor, count } = buckets;
        let buckets = prometheus::exponential_buckets(first, factor, count).expect("constant buckets");
        let options = HistogramOpts::from(options(name, help)).buckets(buckets);
        let family = HistogramVec::new(options, L::NAME.as_slice()).expect("constant name and labels");
        register(registry, family.clone());
        for value in L::all() {
            family.with_label_values(value.text().as_slice());
        }
        Self { family, label: PhantomData }
    }

    /// Notes how long something of this label took.
    pub fn observe_for(&self, label: L, took: Duration) {
        self.family.with_label_values(label.text().as_slice()).observe(took.as_secs_f64());
    }
}

impl Histogram {
    /// Notes one value.
    pub fn observe(&self, value: f64) {
        self.family.with_label_values(().text().as_slice()).observe(value);
    }
}

pub(super) fn register(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect("each metric is declared once");
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("snapshot_lifecycle_{name}"), help)
}
