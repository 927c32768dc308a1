use crate::broker::Greeting;
use crate::doctor::check_id::{DatabaseCheck, RabbitmqCheck};
use crate::doctor::finding::Finding;
use crate::storage::ServerFacts;

/// Major and minor.
pub(in crate::doctor) type Version = (u32, u32);

const OLDEST_POSTGRESQL: i32 = 150_000;
/// For a version that cannot be read.
pub(in crate::doctor) const NEWEST: Version = (u32::MAX, 0);
const OLDEST_RABBITMQ: Version = (3, 10);

pub(in crate::doctor) fn database_version(server: &ServerFacts) -> Finding {
    const CHECK: DatabaseCheck = DatabaseCheck::Version;
    if server.version_number < OLDEST_POSTGRESQL {
        return Finding::failed(
            CHECK,
            format!("PostgreSQL {} is too old", server.version),
            "upgrade to PostgreSQL 15 or newer",
        );
    }
    Finding::ok(CHECK, format!("PostgreSQL {}", server.version))
}

pub(in crate::doctor) fn rabbitmq_version(greeting: &Greeting) -> Finding {
    const CHECK: RabbitmqCheck = RabbitmqCheck::Version;
    let Greeting { product, version } = greeting;
    if product != "RabbitMQ" {
        return Finding::warning(
            CHECK,
            format!("{product} {version} is not RabbitMQ"),
            "quorum queues and confirms as RabbitMQ 3.10 to 4.x has them are needed",
        );
    }
    if parsed(version) < OLDEST_RABBITMQ {
        return Finding::failed(
            CHECK,
            format!("RabbitMQ {version} is too old: its quorum queues lose dead letters"),
            "upgrade to RabbitMQ 3.10 or newer",
        );
    }
    Finding::ok(CHECK, format!("RabbitMQ {version}"))
}

/// Major and minor; a version that cannot be read counts as new.
pub(in crate::doctor) fn parsed(version: &str) -> Version {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor),
        _ => NEWEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!((parsed("3.10.8"), parsed("4.0.5+deb13"), parsed("4.3")), ((3, 10), (4, 0), (4, 3)));
        assert!(parsed("3.9.29") < OLDEST_RABBITMQ && parsed("3.10.0") >= OLDEST_RABBITMQ);
        assert!(parsed("nightly") > OLDEST_RABBITMQ);
    }
}
