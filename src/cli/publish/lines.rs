use std::path::Path;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

/// A line that RabbitMQ 4 would refuse as a message.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// The lines of a file or of stdin, one at a time.
pub(super) struct Lines {
    reader: Box<dyn AsyncBufRead + Unpin + Send>,
    /// The number of the line read last.
    pub(super) number: u64,
}

impl Lines {
    /// `-` is stdin.
    pub(super) async fn open(from: &Path) -> anyhow::Result<Self> {
        let reader: Box<dyn AsyncBufRead + Unpin + Send> = if from == Path::new("-") {
            Box::new(BufReader::new(tokio::io::stdin()))
        } else {
            let file =
                tokio::fs::File::open(from).await.with_context(|| format!("could not open {}", from.display()))?;
            Box::new(BufReader::with_capacity(1 << 18, file))
        };
        Ok(Self { reader, number: 0 })
    }

    /// The next line into `line`; `false` at the end.
    pub(super) async fn next(&mut self, line: &mut Vec<u8>) -> anyhow::Result<bool> {
        line.clear();
        let mut bounded = (&mut self.reader).take(LONGEST_LINE + 1);
        if bounded.read_until(b'\n', line).await.context("could not read")? == 0 {
            return Ok(false);
        }
        self.number += 1;
        if line.len() as u64 > LONGEST_LINE {
            bail!("line {} is longer than any message may be", self.number);
        }
        Ok(true)
    }
}
