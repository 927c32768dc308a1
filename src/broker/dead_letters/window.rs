use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};

use crate::broker::connection::connect::answer;
use crate::broker::error::BrokerError;

/// Letters in memory at once, at most. A consumer that has received this many is replaced by a new one with a prefetch of its own, while
/// what was received stays unacknowledged.
pub(super) const MAX_WINDOW: u16 = 500;
/// The first window, while nothing is known of the letters' size.
pub(super) const FIRST_WINDOW: u16 = 4;
/// Bytes of bodies in memory at once, by the average size of the window before.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;

/// How many letters to receive next, by the size of those before.
pub(super) fn next_window(letters: usize, bytes: usize) -> u16 {
    let affordable = WINDOW_BYTES * letters / bytes.max(1);
    u16::try_from(affordable).unwrap_or(MAX_WINDOW).clamp(1, MAX_WINDOW)
}

/// A consumer that receives `size` letters.
pub(super) async fn open_window(channel: &Channel, queue: &str, size: u16) -> Result<Consumer, BrokerError> {
    // global is false: a prefetch for each consumer; quorum queues refuse another.
    answer("set the prefetch", channel.basic_qos(size, BasicQosOptions { global: false })).await?;
    // The defaults: with acknowledgements, so that a letter leaves the queue only when it is removed; not exclusive, because the lock is
    // a queue of its own.
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    answer("read the dead-letter queue", consuming).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_window_holds_what_memory_affords() {
        let mebibyte = 1024 * 1024;
        assert_eq!(next_window(4, 4 * mebibyte), 16);
        assert_eq!(next_window(2, 3 * mebibyte), 10);
        assert_eq!(next_window(4, 4_000), MAX_WINDOW, "small letters");
        assert_eq!(next_window(1, 100 * mebibyte), 1, "one larger than all");
        assert_eq!(next_window(4, 0), MAX_WINDOW, "empty ones");
    }
}
