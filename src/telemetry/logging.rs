use std::io::{IsTerminal, stderr};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use crate::config::LogFormat;

/// `RUST_LOG` that is no filter: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error(
    "RUST_LOG is unusable; allowed: off, error, warn, info, debug, trace, or directives such as info,snapshot_lifecycle=debug"
)]
pub struct LoggingError;

/// Starts logging to stderr. Without `RUST_LOG` the level is `info` for the worker and `default_level` where a command says so.
///
/// Levels: `error` wants a person, `warn` mends itself but was not expected, `info` is one line an outcome, `debug` one line
/// a message or batch.
pub fn init(format: Option<LogFormat>, default_level: &str) -> Result<(), LoggingError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(directives).map_err(|_| LoggingError)?,
        _ => EnvFilter::new(default_level),
    };
    let terminal = stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let lines = fmt::layer().with_writer(stderr).with_target(false);
    let lines = match format {
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).with_filter(filter).boxed()
        }
        LogFormat::Text => lines.with_ansi(terminal).with_filter(filter).boxed(),
    };
    registry().with(filter_fn(shows_no_secret)).with(lines).init();
    Ok(())
}

/// Whatever RUST_LOG asks for, however precisely: lapin's trace shows the password of the login and the bodies, and its errors are ours
/// to report, once; sqlx warns of URL parameters with their values.
fn shows_no_secret(metadata: &Metadata<'_>) -> bool {
    let of = |name: &str| metadata.target().starts_with(name);
    !(of("lapin") || of("amq_protocol") || (of("sqlx") && *metadata.level() > Level::ERROR))
}
