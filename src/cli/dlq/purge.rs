use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::Hands;
use super::filter::Filter;
use super::survey::{ReasonCount, of_all, require, rows, survey};
use crate::cli::UsageError;
use crate::cli::output::{ConfirmOptions, OutputOptions, counted, progress};
use crate::config::BrokerOptions;
use crate::terminal::Table;

/// Removes dead letters for good; `dlq export` saves them first
///
/// Without --yes it shows what would go. The preview ends with a selection; `--exactly SELECTION --yes` removes the letters of
/// the preview and no others.
#[derive(Debug, Args)]
pub(super) struct Purge {
    #[command(flatten)]
    filter: Filter,
    /// Only if the letters are those of the preview that showed this
    #[arg(long, value_name = "SELECTION", requires = "yes")]
    exactly: Option<String>,
    /// Every dead letter in the queue; with --yes needed where neither a filter nor --exactly says which
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    confirm: ConfirmOptions,
    #[command(flatten, next_help_heading = "RabbitMQ")]
    broker: BrokerOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Default, Serialize)]
struct Answer {
    dry_run: bool,
    letters: u32,
    matched: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_purge: Option<u32>,
    purged: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selection: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<ReasonCount>,
}

impl Purge {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        self.refuse_ambiguity()?;
        let answer = super::with_queue(&self.broker, async |hands| {
            if self.confirm.yes { self.purge(hands).await } else { self.preview(hands).await }
        })
        .await?;
        let yes = if self.filter.is_empty() { "--all --yes" } else { "--yes" };
        self.output.print(&answer, |answer| table(answer, yes))?;
        match answer.stopped {
            None => Ok(ExitCode::SUCCESS),
            Some(why) => bail!("stopped: {why}; what was not removed is still a dead letter"),
        }
    }

    /// Everything goes only where somebody says so.
    fn refuse_ambiguity(&self) -> Result<(), UsageError> {
        if self.all && !self.filter.is_empty() {
            return Err(UsageError("--all means every dead letter; leave it out, or the filters".to_owned()));
        }
        if self.confirm.yes && self.filter.is_empty() && !self.all && self.exactly.is_none() {
            let fix =
                "add --all for every dead letter, a filter such as --reason, or --exactly with the preview's selection";
            return Err(UsageError(format!("nothing says which dead letters to remove; {fix}")));
        }
        Ok(())
    }

    async fn preview(&self, hands: &mut Hands) -> anyhow::Result<Answer> {
        let survey = survey(hands, &self.filter, u32::MAX).await?;
        Ok(Answer {
            dry_run: true,
            letters: survey.letters,
            matched: survey.matched,
            would_purge: Some(survey.matched),
            selection: Some(survey.selection),
            reasons: survey.reasons,
            ..Answer::default()
        })
    }

    async fn purge(&self, hands: &mut Hands) -> anyhow::Result<Answer> {
        if let Some(selection) = &self.exactly {
            require(hands, &self.filter, selection).await?;
        }
        let mut answer = Answer { letters: hands.queue.there(), ..Answer::default() };
        let mut walk = self.filter.walk();
        let bar = progress(None, "dead letters removed");
        while !walk.is_over() {
            if hands.stop.soft.is_cancelled() {
                answer.stopped = Some("interrupted".to_owned());
                break;
            }
            let removed = match hands.queue.next().await {
                Ok(None) => break,
                Ok(Some(held)) if walk.takes(&held.letter) => hands.queue.remove(&held).await.map(|()| 1),
                Ok(Some(_)) => Ok(0),
                Err(error) => Err(error),
            };
            match removed {
                Ok(count) => {
                    answer.purged += count;
                    bar.inc(count.into());
                }
                Err(error) => {
                    answer.stopped = Some(error.one_line());
                    break;
                }
            }
        }
        bar.finish_and_clear();
        answer.matched = walk.matched;
        Ok(answer)
    }
}

fn table(answer: &Answer, yes: &str) -> Table {
    if let Some(selection) = &answer.selection {
        return rows(&answer.reasons).footer(format!(
            "would purge {}; nothing was changed, add {yes} to do it, or --exactly {selection} --yes for these and no others",
            of_all(answer.matched, answer.letters)
        ));
    }
    let others = if answer.stopped.is_some() { ", the others are still there" } else { "" };
    rows(&[]).footer(format!("purged {}{others}", counted(answer.purged, "dead letter")))
}
