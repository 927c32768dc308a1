//! The only place that reads the process's environment; clap reads the variables of flags itself.

use std::env;
use std::ffi::OsString;

use crate::setting::Setting;

/// The value of a variable.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// The names of all variables that are set.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn variable_names() -> impl Iterator<Item = OsString> {
    env::vars_os().map(|(name, _)| name)
}

/// The variable that holds a setting.
#[must_use]
pub const fn variable_of(setting: Setting) -> &'static str {
    match setting {
        Setting::DatabaseUrl => "DATABASE_URL",
        Setting::BrokerUrl => "AMQP_URL",
        Setting::Exchange => "LIFECYCLE_EXCHANGE",
    }
}
