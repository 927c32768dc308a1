use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::filter::Filter;
use super::survey::{ReasonCount, require, rows, survey};
use crate::cli::interrupt::interrupted;
use crate::cli::output::{ConfirmOptions, OutputOptions, Rows, progress};
use crate::config::BrokerOptions;

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
    #[command(flatten)]
    confirm: ConfirmOptions,
    #[command(flatten, next_help_heading = "RabbitMQ")]
    broker: BrokerOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    letters: u32,
    matched: u32,
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
        let mut queue = super::open(&self.broker).await?;
        let letters = queue.there();
        if !self.confirm.yes {
            let survey = survey(&mut queue, &self.filter, u32::MAX).await?;
            queue.close().await;
            let (matched, selection) = (survey.matched, Some(survey.selection));
            let answer = Answer {
                dry_run: true,
                letters,
                matched,
                purged: 0,
                stopped: None,
                selection,
                reasons: survey.reasons,
            };
            self.output.print(&answer, |answer| {
                rows(&answer.reasons).remark(format!(
                    "would remove {} of {} dead letters; nothing was changed, add --yes to do it, or --exactly {} --yes for these and no others",
                    answer.matched, answer.letters, answer.selection.as_deref().unwrap_or_default()
                ))
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(selection) = &self.exactly {
            require(&mut queue, &self.filter, selection).await?;
        }
        let mut answer = Answer {
            dry_run: false,
            letters,
            matched: 0,
            purged: 0,
            stopped: None,
            selection: None,
            reasons: Vec::new(),
        };
        let mut walk = self.filter.walk();
        let bar = progress(Some(letters.into()), "letters");
        let mut interrupted = std::pin::pin!(interrupted());
        while !walk.is_over() {
            let held = tokio::select! {
                biased;
                () = &mut interrupted => { answer.stopped = Some("interrupted".to_owned()); break }
                held = queue.next() => held,
            };
            let removed = match held {
                Ok(None) => break,
                Ok(Some(held)) if walk.takes(&held.letter) => queue.remove(&held).await.map(|()| 1),
                Ok(Some(_)) => Ok(0),
                Err(error) => Err(error),
            };
            match removed {
                Ok(count) => answer.purged += count,
                Err(error) => {
                    answer.stopped = Some(error.one_line());
                    break;
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        answer.matched = walk.matched;
        queue.close().await;
        let code = if answer.stopped.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        self.output.print(&answer, |answer| {
            Rows::new(["removed"]).row([answer.purged.to_string()]).remark(match &answer.stopped {
                None => format!("removed {} dead letters", answer.purged),
                Some(why) => {
                    format!("stopped: {why}; removed {} dead letters, the others are still there", answer.purged)
                }
            })
        })?;
        Ok(code)
    }
}
