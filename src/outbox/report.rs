use crate::storage::StorageError;

/// What one batch of the outbox came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Another replica holds the lease.
    NotOurs,
    /// Nothing is recorded.
    Empty,
    /// Some records were read.
    Relayed {
        /// How many were published and removed.
        published: usize,
        /// How many are still in the outbox.
        failed: usize,
        /// Whether others need not be tried now: the broker is away, or the lease is another's.
        outage: bool,
        /// Why the first one failed.
        reason: Option<String>,
    },
}

/// Logs once that publishing fails, and once that it works again. Returns whether it works.
pub(super) fn log_change(report: &Result<Report, StorageError>, worked: bool) -> bool {
    let error = match report {
        Ok(Report::NotOurs | Report::Empty | Report::Relayed { failed: 0, .. }) => None,
        Ok(Report::Relayed { reason, .. }) => Some(reason.clone().unwrap_or_default()),
        Err(error) => Some(error.one_line()),
    };
    match (&error, worked) {
        (Some(error), true) => tracing::warn!(error, "outbox is not published; its records wait, trying again"),
        (None, false) => tracing::info!("outbox is published again"),
        _ => {}
    }
    error.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishing_works_until_a_record_fails_and_again_once_none_does() {
        let relayed = |failed| Ok(Report::Relayed { published: 1, failed, outage: false, reason: None });
        for worked in [true, false] {
            assert!(!log_change(&relayed(1), worked));
            assert!(log_change(&relayed(0), worked) && log_change(&Ok(Report::Empty), worked));
        }
    }
}
