use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::filter::{Filter, Walk};
use super::reach;
use super::show::the_one;
use super::stop_on_failures::{StopOnFailures, percent};
use super::survey::{ReasonCount, require, rows, survey};
use crate::broker::{DeadLetterQueue, HeldLetter, Outgoing, Publisher, Topology};
use crate::cli::interrupt::interrupted;
use crate::cli::output::{ConfirmOptions, OutputOptions, Rows, progress};
use crate::clock;
use crate::config::BrokerOptions;
use crate::message::{Reason, StatusMessage};

/// Sends dead letters back to where they first came from
///
/// Each is confirmed by the broker before it leaves the dead-letter queue. Stopped or killed at any point, no letter is lost;
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
    /// Stop when this share of what was replayed has come back, such as 20%; looks after 10 letters, then after twice as many each time
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
struct Answer {
    dry_run: bool,
    letters: u32,
    matched: u32,
    replayed: u32,
    /// Marked `replayed_too_often`; with a dry run, what would be.
    replayed_too_often: u32,
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

/// A letter and what is sent for it.
struct Step {
    letter: HeldLetter,
    outgoing: Outgoing,
    marks: bool,
}

impl Replay {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (address, topology) = reach(&self.broker)?;
        let mut queue = DeadLetterQueue::open(&address, &topology).await?;
        let publisher = Publisher::new(address);
        let answer = if self.body.is_some() {
            self.replay_edited(&mut queue, &publisher, &topology).await
        } else if self.confirm.yes {
            self.replay(&mut queue, &publisher, &topology).await
        } else {
            self.preview(&mut queue).await
        };
        publisher.close().await;
        queue.close().await;
        let answer = answer?;
        let code = if answer.stopped.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        self.output.print(&answer, table)?;
        Ok(code)
    }

    async fn preview(&self, queue: &mut DeadLetterQueue) -> anyhow::Result<Answer> {
        let survey = survey(queue, &self.filter, self.max_replays).await?;
        Ok(Answer {
            dry_run: true,
            letters: survey.letters,
            matched: survey.matched,
            replayed_too_often: survey.replayed_often,
            selection: Some(survey.selection),
            reasons: survey.reasons,
            ..Answer::default()
        })
    }

    async fn replay(
        &self,
        queue: &mut DeadLetterQueue,
        publisher: &Publisher,
        topology: &Topology,
    ) -> anyhow::Result<Answer> {
        if let Some(selection) = &self.exactly {
            require(queue, &self.filter, selection).await?;
        }
        let mut answer = Answer { letters: queue.there(), ..Answer::default() };
        let mut walk = self.filter.walk();
        let mut failures = self.stop_on_failures.map(StopOnFailures::new);
        let bar = progress(Some(answer.letters.into()), "letters");
        let began = Instant::now();
        let mut held_since = began;
        let mut interrupted = std::pin::pin!(interrupted());
        loop {
            let most = failures.as_ref().map_or(CHUNK, |failures| failures.room().min(CHUNK));
            // With a rate, a tenth of a second's worth, so that it is even.
            let most = self.rate.map_or(most, |rate| most.min(rate.div_ceil(10)));
            // Interrupted here, what was gathered is still unacknowledged and goes back.
            let gathered = tokio::select! {
                biased;
                () = &mut interrupted => { answer.stopped = Some("interrupted".to_owned()); break }
                gathered = self.gather(queue, &mut walk, topology, most) => gathered,
            };
            let steps = match gathered {
                Ok(steps) => steps,
                Err(error) => {
                    answer.stopped = Some(format!("{error:#}"));
                    break;
                }
            };
            let ended = steps.is_empty();
            let replayed_before = answer.replayed;
            // Not interrupted: the confirms are waited for, at most fifteen seconds.
            if let Err(error) = settle(queue, publisher, &steps, &mut answer).await {
                answer.stopped = Some(format!("{error:#}"));
                break;
            }
            bar.set_position(walk.position.into());
            if let Some(failures) = &mut failures {
                let count = answer.replayed - replayed_before;
                let looked = if ended {
                    failures.look(queue, answer.replayed, answer.replayed_too_often).await
                } else {
                    failures.replayed(queue, count, answer.replayed, answer.replayed_too_often).await
                };
                answer.stopped = looked?;
            }
            if ended || answer.stopped.is_some() {
                break;
            }
            if let Some(rate) = self.rate {
                let due = Duration::from_secs_f64(f64::from(answer.replayed) / f64::from(rate));
                tokio::select! {
                    biased;
                    () = &mut interrupted => { answer.stopped = Some("interrupted".to_owned()); break }
                    () = sleep(due.saturating_sub(began.elapsed())) => {}
                }
            }
            if held_since.elapsed() > HOLD_AT_MOST && self.filter.position.is_none() {
                // What was passed over is passed over again; what has left is no longer in front.
                queue.give_back(answer.letters - answer.replayed - answer.replayed_too_often).await?;
                walk.position = 0;
                held_since = Instant::now();
            }
        }
        bar.finish_and_clear();
        answer.matched = walk.matched;
        Ok(answer)
    }

    /// The next letters to replay or to mark, at most `most`; none when there are no more.
    async fn gather(
        &self,
        queue: &mut DeadLetterQueue,
        walk: &mut Walk<'_>,
        topology: &Topology,
        most: u32,
    ) -> anyhow::Result<Vec<Step>> {
        let (mut steps, mut bytes) = (Vec::new(), 0);
        while steps.len() < most as usize && bytes < CHUNK_BYTES && !walk.is_over() {
            let Some(letter) = queue.next().await? else { break };
            if !walk.takes(&letter.letter) {
                continue;
            }
            let marks = letter.letter.replay_count >= self.max_replays;
            if marks && letter.letter.reason.as_deref() == Some(Reason::ReplayedTooOften.as_str()) {
                continue;
            }
            bytes += letter.body().len();
            let outgoing = if marks { letter.marked(topology, clock::now()) } else { letter.replay(topology) };
            steps.push(Step { letter, outgoing, marks });
        }
        Ok(steps)
    }

    async fn replay_edited(
        &self,
        queue: &mut DeadLetterQueue,
        publisher: &Publisher,
        topology: &Topology,
    ) -> anyhow::Result<Answer> {
        let file = self.body.clone().unwrap_or_default();
        let body = tokio::fs::read(&file).await.with_context(|| format!("could not read {}", file.display()))?;
        let body = body.trim_ascii().to_vec();
        let message = StatusMessage::from_json(&body)
            .with_context(|| format!("{} would be dead-lettered again", file.display()))?;
        let letters = queue.there();
        let letter = the_one(queue, &self.filter).await?;
        let message_id = message.message_id.unwrap_or_else(Uuid::new_v4);
        let mut answer = Answer {
            dry_run: !self.confirm.yes,
            letters,
            matched: 1,
            message_id: Some(message_id),
            ..Answer::default()
        };
        if letter.letter.replay_count >= self.max_replays {
            bail!("this letter was replayed {} times; --max-replays allows more", letter.letter.replay_count);
        }
        if self.confirm.yes {
            let outgoing = letter.replay_edited(topology, message.routing_key(), message_id, body);
            settle(queue, publisher, &[Step { letter, outgoing, marks: false }], &mut answer).await?;
        }
        Ok(answer)
    }
}

/// Publishes, and removes what is confirmed. The first that is not confirmed ends it: it and what comes after stay.
async fn settle(
    queue: &mut DeadLetterQueue,
    publisher: &Publisher,
    steps: &[Step],
    answer: &mut Answer,
) -> anyhow::Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let outgoing: Vec<_> = steps.iter().map(|step| &step.outgoing).collect();
    let mut failed = None;
    for (step, confirmed) in steps.iter().zip(publisher.publish(&outgoing).await) {
        match confirmed {
            Ok(()) => {
                queue.remove(&step.letter).await?;
                *(if step.marks { &mut answer.replayed_too_often } else { &mut answer.replayed }) += 1;
            }
            Err(error) => {
                let id = step.letter.letter.message_id.clone().unwrap_or_else(|| "without an id".to_owned());
                failed.get_or_insert_with(|| anyhow::anyhow!("message {id}: {error}; it is still a dead letter"));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

fn table(answer: &Answer) -> Rows {
    let often = match answer.replayed_too_often {
        0 => String::new(),
        many if answer.dry_run => format!("; {many} of them were replayed too often and would stay, marked"),
        many => format!("; {many} were replayed too often and stay, marked"),
    };
    let rows = rows(&answer.reasons);
    match (&answer.stopped, &answer.selection) {
        (Some(why), _) => {
            rows.remark(format!("stopped: {why}\nreplayed {}{often}; the others are still there", answer.replayed))
        }
        (None, Some(selection)) => rows.remark(format!(
            "would replay {} of {} dead letters{often}; nothing was changed, add --yes to do it, or --exactly {selection} --yes for these and no others",
            answer.matched - answer.replayed_too_often, answer.letters
        )),
        (None, None) if answer.dry_run => {
            rows.remark("would replay 1 dead letter with the new body; nothing was changed, add --yes to do it")
        }
        (None, None) => rows.remark(format!("replayed {}{often}", answer.replayed)),
    }
}
