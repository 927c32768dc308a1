//! Configuration, one file per topic: flags, or environment variables of the same meaning; the flag wins.
//!
//! Each value is checked when it is read, at the start. Secrets are taken as they are, so that no error quotes them, and
//! checked by the module that understands them, which answers with a [`ConfigError`].

mod broker;
mod database;
mod duration;
mod http;
mod log;
mod passes;
mod process;
mod secret_files;

pub(crate) use broker::name as broker_name;
pub use broker::{BrokerOptions, MessageOptions, TopologyMode};
pub use database::DatabaseOptions;
pub use duration::parse_duration;
pub use http::HttpOptions;
pub use log::{LogFormat, LogOptions};
pub use passes::{CapOption, DeleteRate, PassOptions, RateOption};
pub use process::{Environment, ProcessOptions};
pub use secret_files::{SecretFileError, values_from_files};

/// A value that the program cannot work with: exit code 2. Names the variable and what is allowed, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is missing or unusable; allowed: {allowed}")]
pub struct ConfigError {
    /// The environment variable.
    pub variable: &'static str,
    /// The form that it takes.
    pub allowed: String,
}

impl ConfigError {
    /// Names the variable and the form that it takes.
    pub fn new(variable: &'static str, allowed: impl Into<String>) -> Self {
        Self { variable, allowed: allowed.into() }
    }
}
