use super::supabase;
use crate::broker::BrokerError;
use crate::config::variable_of;
use crate::doctor::check_id::{CheckId, DatabaseCheck, RabbitmqCheck};
use crate::doctor::finding::Finding;
use crate::setting::ConfigError;
use crate::storage::ConnectFailure;

pub(in crate::doctor) fn unusable_url(check: impl Into<CheckId>, error: &ConfigError) -> Finding {
    Finding::failed(
        check,
        format!("{} is missing or unusable", variable_of(error.setting)),
        format!("set it to {}", error.allowed),
    )
}

pub(in crate::doctor) fn database_not_connected(failure: &ConnectFailure, host: &str) -> Finding {
    let message = format!("could not connect to PostgreSQL at {host}: {failure}");
    let fix = match failure {
        ConnectFailure::Refused { code, .. } if code == "28P01" => supabase::refused_password_fix(host),
        _ => None,
    };
    Finding::failed(DatabaseCheck::Connection, message, fix.unwrap_or_else(|| failure.fix()))
}

/// The fix is a field of its own, not part of the message.
pub(in crate::doctor) fn rabbitmq_not_connected(error: &BrokerError) -> Finding {
    const CHECK: RabbitmqCheck = RabbitmqCheck::Connection;
    match error {
        BrokerError::NotConnected { server, failure, fix } => {
            let why = failure.to_string().replace(['\r', '\n'], " ");
            Finding::failed(CHECK, format!("could not connect to RabbitMQ at {server}: {why}"), *fix)
        }
        other => Finding::failed(CHECK, other.one_line(), "see what RabbitMQ says, and try again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fix_of_a_refused_password_is_another_behind_supabases_pooler() {
        let fix = |code: &str, host: &str| {
            let (code, message) = (code.to_owned(), "password authentication failed".to_owned());
            database_not_connected(&ConnectFailure::Refused { code, message, fatal: true }, host).fix.unwrap()
        };
        let pooler = "aws-0-eu-central-1.pooler.supabase.com:5432";
        assert!(fix("28P01", pooler).contains("wait some minutes"));
        assert!(!fix("28P01", "db.example.org:5432").contains("wait"));
        assert!(!fix("53300", pooler).contains("wait"));
    }
}
