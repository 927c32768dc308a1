use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Hands;
use super::filter::{Filter, Walk};
use super::settle::{Step, settle};
use super::show::the_one;
use super::stop_on_failures::{StopOnFailures, percent};
use super::survey::{ReasonCount, of_all, require, rows, survey};
use crate::broker::Publisher;
use crate::cli::output::{ConfirmOptions, OutputOptions, counted, one_line, progress, to_the_second};
use crate::clock;
use crate::config::BrokerOptions;
use crate::message::{Reason, decode};
use crate::terminal::Table;

/// Sends dead letters back to where they first came from
///
/// Each is confirmed by the broker before it leaves the dead-letter queue, and counts as replayed from then on, whatever a worker makes of
/// it: one that fails again comes back, which `dlq list --since` shows. Stopped or killed at any point, no letter is lost;
/// one that is replayed twice does no harm. Without --yes it shows what would be replayed; the preview ends with a selection,
/// and `--exactly SELECTION --yes` replays the letters of the preview and no others. Letters that arrive during a replay are
/// not part of it.
#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    filter: Filter,
    /// Only if the letters are those of the preview that showed this
    #[arg(long, value_name = "SELECTION", requires = "yes")]
    exactly: Option<String>,
    /// Letters a second at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// A letter that was replayed so often stays, and is marked replayed_too_often
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    max_replays: u32,
    /// Stop when this share of what was replayed has come back, such as 20%; looks after 10 letters, then after twice as many each time, at all that fails meanwhile
    #[arg(long, value_name = "SHARE", value_parser = percent)]
    stop_on_failures: Option<f64>,
    /// Send this file's content in place of the body of the one letter that matches; `lifecycle-replaces` names the old message
    #[arg(long, value_name = "FILE", conflicts_with_all = ["exactly", "rate", "stop_on_failures"])]
    body: Option<PathBuf>,
    #[command(flatten)]
    confirm: ConfirmOptions,
    #[command(flatten, next_help_heading = "RabbitMQ")]
    broker: BrokerOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Answer {
    dry_run: bool,
    letters: u32,
    matched: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_replay: Option<u32>,
    pub(super) replayed: u32,
    /// What is dead-lettered from then on may be what came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    began_at: Option<String>,
    /// Marked `replayed_too_often`, now or before; with a dry run, what would be.
    pub(super) replayed_too_often: u32,
    #[serde(skip)]
    marked_before: u32,
    /// Nobody takes them where they came from.
    pub(super) failed: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selection: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<ReasonCount>,
}

/// What is on its way at once.
const CHUNK: u32 = 500;
/// Bodies on their way at once, in bytes.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// RabbitMQ closes a channel on which something stays unacknowledged for 30 minutes; long before, all is given back and taken
/// anew.
const HOLD_AT_MOST: Duration = Duration::from_mins(10);

impl Replay {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let answer = super::with_queue(&self.broker, async |hands| {
            let publisher = Publisher::new(hands.address.clone());
            let answer = if self.body.is_some() {
                self.replay_edited(hands, &publisher).await
            } else if self.confirm.yes {
                self.replay(hands, &publisher).await
            } else {
                self.preview(hands).await
            };
            publisher.close().await;
            answer
        })
        .await?;
        self.output.print(&answer, table)?;
        match (answer.stopped, answer.first_failure) {
            (None, None) => Ok(ExitCode::SUCCESS),
            (Some(why), _) => bail!("stopped: {why}; what was not replayed is still a dead letter"),
            (None, Some(why)) => bail!("{} could not be replayed and are still dead letters; {why}", answer.failed),
        }
    }

    async fn preview(&self, hands: &mut Hands) -> anyhow::Result<Answer> {
        let survey = survey(hands, &self.filter, self.max_replays).await?;
        Ok(Answer {
            dry_run: true,
            letters: survey.letters,
            matched: survey.matched,
            would_replay: Some(survey.matched - survey.replayed_often),
            replayed_too_often: survey.replayed_often,
            selection: Some(survey.selection),
            reasons: survey.reasons,
            ..Answer::default()
        })
    }

    async fn replay(&self, hands: &mut Hands, publisher: &Publisher) -> anyhow::Result<Answer> {
        if let Some(selection) = &self.exactly {
            require(hands, &self.filter, selection).await?;
        }
        let began_at = Some(now_in_text());
        let mut answer = Answer { letters: hands.queue.there(), began_at, ..Answer::default() };
        let failures = match self.stop_on_failures {
            Some(percent) => Some(StopOnFailures::new(percent, &hands.queue).await?),
            None => None,
        };
        let bar = progress(None, "dead letters replayed");
        // What was replayed is told however it ends.
        if let Err(error) = self.walk(hands, publisher, failures, &mut answer, &bar).await {
            answer.stopped = Some(one_line(&error));
        }
        bar.finish_and_clear();
        answer.replayed_too_often += answer.marked_before;
        Ok(answer)
    }

    async fn walk(
        &self,
        hands: &mut Hands,
        publisher: &Publisher,
        mut failures: Option<StopOnFailures>,
        answer: &mut Answer,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let mut walk = self.filter.walk();
        let began = Instant::now();
        let mut held_since = began;
        loop {
            if hands.stop.soft.is_cancelled() {
                bail!("interrupted");
            }
            let most = failures.as_ref().map_or(CHUNK, |failures| failures.room().min(CHUNK));
            // With a rate, a tenth of a second's worth, so that it is even.
            let most = self.rate.map_or(most, |rate| most.min(rate.div_ceil(10)));
            let steps = self.gather(hands, &mut walk, most, answer).await?;
            answer.matched = walk.matched;
            let ended = steps.is_empty();
            let replayed_before = answer.replayed;
            // Not interrupted: the confirms are waited for, at most fifteen seconds.
            settle(&mut hands.queue, publisher, &steps, answer).await?;
            bar.set_position(answer.replayed.into());
            if let Some(failures) = &mut failures {
                let count = answer.replayed - replayed_before;
                let (so_far, ours) = (answer.replayed, answer.replayed_too_often);
                let look = async {
                    if ended {
                        failures.look(&hands.queue, so_far, ours).await
                    } else {
                        failures.replayed(&hands.queue, count, so_far, ours).await
                    }
                };
                answer.stopped = tokio::select! {
                    looked = look => looked?,
                    () = hands.stop.soft.cancelled() => bail!("interrupted"),
                };
            }
            if ended || answer.stopped.is_some() {
                return Ok(());
            }
            if let Some(rate) = self.rate {
                let due = Duration::from_secs_f64(f64::from(answer.replayed) / f64::from(rate));
                tokio::select! {
                    () = hands.stop.soft.cancelled() => bail!("interrupted"),
                    () = sleep(due.saturating_sub(began.elapsed())) => {}
                }
            }
            if held_since.elapsed() > HOLD_AT_MOST && self.filter.position.is_none() {
                // What was passed over is passed over again; what has left is no longer in front.
                let gone = answer.replayed + answer.replayed_too_often;
                hands.queue.give_back(answer.letters - gone).await?;
                (walk.position, walk.matched) = (0, gone);
                (answer.failed, answer.marked_before) = (0, 0);
                held_since = Instant::now();
            }
        }
    }

    /// The next letters to replay or to mark, at most `most`; none when there are no more.
    async fn gather(
        &self,
        hands: &mut Hands,
        walk: &mut Walk<'_>,
        most: u32,
        answer: &mut Answer,
    ) -> anyhow::Result<Vec<Step>> {
        let (mut steps, mut bytes) = (Vec::new(), 0);
        while steps.len() < most as usize && bytes < CHUNK_BYTES && !walk.is_over() && !hands.stop.soft.is_cancelled() {
            let Some(letter) = hands.queue.next().await? else { break };
            if !walk.takes(&letter.letter) {
                continue;
            }
            let marks = letter.letter.replay_count >= self.max_replays;
            if marks && letter.letter.reason.as_deref() == Some(Reason::ReplayedTooOften.as_str()) {
                answer.marked_before += 1;
                continue;
            }
            bytes += letter.body().len();
            let topology = &hands.topology;
            let outgoing = if marks { letter.marked(topology, clock::now()) } else { letter.replay(topology) };
            steps.push(Step { letter, outgoing, marks });
        }
        Ok(steps)
    }

    async fn replay_edited(&self, hands: &mut Hands, publisher: &Publisher) -> anyhow::Result<Answer> {
        let file = self.body.clone().unwrap_or_default();
        let body = tokio::fs::read(&file).await.with_context(|| format!("could not read {}", file.display()))?;
        let body = body.trim_ascii().to_vec();
        let letters = hands.queue.there();
        let letter = the_one(hands, &self.filter).await?;
        // With the letter's own properties, which stay: the time may be there.
        let message = decode(&body, &letter.envelope())
            .map_err(|reject| anyhow::anyhow!("{}: {}", reject.reason, reject.error))
            .with_context(|| format!("{} would be dead-lettered again", file.display()))?;
        // The body may still name the old one, which it replaces.
        let old = letter.letter.message_id.as_deref().and_then(|id| Uuid::parse_str(id).ok());
        let message_id = message.message_id.filter(|id| Some(*id) != old).unwrap_or_else(Uuid::new_v4);
        let mut answer = Answer {
            dry_run: !self.confirm.yes,
            letters,
            matched: 1,
            would_replay: (!self.confirm.yes).then_some(1),
            began_at: self.confirm.yes.then(now_in_text),
            message_id: Some(message_id),
            ..Answer::default()
        };
        if letter.letter.replay_count >= self.max_replays {
            bail!("this letter was replayed {} times; --max-replays allows more", letter.letter.replay_count);
        }
        if self.confirm.yes {
            let outgoing = letter.replay_edited(&hands.topology, message.routing_key(), message_id, body);
            settle(&mut hands.queue, publisher, &[Step { letter, outgoing, marks: false }], &mut answer).await?;
        }
        Ok(answer)
    }
}

fn now_in_text() -> String {
    to_the_second(&clock::now().format(&Rfc3339).unwrap_or_default())
}

fn table(answer: &Answer) -> Table {
    let often = match answer.replayed_too_often {
        0 => String::new(),
        many if answer.dry_run => format!("; {many} more would stay, marked: replayed too often"),
        many => format!("; {many} stay, marked: replayed too often"),
    };
    let rows = rows(&answer.reasons);
    match (&answer.selection, answer.would_replay) {
        (Some(selection), Some(number)) => rows.footer(format!(
            "would replay {}{often}; nothing was changed, add --yes to do it, or --exactly {selection} --yes for these and no others",
            of_all(number, answer.letters)
        )),
        (_, Some(number)) => {
            let letters = counted(number, "dead letter");
            rows.footer(format!("would replay {letters} with the new body; nothing was changed, add --yes to do it"))
        }
        (_, None) => rows.footer(format!("replayed {}{often}{}{}", counted(answer.replayed, "dead letter"), others(answer), back(answer))),
    }
}

fn others(answer: &Answer) -> &'static str {
    if answer.stopped.is_some() || answer.failed > 0 { "; the others are still there" } else { "" }
}

/// Confirmed is not applied.
fn back(answer: &Answer) -> String {
    match (&answer.began_at, answer.replayed) {
        (None, _) | (_, 0) => String::new(),
        (Some(began_at), _) => format!(
            "\nThe broker has confirmed them; whether they succeed, the worker tells. What fails again comes back: `dlq list --since {began_at}` shows it."
        ),
    }
}
