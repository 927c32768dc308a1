use std::path::Path;

use anyhow::bail;
use serde::Serialize;

use super::lines::Lines;
use crate::broker::{BrokerAddress, Outgoing, PublishStream, Published};
use crate::cli::interrupt::interrupted;
use crate::cli::output::{counted, one_line, progress};
use crate::clock;
use crate::message::{InvalidStatusMessage, StatusMessage};

/// What was published from a file.
#[derive(Debug, Serialize)]
pub(super) struct Many {
    pub(super) exchange: String,
    pub(super) confirmed: u64,
}

/// Why no more lines were taken, and up to which line all were sent or empty.
struct End {
    last_line: u64,
    stopped: Option<anyhow::Error>,
    /// The line that is no status message, if that is why.
    bad_line: Option<u64>,
}

/// Publishes the lines after the first `skip`. Interrupted or failed, it says with which `--skip` to go on.
pub(super) async fn publish_file(
    address: &BrokerAddress,
    exchange: String,
    from: &Path,
    skip: u64,
) -> anyhow::Result<Many> {
    let mut lines = Lines::open(from).await?;
    let mut stream = PublishStream::open(address).await?;
    let end = send_lines(&mut lines, &mut stream, &exchange, skip).await;
    let published = stream.finish().await;
    let confirmed = published.confirmed;
    let are = if confirmed == 1 { "is" } else { "are" };
    let more = format!("{} {are} confirmed", counted(confirmed, "message"));
    if let Some((line, error)) = &published.first_failure {
        bail!(
            "line {line}: {error}{}; {more}, go on with --skip {} (some after that line may be published twice, which does no harm)",
            others(&published),
            line - 1
        );
    }
    match (end.stopped, end.bad_line) {
        (Some(error), Some(line)) => bail!(
            "line {line}: {}; {more}, fix line {line} and go on with --skip {}, or leave it out with --skip {line}",
            one_line(&error),
            line - 1
        ),
        (Some(error), None) => bail!("{}; {more}, go on with --skip {}", one_line(&error), end.last_line),
        (None, _) if skip > lines.number => bail!("--skip {skip} is beyond the end, which is line {}", lines.number),
        (None, _) => {}
    }
    Ok(Many { exchange, confirmed })
}

async fn send_lines(lines: &mut Lines, stream: &mut PublishStream, exchange: &str, skip: u64) -> End {
    let bar = progress(None, "messages");
    let mut interrupted = std::pin::pin!(interrupted());
    let mut line = Vec::new();
    let (mut last_line, mut bad_line) = (0, None);
    let stopped = loop {
        let read = {
            let mut next = std::pin::pin!(lines.next(&mut line));
            loop {
                tokio::select! {
                    biased;
                    () = &mut interrupted => break None,
                    read = &mut next => break Some(read),
                    // Where lines come slowly, a failure is told before the next.
                    well = stream.listen() => if !well { break Some(Ok(false)) },
                }
            }
        };
        match read {
            None => break Some(anyhow::anyhow!("interrupted")),
            Some(Ok(true)) => {}
            Some(Ok(false)) => break None,
            Some(Err(error)) => break Some(error),
        }
        let body = line.trim_ascii();
        if lines.number > skip && !body.is_empty() {
            let message = match checked(body) {
                Ok(message) => message,
                Err(error) => {
                    bad_line = Some(lines.number);
                    break Some(error.into());
                }
            };
            let outgoing = Outgoing::status_as_written(exchange, &message, body.to_vec());
            if !stream.send(lines.number, outgoing).await {
                break None;
            }
            if lines.number.is_multiple_of(1000) {
                bar.set_position(stream.confirmed());
            }
        }
        last_line = lines.number;
    };
    bar.finish_and_clear();
    End { last_line: last_line.max(skip), stopped, bad_line }
}

/// By the same rules as the worker.
fn checked(body: &[u8]) -> Result<StatusMessage, InvalidStatusMessage> {
    let message = StatusMessage::from_json(body)?;
    message.check_time(clock::now())?;
    Ok(message)
}

fn others(published: &Published) -> String {
    let of_all =
        [(published.unroutable, "unroutable"), (published.refused, "refused"), (published.unconfirmed, "unconfirmed")];
    let counts: Vec<_> = of_all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if published.unroutable + published.refused + published.unconfirmed > 1 {
        format!(" ({} of those in flight)", counts.join(", "))
    } else {
        String::new()
    }
}
