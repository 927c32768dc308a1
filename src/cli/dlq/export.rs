use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::filter::Filter;
use crate::cli::output::{OutputOptions, Rows, progress, write_while_read};
use crate::config::BrokerOptions;

/// Saves dead letters whole, one JSON object a line; nothing is changed
///
/// Each line has what `list` shows, all properties and headers, and `body_base64` where the body is not UTF-8.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file to make, which must not be there yet; - is stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    to: PathBuf,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten, next_help_heading = "RabbitMQ")]
    broker: BrokerOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Serialize)]
struct Answer {
    exported: u32,
    to: PathBuf,
}

enum Target {
    Stdout,
    File(BufWriter<File>),
}

impl Export {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut queue = super::open(&self.broker).await?;
        let mut target = Target::open(&self.to)?;
        let mut walk = self.filter.walk();
        let bar = progress(Some(queue.there().into()), "letters");
        while !walk.is_over() {
            let Some(held) = queue.next().await? else { break };
            bar.inc(1);
            if walk.takes(&held.letter) {
                let mut line = serde_json::to_vec(&held.exported())?;
                line.push(b'\n');
                if !target.write(&line).with_context(|| format!("could not write to {}", self.to.display()))? {
                    break;
                }
            }
        }
        bar.finish_and_clear();
        queue.close().await;
        let Target::File(file) = target else { return Ok(ExitCode::SUCCESS) };
        // On the disk before anybody purges what was saved.
        let file = file.into_inner().with_context(|| format!("could not write to {}", self.to.display()))?;
        file.sync_all().with_context(|| format!("could not write to {}", self.to.display()))?;
        self.output.print(&Answer { exported: walk.matched, to: self.to }, |answer| {
            Rows::new(["letters", "file"])
                .row([answer.exported.to_string(), answer.to.display().to_string()])
                .remark(format!("{} letters saved; they are still in the queue", answer.exported))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Target {
    fn open(to: &Path) -> anyhow::Result<Self> {
        if to == Path::new("-") {
            return Ok(Self::Stdout);
        }
        match OpenOptions::new().write(true).create_new(true).open(to) {
            Ok(file) => Ok(Self::File(BufWriter::new(file))),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                anyhow::bail!("{} is there already; choose another name", to.display())
            }
            Err(error) => Err(error).with_context(|| format!("could not make {}", to.display())),
        }
    }

    /// `false` when nobody reads any longer.
    fn write(&mut self, line: &[u8]) -> anyhow::Result<bool> {
        match self {
            Self::Stdout => write_while_read(line),
            Self::File(file) => Ok(file.write_all(line).map(|()| true)?),
        }
    }
}
