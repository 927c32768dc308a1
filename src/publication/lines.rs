use std::io;
use std::path::Path;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

use super::error::StopReason;

/// A longer line RabbitMQ 4 would refuse as a message.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// The lines of a file or of stdin, one at a time.
pub(super) struct Lines {
    reader: Box<dyn AsyncBufRead + Unpin + Send>,
    number: u64,
}

impl Lines {
    /// `-` is stdin.
    pub(super) async fn open(from: &Path) -> io::Result<Self> {
        let reader: Box<dyn AsyncBufRead + Unpin + Send> = if from == Path::new("-") {
            Box::new(BufReader::new(tokio::io::stdin()))
        } else {
            Box::new(BufReader::with_capacity(1 << 18, tokio::fs::File::open(from).await?))
        };
        Ok(Self { reader, number: 0 })
    }

    /// The number of the line read last.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Reads the next line into `line`; `false` at the end.
    pub(super) async fn next(&mut self, line: &mut Vec<u8>) -> Result<bool, StopReason> {
        line.clear();
        let mut bounded = (&mut self.reader).take(LONGEST_LINE + 1);
        if bounded.read_until(b'\n', line).await.map_err(StopReason::Unreadable)? == 0 {
            return Ok(false);
        }
        self.number += 1;
        if line.len() as u64 > LONGEST_LINE {
            return Err(StopReason::TooLong(self.number));
        }
        Ok(true)
    }
}
