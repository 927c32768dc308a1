use std::fs::{File, Metadata};
use std::io::{BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::Hands;
use super::filter::Filter;
use super::survey::Selection;
use crate::cli::output::{OutputOptions, counted, note, progress, write_while_read};
use crate::config::BrokerOptions;
use crate::terminal::Table;

/// Saves dead letters whole, one JSON object a line; nothing is changed
///
/// Each line has what `list` shows, all properties and headers, and `body_base64` where the body is not UTF-8.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file to make, which must not be there yet; it has .partial appended until it is whole. - is stdout
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
    /// Stands for exactly these letters, for `purge --exactly`.
    selection: String,
}

/// A file gets its name when it is whole: what was cut short must not be taken for everything and purged.
enum Target {
    Stdout,
    File { file: BufWriter<File>, partial: PathBuf },
}

impl Export {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        refuse_existing(&self.to)?;
        let mut walk = self.filter.walk();
        let look = async |hands: &mut Hands| {
            let mut target = Target::open(&self.to)?;
            let bar = progress(Some(hands.queue.there().into()), "dead letters read");
            let mut selection = Selection::of(hands.queue.there());
            while !walk.is_over() {
                let Some(held) = hands.next().await? else { break };
                bar.inc(1);
                if walk.takes(&held.letter) {
                    selection.add(&held.letter);
                    let mut line = serde_json::to_vec(&held.exported())?;
                    line.push(b'\n');
                    if !target.write(&line).with_context(|| format!("could not write to {}", self.to.display()))? {
                        bar.finish_and_clear();
                        return Ok(None); // nobody reads any longer: no selection of what nobody has
                    }
                }
            }
            bar.finish_and_clear();
            Ok(Some((target, selection.to_string())))
        };
        let Some((target, selection)) = super::with_queue(&self.broker, look).await? else {
            return Ok(ExitCode::SUCCESS);
        };
        let Target::File { file, partial } = target else {
            note(&format!(
                "`dlq purge` with the same filters and --exactly {selection} --yes removes these and no others"
            ));
            return Ok(ExitCode::SUCCESS);
        };
        // On the disk before anybody purges what was saved.
        let file = file.into_inner().with_context(|| format!("could not write to {}", partial.display()))?;
        file.sync_all().with_context(|| format!("could not write to {}", partial.display()))?;
        refuse_existing(&self.to)?;
        std::fs::rename(&partial, &self.to).with_context(|| format!("could not make {}", self.to.display()))?;
        self.output.print(&Answer { exported: walk.matched, to: self.to, selection }, |answer| {
            Table::new(["exported", "file"])
                .row([answer.exported.to_string(), answer.to.display().to_string()])
                .footer(format!(
                    "{} saved, still in the queue; `dlq purge` with the same filters and --exactly {} --yes removes these and no others",
                    counted(answer.exported, "dead letter"),
                    answer.selection
                ))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Target {
    fn open(to: &Path) -> anyhow::Result<Self> {
        if to == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let mut partial = to.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::options().create(true).append(true).open(&partial);
        let file = file.with_context(|| format!("could not make {}", partial.display()))?;
        // Another export may be writing it, or may have given it its name meanwhile; what one left that was cut short is nobody's.
        let same = |there: &Metadata, ours: &Metadata| there.ino() == ours.ino();
        let is_there = || partial.metadata().and_then(|there| Ok(same(&there, &file.metadata()?))).unwrap_or(false);
        if file.try_lock().is_err() || !is_there() {
            bail!("another export writes {}; choose another name", partial.display());
        }
        file.set_len(0).with_context(|| format!("could not empty {}", partial.display()))?;
        Ok(Self::File { file: BufWriter::new(file), partial })
    }

    /// `false` when nobody reads any longer.
    fn write(&mut self, line: &[u8]) -> anyhow::Result<bool> {
        match self {
            Self::Stdout => write_while_read(line),
            Self::File { file, .. } => Ok(file.write_all(line).map(|()| true)?),
        }
    }
}

fn refuse_existing(to: &Path) -> anyhow::Result<()> {
    if to != Path::new("-") && to.try_exists().with_context(|| format!("could not look for {}", to.display()))? {
        bail!("{} is there already; choose another name", to.display());
    }
    Ok(())
}
