//! Configuration, one file per topic: flags, or environment variables of the same meaning; the flag wins.
//!
//! Each value is checked when it is read, at the start. Secrets are taken as they are, so that no error quotes them, and
//! checked by the module that understands them, which answers with a [`ConfigError`](crate::setting::ConfigError).

mod broker;
mod command_variables;
mod database;
mod duration;
mod http;
mod log;
mod passes;
mod percent;
mod process;
mod secret_files;
mod traces;
mod variables;
mod worker;

pub(crate) use broker::name as broker_name;
pub use broker::{BrokerOptions, MessageOptions, TopologyMode};
pub use command_variables::{used_variables, variable_named_in, variables, with_values};
pub use database::DatabaseOptions;
pub use duration::{parse_duration, parse_whole_seconds};
pub use http::HttpOptions;
pub use log::{LogFormat, LogOptions};
pub use passes::{CapOption, DeleteRate, PassOptions, RateOption};
pub use percent::parse_percent;
pub use process::{Environment, ProcessOptions};
pub use secret_files::{SecretFileError, values_from_files};
pub use traces::{TraceOptions, TraceOptionsError, TraceSampler};
pub use variables::{variable, variable_names, variable_of};
pub use worker::WorkerOptions;
