use std::time::Duration;

use clap::{Args, ValueEnum};

use super::duration::parse_duration;

/// The process as a whole.
#[derive(Debug, Clone, Copy, Args)]
pub struct ProcessOptions {
    /// development adds details to health answers
    #[arg(long = "env", env = "LIFECYCLE_ENV", value_enum, default_value_t = Environment::Production)]
    pub environment: Environment,

    /// Time to finish what is in flight after SIGTERM, SIGINT, SIGHUP or SIGQUIT
    #[arg(long, env = "LIFECYCLE_SHUTDOWN_TIMEOUT", value_name = "DURATION", default_value = "20s", value_parser = parse_duration)]
    pub shutdown_timeout: Duration,
}

/// Where the worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// Health answers say nothing but ok or unavailable.
    Production,
    /// Health answers say why.
    Development,
}
