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
use crate::config::{LogFormat, variable};

/// `RUST_LOG` is not a filter: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error(
    "RUST_LOG is unusable; allowed: off, error, warn, info, debug, trace, or directives such as info,snapshot_lifecycle=debug"
)]
pub struct LoggingError;

/// How lines get to stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stderr {
    /// Written by the task that logs, which waits for a slow reader. For commands: no line is lost.
    Direct,
    /// Written by a thread; lines that the reader is too slow for are dropped and counted. For the worker, which must not stop
    /// because a log shipper does.
    Queued,
}

/// For the lines that are not written yet when the process ends.
const FLUSH_AT_MOST: Duration = Duration::from_secs(1);

/// The process's log; [`finish`](Self::finish) ends it.
#[derive(Debug)]
pub struct Logging {
    queue: Option<&'static LogQueue>,
}

impl Logging {
    /// Starts logging. Without `RUST_LOG` the level is `info` for the worker and `default_level` where a command says so.
    ///
    /// Levels: `error`: someone must act. `warn`: unexpected, recovers without help. `info`: one line per outcome. `debug`: one line per
    /// message or batch.
    ///
    /// # Errors
    /// If `RUST_LOG` is not a filter.
    ///
    /// # Panics
    /// If no thread can be started, without which the worker could do nothing else, either.
    pub fn start(format: Option<LogFormat>, default_level: &str, way: Stderr) -> Result<Self, LoggingError> {
        let directives = variable("RUST_LOG").and_then(|value| value.into_string().ok());
        let filter = match directives.filter(|directives| !directives.is_empty()) {
            Some(directives) => EnvFilter::try_new(directives).map_err(|_| LoggingError)?,
            None => EnvFilter::new(default_level),
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

    /// Writes the remaining lines, then runs `last_words`, which may write to stderr. A stalled reader delays the end of a worker by at most
    /// a second.
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

/// Whatever RUST_LOG asks for: lapin's trace shows the password of the login and the bodies, and its errors are reported once, by us;
/// sqlx warns of URL parameters with their values.
fn shows_no_secret(metadata: &Metadata<'_>) -> bool {
    let of = |name: &str| metadata.target().starts_with(name);
    !(of("lapin") || of("amq_protocol") || (of("sqlx") && *metadata.level() > Level::ERROR))
}
