use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::arguments::{rfc3339, uuid};
use super::interrupt::stop_on_signals;
use super::output::{OutputOptions, write_stdout};
use crate::broker::{BrokerAddress, Outgoing, Publisher};
use crate::clock;
use crate::config::BrokerOptions;
use crate::message::{EventStatus, StatusMessage};
use crate::publish_file::FilePublication;
use crate::terminal::{Table, counted, if_it_fits, progress};

/// Publishes one status message, or many from a file, each confirmed by the broker
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["event_id", "from", "schema"])))]
pub(super) struct Options {
    /// The event whose status changed
    #[arg(long, value_name = "ID", value_parser = uuid, requires = "status", conflicts_with_all = ["from", "schema"])]
    event_id: Option<Uuid>,
    /// The status reached: lead, option, confirmed, cancelled or blocked
    #[arg(long, value_name = "STATUS", requires = "event_id", conflicts_with_all = ["from", "schema"])]
    status: Option<EventStatus>,
    /// Limits the delete to this team's snapshots
    #[arg(long, value_name = "ID", value_parser = uuid, conflicts_with_all = ["from", "schema"])]
    team_id: Option<Uuid>,
    /// When the status was reached, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = rfc3339, conflicts_with_all = ["from", "schema"])]
    occurred_at: Option<OffsetDateTime>,
    /// Id to find the message by [default: a random UUID]
    #[arg(long, value_name = "ID", value_parser = uuid, conflicts_with_all = ["from", "schema"])]
    message_id: Option<Uuid>,
    /// The workflow step
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "schema"])]
    step: Option<i64>,
    /// Many messages, one JSON object per line; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "schema")]
    from: Option<PathBuf>,
    /// Skip the first lines of the file, to continue where an earlier call stopped
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
    /// How many, as for a file.
    confirmed: u64,
}

#[derive(Debug, Serialize)]
struct Many {
    exchange: String,
    confirmed: u64,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        if self.schema {
            write_stdout(StatusMessage::json_schema().as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        let address = BrokerAddress::parse(self.broker.amqp_url.as_ref())?;
        if let Some(from) = &self.from {
            self.publish_file(&address, from).await?;
        } else {
            let publisher = Publisher::new(address);
            let done = self.publish_one(&publisher).await;
            publisher.close().await;
            done?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn publish_file(&self, address: &BrokerAddress, from: &Path) -> anyhow::Result<()> {
        let stop = stop_on_signals();
        let bar = progress(None, "messages");
        let publication = FilePublication {
            address,
            exchange: &self.broker.exchange,
            from,
            skip: self.skip,
            stop: &stop.soft,
            on_confirmed: &|confirmed| bar.set_position(confirmed),
        };
        let done = publication.run().await;
        bar.finish_and_clear();
        let answer = Many { exchange: self.broker.exchange.clone(), confirmed: done? };
        self.output.print(&answer, |answer| {
            Table::new(["exchange", "confirmed"])
                .row([answer.exchange.clone(), answer.confirmed.to_string()])
                .footer(format!("{} published and confirmed", counted(answer.confirmed, "message")))
        })
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
        message.check_time(clock::now())?;
        let outgoing = Outgoing::status(&self.broker.exchange, &message)?;
        for answer in publisher.publish(&[&outgoing]).await {
            answer.context("the message was not published")?;
        }
        let answer = One {
            message_id: message.message_id,
            exchange: self.broker.exchange.clone(),
            routing_key: message.routing_key(),
            confirmed: 1,
        };
        self.output.print(&answer, |answer| {
            let id = answer.message_id.map(|id| id.to_string()).unwrap_or_default();
            Table::new(["message".into(), if_it_fits("routing key"), if_it_fits("exchange")])
                .row([id, answer.routing_key.clone(), answer.exchange.clone()])
                .footer("1 message published and confirmed")
        })
    }
}
