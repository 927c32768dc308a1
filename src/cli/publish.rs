use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use uuid::Uuid;

use super::delete_event::rfc3339;
use super::output::{OutputOptions, Rows, progress, write_stdout};
use crate::broker::{BrokerAddress, Outgoing, Publisher};
use crate::clock;
use crate::config::BrokerOptions;
use crate::message::{EventStatus, StatusMessage, json_schema};

/// Publishes one status message, or many from a file, each confirmed by the broker
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The event whose status changed
    #[arg(long, value_name = "ID", required_unless_present_any = ["from", "schema"], conflicts_with_all = ["from", "schema"])]
    event_id: Option<Uuid>,
    /// The status reached: lead, option, confirmed, cancelled or blocked
    #[arg(long, value_name = "STATUS", required_unless_present_any = ["from", "schema"], conflicts_with_all = ["from", "schema"])]
    status: Option<EventStatus>,
    /// Limits the delete to this team's snapshots
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "schema"])]
    team_id: Option<Uuid>,
    /// When the status was reached, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = rfc3339, conflicts_with_all = ["from", "schema"])]
    occurred_at: Option<OffsetDateTime>,
    /// For finding the message again [default: a random UUID]
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "schema"])]
    message_id: Option<Uuid>,
    /// The workflow step
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "schema"])]
    step: Option<i64>,
    /// Many messages, one JSON object a line; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "schema")]
    from: Option<PathBuf>,
    /// Pass over so many lines of the file, to go on where an earlier call stopped
    #[arg(long, value_name = "LINES", default_value_t = 0, requires = "from")]
    skip: u64,
    /// Print the JSON Schema of the message and do nothing else
    #[arg(long)]
    schema: bool,
    #[command(flatten)]
    broker: BrokerOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Serialize)]
struct One {
    message_id: Option<Uuid>,
    exchange: String,
    routing_key: String,
    confirmed: bool,
}

#[derive(Debug, Serialize)]
struct Many {
    exchange: String,
    confirmed: u64,
}

/// Messages in flight before their confirms are waited for.
const IN_FLIGHT: usize = 1_000;
/// A line that RabbitMQ 4 would refuse as a message.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        if self.schema {
            write_stdout(json_schema().as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        let publisher = Publisher::new(BrokerAddress::parse(self.broker.amqp_url.as_ref())?);
        let done = match &self.from {
            Some(from) => self.publish_file(&publisher, from).await,
            None => self.publish_one(&publisher).await,
        };
        publisher.close().await;
        done?;
        Ok(ExitCode::SUCCESS)
    }

    async fn publish_one(&self, publisher: &Publisher) -> anyhow::Result<()> {
        let (Some(event_id), Some(status)) = (self.event_id, self.status) else {
            bail!("--event-id and --status are needed"); // clap has asked for them already
        };
        let message = StatusMessage {
            message_id: Some(self.message_id.unwrap_or_else(Uuid::new_v4)),
            event_id,
            team_id: self.team_id,
            status,
            step: self.step,
            occurred_at: self.occurred_at.unwrap_or_else(clock::now),
        };
        let outgoing = Outgoing::status(&self.broker.exchange, &message)?;
        for answer in publisher.publish(&[&outgoing]).await {
            answer.context("the message was not published")?;
        }
        let answer = One {
            message_id: message.message_id,
            exchange: self.broker.exchange.clone(),
            routing_key: message.routing_key(),
            confirmed: true,
        };
        self.output.print(&answer, |answer| {
            let id = answer.message_id.map(|id| id.to_string()).unwrap_or_default();
            Rows::new(["message", "exchange", "routing key"])
                .row([id, answer.exchange.clone(), answer.routing_key.clone()])
                .remark("published and confirmed")
        })
    }

    async fn publish_file(&self, publisher: &Publisher, from: &Path) -> anyhow::Result<()> {
        let mut lines = Lines::open(from).await?;
        let bar = progress(None, "messages");
        let mut confirmed = 0;
        let mut settled_lines = self.skip;
        for _ in 0..self.skip {
            if lines.next().await?.is_none() {
                break;
            }
        }
        loop {
            // Ctrl-C between two groups: what is in flight is waited for, so the count is exact.
            let group = tokio::select! {
                group = lines.group(&self.broker.exchange) => group,
                _ = tokio::signal::ctrl_c() => Group { messages: Vec::new(), last_line: settled_lines, stopped: Some(anyhow::anyhow!("interrupted")), end: true },
            };
            let references: Vec<_> = group.messages.iter().map(|(_, message)| message).collect();
            let answers = if references.is_empty() { Vec::new() } else { publisher.publish(&references).await };
            for ((line, _), answer) in group.messages.iter().zip(answers) {
                if let Err(error) = answer {
                    bar.finish_and_clear();
                    bail!(
                        "line {line}: {error}; {confirmed} messages before it are confirmed, go on with --skip {} (some after it may be published twice, which does no harm)",
                        line - 1
                    );
                }
                confirmed += 1;
                bar.inc(1);
            }
            settled_lines = group.last_line;
            if let Some(error) = group.stopped {
                bar.finish_and_clear();
                bail!("{error:#}; {confirmed} messages are confirmed, go on with --skip {settled_lines}");
            }
            if group.end {
                break;
            }
        }
        bar.finish_and_clear();
        let answer = Many { exchange: self.broker.exchange.clone(), confirmed };
        self.output.print(&answer, |answer| {
            Rows::new(["exchange", "confirmed"])
                .row([answer.exchange.clone(), answer.confirmed.to_string()])
                .remark(format!("{} messages published and confirmed", answer.confirmed))
        })
    }
}

/// The lines of a file or of stdin, one at a time.
struct Lines {
    reader: Box<dyn AsyncBufRead + Unpin + Send>,
    line: u64,
}

/// Messages to have in flight at once, with their line numbers.
struct Group {
    messages: Vec<(u64, Outgoing)>,
    /// The last line that is in this group or was empty.
    last_line: u64,
    /// A line that is no message, or a file that could not be read further.
    stopped: Option<anyhow::Error>,
    /// Nothing comes after.
    end: bool,
}

impl Lines {
    async fn open(from: &Path) -> anyhow::Result<Self> {
        let reader: Box<dyn AsyncBufRead + Unpin + Send> = if from == Path::new("-") {
            Box::new(BufReader::new(tokio::io::stdin()))
        } else {
            let file =
                tokio::fs::File::open(from).await.with_context(|| format!("could not open {}", from.display()))?;
            Box::new(BufReader::with_capacity(1 << 16, file))
        };
        Ok(Self { reader, line: 0 })
    }

    async fn next(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line).await.context("could not read")? == 0 {
            return Ok(None);
        }
        self.line += 1;
        if line.len() > LONGEST_LINE {
            bail!("line {} is longer than any message may be", self.line);
        }
        Ok(Some(line))
    }

    async fn group(&mut self, exchange: &str) -> Group {
        let mut group = Group { messages: Vec::new(), last_line: self.line, stopped: None, end: false };
        while group.messages.len() < IN_FLIGHT {
            match self.next().await {
                Ok(None) => {
                    group.end = true;
                    break;
                }
                Ok(Some(line)) => {
                    let body = line.trim_ascii();
                    if !body.is_empty() {
                        match StatusMessage::from_json(body) {
                            Ok(message) => group
                                .messages
                                .push((self.line, Outgoing::status_as_written(exchange, &message, body.to_vec()))),
                            Err(error) => {
                                group.stopped = Some(anyhow::anyhow!("line {}: {error}", self.line));
                                break;
                            }
                        }
                    }
                    group.last_line = self.line;
                }
                Err(error) => {
                    group.stopped = Some(error);
                    break;
                }
            }
        }
        group
    }
}
