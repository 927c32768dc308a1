use std::time::Duration;

use crate::doctor::Finding;
use crate::storage::{Pooling, ServerFacts};

/// Beyond it a status that was reached before a snapshot was made may look later, or the other way round.
const CLOCKS_APART: Duration = Duration::from_secs(2);

pub(in crate::doctor) fn writable(server: &ServerFacts) -> Finding {
    const CHECK: &str = "database.writable";
    match server.read_only.as_deref() {
        None => Finding::ok(CHECK, "it takes writes"),
        Some("standby") => {
            Finding::failed(CHECK, "it is a standby, which only reads", "point DATABASE_URL at the primary")
        }
        Some(_) => Finding::failed(
            CHECK,
            "transactions only read by default (default_transaction_read_only), as Supabase has it while a disk is nearly full; the worker holds its messages",
            "make room on the disk, or find out who set it: ALTER DATABASE … RESET default_transaction_read_only;",
        ),
    }
}

pub(in crate::doctor) fn clocks(apart: Duration, ahead: bool, doubt: Duration) -> Finding {
    const CHECK: &str = "database.clock";
    let (seconds, which) = (apart.as_secs_f64(), if ahead { "ahead of" } else { "behind" });
    if apart > CLOCKS_APART + doubt {
        return Finding::warning(
            CHECK,
            format!(
                "the database's clock is {seconds:.1} s {which} this machine's; the backend's occurred_at is compared with the database's created_at"
            ),
            "have both machines, and the backend's, set their clocks by NTP",
        );
    }
    Finding::ok(
        CHECK,
        format!("the database's clock and this machine's agree within {:.1} s", apart.as_secs_f64().max(0.1)),
    )
}

pub(in crate::doctor) fn pooling(pooling: Pooling) -> Finding {
    const CHECK: &str = "database.pooler";
    Finding::ok(
        CHECK,
        match pooling {
            Pooling::Direct => "a connection has its session for itself",
            Pooling::Session => "a pooler in session mode or a forwarded port; the outbox is looked at twice a second",
            Pooling::Transaction => {
                "a pooler in transaction mode, which will do; the outbox is looked at twice a second"
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn clocks_apart_are_told_beyond_two_seconds_and_the_doubt_of_the_measurement() {
        let (apart, doubt) = (Duration::from_millis(2100), Duration::from_millis(50));
        let behind = clocks(apart, false, doubt);
        assert_eq!(behind.state, State::Warning);
        assert!(behind.says.contains("2.1 s behind this machine's"), "{behind:?}");
        assert!(clocks(apart, true, doubt).says.contains("2.1 s ahead of"));
        assert_eq!(clocks(apart, true, Duration::from_millis(200)).state, State::Ok);
        assert_eq!(clocks(Duration::from_millis(1900), true, doubt).state, State::Ok);
    }
}
