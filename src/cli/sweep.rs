use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::one_pass::{Outcome, one_pass};
use super::output::{ConfirmOptions, OutputOptions};
use crate::config::{DatabaseOptions, RateOption};
use crate::passes::{Pass, TtlSweep};
use crate::storage::{Database, Expired};
use crate::terminal::Table;

/// Deletes expired snapshots now, by the database's clock
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    confirm: ConfirmOptions,
    #[command(flatten)]
    rate: RateOption,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    outcome: Outcome,
    expired: Expired,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Database::new(self.database.database_url.as_ref(), 2)?;
        database.check_access().await?;
        let expired = TtlSweep.preview(&database).await?;
        let would_delete = expired.rows.unsigned_abs();
        let outcome = if self.confirm.yes {
            Outcome::of(would_delete, one_pass(&database, &TtlSweep, self.rate.per_second(), would_delete).await?)
        } else {
            Outcome::preview(would_delete)
        };
        database.close().await;
        let answer = Answer { outcome, expired };
        self.output.print(&answer, |answer| {
            let oldest = match answer.expired {
                Expired { rows: 0, .. } => "none".to_owned(),
                Expired { oldest, .. } => format!("{} ago", spoken(oldest.as_secs())),
            };
            Table::new(["expired", "oldest"])
                .row([answer.expired.rows.to_string(), oldest])
                .footer(answer.outcome.remark())
        })?;
        answer.outcome.end()
    }
}

/// A length of time as people write it, by its largest unit and the next: 45s, 2m 5s, 3h, 1d 2h.
fn spoken(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let largest = UNITS.iter().position(|(length, _)| seconds >= *length).unwrap_or(UNITS.len() - 1);
    let (length, unit) = UNITS[largest];
    let whole = format!("{}{unit}", seconds / length);
    match UNITS.get(largest + 1) {
        Some((next, unit)) if seconds % length >= *next => format!("{whole} {}{unit}", seconds % length / next),
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_written_by_their_two_largest_units() {
        let lengths = [0, 45, 60, 125, 10_800, 10_805, 86_401, 93_600, 604_800].map(spoken);
        assert_eq!(lengths, ["0s", "45s", "1m", "2m 5s", "3h", "3h", "1d", "1d 2h", "7d"]);
    }
}
