use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use uuid::Uuid;

use super::one_pass::one_pass;
use super::output::{ConfirmOptions, OutputOptions, Rows};
use crate::config::{CapOption, DatabaseOptions, RateOption};
use crate::retention::CapEviction;
use crate::storage::{Database, Excess, OverfullTeam};

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
    dry_run: bool,
    max_snapshots_per_team: u32,
    would_delete: i64,
    deleted: u64,
    completed: bool,
    teams: Vec<Excess>,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Database::new(self.database.database_url.as_ref(), 2)?;
        database.check_access().await?;
        let cap = self.cap.max_snapshots_per_team;
        let teams = self.overfull(&database, cap).await?;
        let mut answer = Answer {
            dry_run: !self.confirm.yes,
            max_snapshots_per_team: cap,
            would_delete: teams.iter().map(|team| team.excess).sum(),
            deleted: 0,
            completed: false,
            teams,
        };
        if self.confirm.yes {
            let pass = CapEviction { cap, team: self.team };
            let report = one_pass(&database, &pass, self.rate.per_second(), answer.would_delete.unsigned_abs()).await?;
            answer.deleted = report.deleted;
            answer.completed = report.completed;
        }
        database.close().await;
        self.output.print(&answer, |answer| {
            let rows = Rows::new(["team", "snapshots", "above the cap"]);
            let rows = answer.teams.iter().fold(rows, |rows, team| {
                rows.row([team.team_id.to_string(), team.snapshots.to_string(), team.excess.to_string()])
            });
            rows.remark(if answer.dry_run {
                format!("would delete {}; nothing was changed, add --yes to do it", answer.would_delete)
            } else {
                format!("deleted {}", answer.deleted)
            })
        })?;
        Ok(if answer.dry_run || answer.completed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn overfull(&self, database: &Database, cap: u32) -> anyhow::Result<Vec<Excess>> {
        let mut teams = Vec::new();
        if let Some(team) = self.team {
            teams.push(database.count_excess(OverfullTeam(team), cap).await?);
            return Ok(teams);
        }
        let mut after = None;
        loop {
            let look = database.look_for_overfull(cap, after).await?;
            for team in look.overfull {
                teams.push(database.count_excess(team, cap).await?);
            }
            after = look.last;
            if after.is_none() {
                return Ok(teams);
            }
        }
    }
}
