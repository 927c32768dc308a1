use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

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
    let mut filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(directives).map_err(|_| LoggingError)?,
        _ => EnvFilter::new(default_level),
    };
    // Whatever RUST_LOG asks for: lapin's trace shows the password of the login and the bodies, and its errors are ours to
    // report, once; sqlx warns of URL parameters with their values.
    for capped in ["lapin=off", "sqlx=error"] {
        filter = filter.add_directive(capped.parse().map_err(|_| LoggingError)?);
    }
    let terminal = stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let subscriber = fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    match format {
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
        LogFormat::Text => subscriber.with_ansi(terminal).init(),
    }
    Ok(())
}
