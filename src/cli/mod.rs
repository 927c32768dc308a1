//! The commands: one file each, `Options` whose doc comments are the help, and `run`.
//!
//! Exit codes: 0 done, 1 failed with the reason on stderr, 2 wrong usage or configuration.

mod arguments;
mod completions;
mod database;
mod delete_event;
mod dlq;
mod doctor;
mod evict;
mod healthcheck;
mod interrupt;
mod listing;
mod man;
mod migrate;
mod one_pass;
mod outbox;
mod output;
mod pause;
mod paused;
mod publish;
mod resume;
mod retention;
mod run;
mod snapshots;
mod sweep;
mod topology;
mod usage_error;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::usage_error::UsageError;
use crate::config::{LogOptions, variable_of};
use crate::setting::ConfigError;
use crate::telemetry::{Logging, Stderr};

/// Keeps the snapshots table of a venue-booking backend clean
///
/// Deletes an event's snapshots when the event is confirmed or cancelled, sweeps expired snapshots, and evicts the oldest above a
/// cap per team. Every flag can be given as the environment variable named beside it; a variable with _FILE appended
/// names a file that holds the value. Levels of the logs on stderr: RUST_LOG.
#[derive(Debug, Parser)]
#[command(name = "snapshot-lifecycle", version, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    log: LogOptions,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Options),
    Migrate(migrate::Options),
    Publish(publish::Options),
    DeleteEvent(delete_event::Options),
    Sweep(sweep::Options),
    Evict(evict::Options),
    Pause(pause::Options),
    Resume(resume::Options),
    Dlq(dlq::Options),
    Retention(retention::Options),
    Outbox(outbox::Options),
    Snapshots(snapshots::Options),
    Topology(topology::Options),
    Doctor(doctor::Options),
    Healthcheck(healthcheck::Options),
    Completions(completions::Options),
    Man(man::Options),
}

/// The whole program, from the arguments to the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli: Cli = match arguments::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    // The worker logs what it does; a command answers on stdout and logs only the unexpected.
    let worker = matches!(cli.command, Command::Run(_));
    let (level, way) = if worker { ("info", Stderr::Queued) } else { ("warn", Stderr::Direct) };
    let logging = match Logging::start(cli.log.log_format, level, way) {
        Ok(logging) => logging,
        Err(error) => {
            output::error(&error.into());
            return ExitCode::from(2);
        }
    };
    let mut builder = if worker {
        // One thread: the pipeline is as fast with one as with two, and takes half the CPU. lapin has its own.
        tokio::runtime::Builder::new_current_thread()
    } else {
        // One beside the main thread, which a slow reader of stdout may block for any time: heartbeats go on meanwhile.
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1);
        builder
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&error.into());
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(cli.command.run());
    // A task that hangs on a server must not hold up the exit.
    runtime.shutdown_background();
    let (code, error) = match result {
        Ok(code) => (code, None),
        Err(error) => match error.downcast_ref() {
            Some(ConfigError { setting, allowed, .. }) => {
                let variable = variable_of(*setting);
                (ExitCode::from(2), Some(anyhow::anyhow!("{variable} is missing or unusable; allowed: {allowed}")))
            }
            None if error.is::<UsageError>() => (ExitCode::from(2), Some(error)),
            None => (ExitCode::FAILURE, Some(error)),
        },
    };
    logging.finish(move || error.iter().for_each(output::error));
    code
}

impl Command {
    async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(options) => options.run().await,
            Self::Migrate(options) => options.run().await,
            Self::Publish(options) => options.run().await,
            Self::DeleteEvent(options) => options.run().await,
            Self::Sweep(options) => options.run().await,
            Self::Evict(options) => options.run().await,
            Self::Pause(options) => options.run().await,
            Self::Resume(options) => options.run().await,
            Self::Dlq(options) => options.run().await,
            Self::Retention(options) => options.run().await,
            Self::Outbox(options) => options.run().await,
            Self::Snapshots(options) => options.run().await,
            Self::Topology(options) => options.run(),
            Self::Doctor(options) => options.run().await,
            Self::Healthcheck(options) => options.run().await,
            Self::Completions(options) => options.run(Cli::command()),
            // Not the command that was parsed: there, values from files are defaults, and may be secret.
            Self::Man(options) => options.run(Cli::command()),
        }
    }
}
