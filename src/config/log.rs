use clap::{Args, ValueEnum};

/// How logs are written. They go to stderr; `RUST_LOG` sets the levels.
#[derive(Debug, Clone, Copy, Args)]
pub struct LogOptions {
    /// Format of the logs on stderr, json or text [default: text on a terminal, json elsewhere]
    #[arg(
        long,
        env = "LIFECYCLE_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        hide_possible_values = true,
        global = true,
        help_heading = "Logging"
    )]
    pub log_format: Option<LogFormat>,
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}
