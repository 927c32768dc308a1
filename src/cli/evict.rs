use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use uuid::Uuid;

use super::database::open;
use super::one_pass::{end, one_pass};
use super::output::{ConfirmOptions, OutputOptions};
use crate::config::{CapOption, DatabaseOptions, RateOption};
use crate::passes::{CapEviction, DryRun, ManualReport};
use crate::storage::Excess;
use crate::terminal::Table;

/// Deletes the oldest snapshots of each team above the cap now
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only this team
    #[arg(long, alias = "team-id", value_name = "ID", value_parser = super::arguments::uuid)]
    team: Option<Uuid>,
    #[command(flatten)]
    cap: CapOption,
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
    report: ManualReport,
    max_snapshots_per_team: u32,
    teams: Vec<Excess>,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database, 2).await?;
        let cap = self.cap.max_snapshots_per_team;
        let pass = CapEviction { cap, team: self.team };
        let teams = pass.preview(&database).await?;
        let would_delete = teams.iter().map(|team| team.excess.unsigned_abs()).sum();
        let report = one_pass(&database, &pass, self.confirm, self.rate.per_second(), would_delete).await?;
        database.close().await;
        let answer = Answer { report, max_snapshots_per_team: cap, teams };
        self.output.print(&answer, |answer| {
            let rows = Table::new(["team", "snapshots", "above the cap"]);
            let rows = answer.teams.iter().fold(rows, |rows, team| {
                rows.row([team.team_id.to_string(), team.snapshots.to_string(), team.excess.to_string()])
            });
            rows.footer(format!("the cap is {}; {}", answer.max_snapshots_per_team, answer.report))
        })?;
        end(answer.report)
    }
}
