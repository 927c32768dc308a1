use std::backtrace::Backtrace;
use std::io::{IsTerminal, stderr};
use std::panic::set_hook;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use super::log_queue::LogQueue;
use crate::config::LogFormat;

/// `RUST_LOG` that is no filter: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error(
    "RUST_LOG is unusable; allowed: off, error, warn, info, debug, trace, or directives such as info,snapshot_lifecycle=debug"
)]
pub struct LoggingError;

/// How lines get to stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stderr {
    /// Written by whoever logs, who waits for a reader that is slow. For commands: nothing of an answer is lost.
    Direct,
    /// Written by a thread; what the reader does not keep up with is dropped and counted. For the worker, which must not stand still
    /// because a log shipper does.
    Queued,
}

/// For what is left to be written when the process ends.
const FLUSH_AT_MOST: Duration = Duration::from_secs(1);

/// The process's log, which is told when the process ends.
#[derive(Debug)]
pub struct Logging {
    queue: Option<&'static LogQueue>,
}

impl Logging {
    /// Starts logging. Without `RUST_LOG` the level is `info` for the worker and `default_level` where a command says so.
    ///
    /// Levels: `error` wants a person, `warn` mends itself but was not expected, `info` is one line an outcome, `debug` one line
    /// a message or batch.
    ///
    /// # Errors
    /// Where `RUST_LOG` is no filter.
    ///
    /// # Panics
    /// Where no thread can be started, without which nothing of the worker could be, either.
    pub fn start(format: Option<LogFormat>, default_level: &str, way: Stderr) -> Result<Self, LoggingError> {
        let filter = match std::env::var("RUST_LOG") {
            Ok(directives) if !directives.is_empty() => EnvFilter::try_new(directives).map_err(|_| LoggingError)?,
            _ => EnvFilter::new(default_level),
        };
        let terminal = stderr().is_terminal();
        let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
        let queue = (way == Stderr::Queued).then(|| LogQueue::start().expect("a thread can be started"));
        let writer = queue.map_or_else(|| BoxMakeWriter::new(stderr), BoxMakeWriter::new);
        let lines = fmt::layer().with_writer(writer).with_target(false);
        let lines = match format {
            LogFormat::Json => lines
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .with_filter(filter)
                .boxed(),
            LogFormat::Text => lines.with_ansi(terminal).with_filter(filter).boxed(),
        };
        registry().with(filter_fn(shows_no_secret)).with(lines).init();
        if queue.is_some() {
            // The default hook writes to stderr itself, and would wait for the reader.
            set_hook(Box::new(|panic| tracing::error!(backtrace = %Backtrace::capture(), "{panic}")));
        }
        Ok(Self { queue })
    }

    /// Writes what is left, then says the last words, which may write to stderr. A reader that stalls does not hold up the end of a worker
    /// for more than a second.
    pub fn finish(self, last_words: impl FnOnce() + Send + 'static) {
        let Some(queue) = self.queue else { return last_words() };
        let (said, all_said) = mpsc::channel();
        thread::spawn(move || {
            queue.flush(FLUSH_AT_MOST);
            last_words();
            said.send(()).ok();
        });
        all_said.recv_timeout(FLUSH_AT_MOST).ok();
    }
}

/// Whatever RUST_LOG asks for, however precisely: lapin's trace shows the password of the login and the bodies, and its errors are ours
/// to report, once; sqlx warns of URL parameters with their values.
fn shows_no_secret(metadata: &Metadata<'_>) -> bool {
    let of = |name: &str| metadata.target().starts_with(name);
    !(of("lapin") || of("amq_protocol") || (of("sqlx") && *metadata.level() > Level::ERROR))
}
