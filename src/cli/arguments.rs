use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Command, Parser};
use time::OffsetDateTime;
use uuid::Uuid;

use super::output;
use crate::clock;
use crate::config::{
    parse_duration, used_variables, values_from_files, variable, variable_named_in, variable_names, variables,
    with_values,
};
use crate::message::instant;

/// Parses arguments, environment and `_FILE` variables. An unusable value ends with exit code 2, and the error names the variable.
pub(super) fn parse<T: Parser>() -> Result<T, ExitCode> {
    let command = T::command();
    let values = match values_from_files(used_variables(&command), variable) {
        Ok(values) => values,
        Err(error) => {
            output::error(&error.into());
            return Err(ExitCode::from(2));
        }
    };
    let command = with_values(command, &values);
    warn_of_unknown_variables(&command);
    let parsed = command.clone().try_get_matches().and_then(|matches| T::from_arg_matches(&matches));
    parsed.map_err(|error| {
        output::clap_error(&error);
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
            ErrorKind::UnknownArgument => ExitCode::from(2),
            _ => {
                if let Some(variable) = variable_named_in(&command, &error.to_string()) {
                    output::note(&format!("the value is that of the flag or of the environment variable {variable} (or the file that {variable}_FILE names)"));
                }
                ExitCode::from(2)
            }
        }
    })
}

/// Reads a UUID.
pub(super) fn uuid(text: &str) -> Result<Uuid, String> {
    Uuid::parse_str(text).map_err(|_| "not a UUID, such as 9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d".to_owned())
}

/// Reads a time.
pub(super) fn rfc3339(text: &str) -> Result<OffsetDateTime, String> {
    instant(text).ok_or_else(|| "RFC 3339 with an offset, such as 2026-01-05T12:00:00Z".to_owned())
}

/// Reads a time, or a duration back from now.
pub(super) fn moment(text: &str) -> Result<OffsetDateTime, String> {
    let back = |text| clock::now().checked_sub(time::Duration::try_from(parse_duration(text).ok()?).ok()?);
    instant(text).or_else(|| back(text)).ok_or_else(|| {
        "RFC 3339 with an offset, such as 2026-01-05T12:00:00Z, or a duration back from now, such as 1h".to_owned()
    })
}

/// Reads a type of snapshot: any text that cannot be a slip.
pub(super) fn snapshot_type(text: &str) -> Result<String, String> {
    if text.trim() == text && !text.is_empty() && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("a type as it stands in snapshot_type, or *".to_owned())
    }
}

/// A misspelt variable would be ignored silently. Not an error: Kubernetes sets variables of its own for a service
/// that happens to be called `lifecycle`.
fn warn_of_unknown_variables(command: &Command) {
    let known = variables(command);
    for name in variable_names() {
        let name = name.to_string_lossy();
        let base = name.strip_suffix("_FILE").unwrap_or(&name);
        if name.starts_with("LIFECYCLE_") && !known.iter().any(|known| known == base) {
            output::note(&format!("the environment variable {name} is not known to this program and has no effect"));
        }
    }
}
