use std::path::Path;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::error::{FileError, StopReason};
use super::lines::Lines;
use crate::broker::{BrokerAddress, Outgoing, PublishReport, PublishStream};
use crate::clock;
use crate::message::{InvalidStatusMessage, StatusMessage, TraceContext};

/// Which messages, and where they go.
pub struct FilePublication<'a> {
    /// The broker.
    pub address: &'a BrokerAddress,
    /// The exchange.
    pub exchange: &'a str,
    /// The file; `-` is stdin.
    pub from: &'a Path,
    /// The first lines, which an earlier call published.
    pub skip: u64,
    /// Where all messages come from, in a trace.
    pub trace_context: Option<TraceContext>,
    /// Ends it between two lines.
    pub stop: &'a CancellationToken,
    /// Called with the number of messages confirmed so far.
    pub on_confirmed: &'a (dyn Fn(u64) + Send + Sync),
}

/// What was published.
#[derive(Debug, Serialize)]
pub struct FileReport {
    /// The exchange.
    pub exchange: String,
    /// Messages confirmed.
    pub confirmed: u64,
}

/// How sending ended, but for messages that are not confirmed.
struct SendEnd {
    last_line: u64,
    reason: Option<SendEndReason>,
}

enum SendEndReason {
    Stopped(StopReason),
    Invalid(u64, InvalidStatusMessage),
}

impl FilePublication<'_> {
    /// Publishes the lines after the first `skip`.
    ///
    /// # Errors
    /// Where not every line is published. The error says with which `--skip` to continue.
    pub async fn run(&self) -> Result<FileReport, FileError> {
        let mut lines = Lines::open(self.from).await.map_err(|error| FileError::Open(self.from.to_owned(), error))?;
        let mut stream = tokio::select! {
            stream = PublishStream::open(self.address) => stream?,
            () = self.stop.cancelled() => {
                return Err(FileError::Stopped { reason: StopReason::Interrupted, last_line: self.skip, confirmed: 0 });
            }
        };
        let end = self.send_lines(&mut lines, &mut stream).await;
        let published = stream.finish().await;
        let (confirmed, others) = (published.confirmed, others(&published));
        if let Some((line, error)) = published.first_failure {
            return Err(FileError::NotConfirmed { line, error, others, confirmed });
        }
        match end.reason {
            Some(SendEndReason::Invalid(line, error)) => Err(FileError::Invalid { line, error, confirmed }),
            Some(SendEndReason::Stopped(reason)) => {
                Err(FileError::Stopped { reason, last_line: end.last_line, confirmed })
            }
            None if self.skip > lines.number() => Err(FileError::BeyondTheEnd { skip: self.skip, end: lines.number() }),
            None => Ok(FileReport { exchange: self.exchange.to_owned(), confirmed }),
        }
    }

    async fn send_lines(&self, lines: &mut Lines, stream: &mut PublishStream) -> SendEnd {
        let mut line = Vec::new();
        let mut last_line = 0;
        let reason = loop {
            let read = {
                let mut next = std::pin::pin!(lines.next(&mut line));
                loop {
                    tokio::select! {
                        biased;
                        () = self.stop.cancelled() => break Err(StopReason::Interrupted),
                        read = &mut next => break read,
                        // Where lines come slowly, a failure is reported before the next.
                        well = stream.listen() => if !well { break Ok(false) },
                    }
                }
            };
            match read {
                Ok(true) => {}
                Ok(false) => break None,
                Err(stopped) => break Some(SendEndReason::Stopped(stopped)),
            }
            let (number, body) = (lines.number(), line.trim_ascii());
            if number > self.skip && !body.is_empty() {
                let message = match checked(body) {
                    Ok(message) => StatusMessage { trace_context: self.trace_context.clone(), ..message },
                    Err(error) => break Some(SendEndReason::Invalid(number, error)),
                };
                if !stream.send(number, Outgoing::status_as_written(self.exchange, &message, body.to_vec())).await {
                    break None;
                }
                if number.is_multiple_of(1000) {
                    (self.on_confirmed)(stream.confirmed());
                }
            }
            last_line = number;
        };
        SendEnd { last_line: last_line.max(self.skip), reason }
    }
}

/// By the same rules as the worker.
fn checked(body: &[u8]) -> Result<StatusMessage, InvalidStatusMessage> {
    let message = StatusMessage::from_json(body)?;
    message.check_time(clock::now())?;
    Ok(message)
}

fn others(published: &PublishReport) -> String {
    let counts =
        [(published.unroutable, "unroutable"), (published.refused, "refused"), (published.unconfirmed, "unconfirmed")];
    if counts.iter().map(|(number, _)| number).sum::<u64>() < 2 {
        return String::new();
    }
    let counts: Vec<_> =
        counts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    format!(" ({} of those in flight)", counts.join(", "))
}
