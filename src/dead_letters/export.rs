use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::DeadLettersError;
use super::filter::Filter;
use super::selection::Selection;
use super::session::{DeadLetters, Progress, QueueSession};
use crate::broker::ExportedLetter;

/// Saves dead letters whole, one JSON object a line. Nothing is changed.
#[derive(Debug)]
pub struct Export {
    /// Which ones.
    pub filter: Filter,
}

/// Where an export goes.
pub enum ExportTarget<'a> {
    /// Called with each line; `false` when nobody reads any longer.
    Lines(&'a mut dyn FnMut(&[u8]) -> io::Result<bool>),
    /// A file, which must not exist yet.
    File(&'a Path),
}

/// The outcome of an export.
#[derive(Debug)]
pub struct ExportReport {
    /// Dead letters saved.
    pub exported: u32,
    /// Stands for exactly these dead letters.
    pub selection: String,
}

impl Export {
    /// Saves them. A file has its name only when it is whole and on the disk. `None` when nobody reads the lines any longer.
    ///
    /// # Errors
    /// Where the queue cannot be read, the target cannot be written, or the work is stopped.
    pub async fn run(
        &self,
        letters: &DeadLetters,
        target: ExportTarget<'_>,
    ) -> Result<Option<ExportReport>, DeadLettersError> {
        let to = match target {
            ExportTarget::Lines(write) => {
                return letters.with_queue(async |session| self.write(session, write).await).await;
            }
            ExportTarget::File(to) => to,
        };
        refuse_existing(to)?;
        let (report, partial) = letters
            .with_queue(async |session| {
                let mut partial = PartialFile::open(to)?;
                let report = self.write(session, &mut |line| partial.file.write_all(line).map(|()| true)).await;
                match report {
                    Ok(report) => Ok((report, partial)),
                    Err(DeadLettersError::Output(error)) => Err(failed("write to", &partial.path)(error)),
                    Err(error) => Err(error),
                }
            })
            .await?;
        partial.finish(to)?;
        Ok(report)
    }

    async fn write(
        &self,
        session: &mut QueueSession<'_>,
        write: &mut dyn FnMut(&[u8]) -> io::Result<bool>,
    ) -> Result<Option<ExportReport>, DeadLettersError> {
        let mut search = self.filter.search();
        let letters = session.queue.letters();
        let mut selection = Selection::new(letters);
        while !search.is_over() {
            let Some(held) = session.read().await? else { break };
            let matches = search.matches(&held.letter);
            session.progress(Progress::Read(search.position(), letters));
            if !matches {
                continue;
            }
            selection.add(&held.letter);
            let line = serde_json::to_vec(&ExportedLetter::from(&held)).map_err(io::Error::from);
            let written = line.and_then(|mut line| {
                line.push(b'\n');
                write(&line)
            });
            if !written.map_err(DeadLettersError::Output)? {
                return Ok(None); // no selection of what nobody has
            }
        }
        Ok(Some(ExportReport { exported: search.matched(), selection: selection.to_string() }))
    }
}

/// A file that gets its name when it is whole: what was cut short must not be taken for everything and purged.
struct PartialFile {
    file: BufWriter<File>,
    path: PathBuf,
}

impl PartialFile {
    fn open(to: &Path) -> Result<Self, DeadLettersError> {
        let mut path = to.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        let file = File::options().create(true).append(true).open(&path).map_err(failed("create", &path))?;
        // Another export may be writing it, or may have given it its name meanwhile; what one left that was cut short is nobody's.
        let same = |named: &Metadata, ours: &Metadata| named.ino() == ours.ino();
        let is_ours = || path.metadata().and_then(|named| Ok(same(&named, &file.metadata()?))).unwrap_or(false);
        if file.try_lock().is_err() || !is_ours() {
            return Err(DeadLettersError::Busy(path));
        }
        file.set_len(0).map_err(failed("empty", &path))?;
        Ok(Self { file: BufWriter::new(file), path })
    }

    /// Puts it on the disk before anybody purges what was saved, and gives it its name.
    fn finish(self, to: &Path) -> Result<(), DeadLettersError> {
        let file = self.file.into_inner().map_err(|error| failed("write to", &self.path)(error.into_error()))?;
        file.sync_all().map_err(failed("write to", &self.path))?;
        refuse_existing(to)?;
        std::fs::rename(&self.path, to).map_err(failed("create", to))
    }
}

fn refuse_existing(to: &Path) -> Result<(), DeadLettersError> {
    if to.try_exists().map_err(failed("find out whether there is", to))? {
        return Err(DeadLettersError::Exists(to.to_owned()));
    }
    Ok(())
}

fn failed(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> DeadLettersError {
    move |source| DeadLettersError::File { action, file: file.to_owned(), source }
}
