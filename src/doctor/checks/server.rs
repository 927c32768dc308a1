use std::time::Duration;

use super::supabase;
use crate::doctor::check_id::DatabaseCheck;
use crate::doctor::finding::Finding;
use crate::storage::{Pooling, ServerFacts};

/// Further apart than this, a status and a snapshot may be compared in the wrong order.
const CLOCKS_APART: Duration = Duration::from_secs(2);

/// A limit that someone set, which the worker's transactions lift for themselves.
pub(in crate::doctor) fn transaction_timeout(server: &ServerFacts) -> Option<Finding> {
    let timeout = server.transaction_timeout.as_ref()?;
    let message =
        format!("transaction_timeout is {timeout} for the role or the database; the worker's transactions turn it off");
    Some(Finding::ok(DatabaseCheck::Timeout, message))
}

pub(in crate::doctor) fn writable(server: &ServerFacts) -> Finding {
    const CHECK: DatabaseCheck = DatabaseCheck::Writable;
    match server.read_only.as_deref() {
        None => Finding::ok(CHECK, "accepts writes"),
        Some("standby") => Finding::failed(CHECK, "a standby, which is read-only", "point DATABASE_URL at the primary"),
        Some(_) => Finding::failed(
            CHECK,
            "transactions are read-only by default (default_transaction_read_only, which Supabase sets when the disk is nearly full); the worker holds its messages",
            "free disk space, or find out who set it: ALTER DATABASE … RESET default_transaction_read_only;",
        ),
    }
}

pub(in crate::doctor) fn clocks(apart: Duration, ahead: bool, uncertainty: Duration) -> Finding {
    const CHECK: DatabaseCheck = DatabaseCheck::Clock;
    let (seconds, which) = (apart.as_secs_f64(), if ahead { "ahead of" } else { "behind" });
    if apart > CLOCKS_APART + uncertainty {
        return Finding::warning(
            CHECK,
            format!(
                "the database's clock is {seconds:.1} s {which} this machine's; the backend's occurred_at is compared with the database's created_at"
            ),
            "synchronise the clocks of both machines, and the backend's, with NTP",
        );
    }
    Finding::ok(
        CHECK,
        format!("the database's clock and this machine's agree within {:.1} s", apart.as_secs_f64().max(0.1)),
    )
}

pub(in crate::doctor) fn pooling(pooling: Pooling, host: &str) -> Finding {
    const CHECK: DatabaseCheck = DatabaseCheck::Pooler;
    if pooling != Pooling::Transaction
        && let Some(warning) = supabase::session_mode(host)
    {
        return warning;
    }
    Finding::ok(
        CHECK,
        match pooling {
            Pooling::Direct => "each connection has a session of its own",
            Pooling::Session => "a pooler in session mode, or a forwarded port; the outbox is polled twice a second",
            Pooling::Transaction => {
                "a pooler in transaction mode, which is supported; the outbox is polled twice a second"
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn clocks_are_reported_when_apart_by_more_than_two_seconds_and_the_uncertainty_of_the_measurement() {
        let (apart, uncertainty) = (Duration::from_millis(2100), Duration::from_millis(50));
        let behind = clocks(apart, false, uncertainty);
        assert_eq!(behind.state, State::Warning);
        assert!(behind.message.contains("2.1 s behind this machine's"), "{behind:?}");
        assert!(clocks(apart, true, uncertainty).message.contains("2.1 s ahead of"));
        assert_eq!(clocks(apart, true, Duration::from_millis(200)).state, State::Ok);
        assert_eq!(clocks(Duration::from_millis(1900), true, uncertainty).state, State::Ok);
    }
    #[test]
    fn session_mode_of_supabase_is_a_warning_however_its_connections_appear() {
        let (session, transaction) = ("aws-0-eu-central-1.pooler.supabase.com:5432", "db.example.org:6432");
        for seen in [Pooling::Direct, Pooling::Session] {
            assert_eq!(pooling(seen, session).state, State::Warning);
        }
        assert_eq!(pooling(Pooling::Transaction, session).state, State::Ok);
        assert_eq!(pooling(Pooling::Session, transaction).state, State::Ok);
    }
}
