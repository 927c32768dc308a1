use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

/// Some thousand lines: more than any burst that a reader which is only slow falls behind by.
const MOST_BYTES: usize = 1024 * 1024;

/// Lines that were dropped because nobody read stderr. One for the process, as stderr is.
pub(super) static LINES_DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    let help = "Log lines that were dropped because the reader of stderr did not keep up.";
    IntCounter::new("snapshot_lifecycle_log_lines_dropped_total", help).expect("constant name")
});

/// Log lines on their way to stderr, which a thread writes: whoever logs never waits for the reader of the log.
///
/// Not tracing-appender's `NonBlocking`, which does the same: it does not tell the reader what was dropped, and complains on stdout when
/// it cannot flush at the end.
#[derive(Debug)]
pub(super) struct LogQueue {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Whether the thread is in the middle of a line.
    writing: bool,
    /// Not told yet.
    dropped: u64,
}

impl LogQueue {
    /// Starts the thread. The queue lives as long as the process.
    pub(super) fn start() -> io::Result<&'static Self> {
        let queue: &'static Self = Box::leak(Box::new(Self { lines: Mutex::default(), changed: Condvar::new() }));
        thread::Builder::new().name("log".to_owned()).spawn(|| queue.write_lines())?;
        Ok(queue)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut lines = self.lock();
        if lines.bytes + line.len() > MOST_BYTES {
            lines.dropped += 1;
            LINES_DROPPED.inc();
        } else {
            lines.bytes += line.len();
            lines.waiting.push_back(line.to_owned());
            self.changed.notify_all();
        }
    }

    fn write_lines(&self) {
        loop {
            let line = {
                let mut lines = self
                    .changed
                    .wait_while(self.lock(), |lines| lines.waiting.is_empty())
                    .unwrap_or_else(PoisonError::into_inner);
                lines.writing = true;
                let line = lines.waiting.pop_front().unwrap_or_default();
                lines.bytes -= line.len();
                line
            };
            // This is where a reader that stalls holds us up, and nobody else. Where there is nowhere to write to, nothing can be done.
            let written = io::stderr().write_all(&line).is_ok();
            let dropped = {
                let mut lines = self.lock();
                lines.writing = false;
                self.changed.notify_all();
                // Once there is room again for the line that tells it.
                if written && lines.bytes < MOST_BYTES / 2 { std::mem::take(&mut lines.dropped) } else { 0 }
            };
            if dropped > 0 {
                tracing::warn!(lines = dropped, "log lines were dropped");
            }
        }
    }

    /// Waits until everything is written, at most for so long.
    pub(super) fn flush(&self, at_most: Duration) {
        let busy = |lines: &mut Lines| lines.writing || !lines.waiting.is_empty();
        drop(self.changed.wait_timeout_while(self.lock(), at_most, busy));
    }
}

/// One line, complete at each write: the formatter writes a line by one call.
pub(super) struct LineWriter(&'static LogQueue);

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for &'static LogQueue {
    type Writer = LineWriter;

    fn make_writer(&self) -> LineWriter {
        LineWriter(self)
    }
}
