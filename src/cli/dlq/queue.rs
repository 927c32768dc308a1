use std::mem::{Discriminant, discriminant};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use indicatif::ProgressBar;

use super::filter::FilterOptions;
use crate::broker::{BrokerAddress, Topology};
use crate::cli::interrupt::stop_on_signals;
use crate::cli::output::OutputOptions;
use crate::config::{BrokerOptions, TopologyMode};
use crate::dead_letters::{DeadLetters, Progress};
use crate::setting::ConfigError;
use crate::terminal::progress;

/// What each dlq command takes.
#[derive(Debug, Args)]
pub(super) struct QueueOptions {
    #[command(flatten)]
    pub(super) filter: FilterOptions,
    #[command(flatten, next_help_heading = "RabbitMQ")]
    broker: BrokerOptions,
    #[command(flatten, next_help_heading = "Output")]
    pub(super) output: OutputOptions,
}

impl QueueOptions {
    /// The queue. A first Ctrl-C ends the work and returns what is held to its place; a second one does not wait for that.
    pub(super) fn dead_letters(&self) -> Result<DeadLetters, ConfigError> {
        Ok(DeadLetters {
            address: BrokerAddress::parse(self.broker.amqp_url.as_ref())?,
            topology: Topology::new(self.broker.exchange.clone(), self.broker.queue.clone(), TopologyMode::Verify),
            stop: stop_on_signals(),
            on_progress: Box::new(progress_bars()),
        })
    }
}

/// A bar for each kind of progress, one after the other.
fn progress_bars() -> impl Fn(Progress) + Send + Sync {
    let bar: Mutex<Option<(Discriminant<Progress>, ProgressBar)>> = Mutex::default();
    move |now| {
        let (done, of, unit) = match now {
            Progress::Read(done, of) => (done, Some(of.into()), "dead letters read"),
            Progress::Replayed(done) => (done, None, "dead letters replayed"),
            Progress::Removed(done) => (done, None, "dead letters removed"),
        };
        let mut shown = bar.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, bar) = match shown.take_if(|(kind, _)| *kind == discriminant(&now)) {
            Some(same) => shown.insert(same),
            // The bar before is dropped, which clears it.
            None => shown.insert((discriminant(&now), progress(of, unit))),
        };
        bar.set_position(done.into());
    }
}
