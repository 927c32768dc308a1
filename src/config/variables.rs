//! The only place that reads the process's environment; clap reads the variables of flags itself.

use std::env;
use std::ffi::OsString;

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
