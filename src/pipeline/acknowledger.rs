use std::collections::BTreeSet;

use crate::broker::{ChannelGone, Delivery};

/// Acknowledges the deliveries of one channel.
///
/// An acknowledgement with AMQP's `multiple` covers every unacknowledged delivery of its channel up to its tag. It is wanted, because
/// it is one frame for a batch instead of a thousand. It is dangerous: if it covers a message whose delete is not committed, or whose
/// retry copy or dead letter is not confirmed, and the worker dies, that message is lost. So there is one rule, and it is kept here:
///
/// **`multiple` is set only if every delivery of the channel up to that tag is settled.**
///
/// Therefore every delivery is announced by [`opened`](Self::opened) before anything is done with it, and comes back to
/// [`acknowledge`](Self::acknowledge) when it is settled. What stays open in between (in this batch, in another one, in a slow event,
/// or until its copy is confirmed) keeps whatever came after it from being covered: that is acknowledged one by one. A tag that was
/// never announced counts as open for ever. Several batches may be in flight and end in any order.
///
/// The design not taken is a flag "nothing else is open" that the steps pass on: each of them had a part of the rule then, and a test
/// that left one part out stayed green.
#[derive(Default)]
pub(super) struct Acknowledger {
    tags: OpenTags,
}

impl Acknowledger {
    /// Announces deliveries, in the order in which they came.
    pub(super) fn opened(&mut self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            self.tags.open(delivery.tag());
        }
    }

    /// Acknowledges deliveries that are settled: committed, or confirmed elsewhere.
    ///
    /// # Errors
    /// When the channel has ended. The broker then delivers again what is not acknowledged.
    pub(super) async fn acknowledge(&mut self, mut settled: Vec<Delivery>) -> Result<(), ChannelGone> {
        settled.sort_unstable_by_key(Delivery::tag);
        let tags: Vec<_> = settled.iter().map(Delivery::tag).collect();
        let acks = self.tags.settle(&tags);
        let mut deliveries = settled.into_iter();
        for Ack { tag, multiple } in acks {
            // Both ascend, and each acknowledgement is for one of the deliveries.
            if let Some(delivery) = deliveries.find(|delivery| delivery.tag() == tag) {
                delivery.ack(multiple).await?;
            }
        }
        Ok(())
    }
}

/// One acknowledgement to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ack {
    tag: u64,
    multiple: bool,
}

/// Which deliveries of a channel are open. Tags count 1, 2, 3, … on each channel.
#[derive(Debug, Default)]
struct OpenTags {
    /// Not settled, or never announced.
    open: BTreeSet<u64>,
    /// The last one announced; nothing is known of those after it.
    last: u64,
}

impl OpenTags {
    fn open(&mut self, tag: u64) {
        // Another one than this where some were never announced: one of them keeps whatever comes after it from being covered.
        self.open.insert(self.last + 1);
        self.open.insert(tag);
        self.last = self.last.max(tag);
    }

    /// The acknowledgements for settled tags, both in ascending order.
    fn settle(&mut self, settled: &[u64]) -> Vec<Ack> {
        for tag in settled {
            self.open.remove(tag);
        }
        let first_open = self.open.first().copied().unwrap_or(self.last + 1);
        let (together, alone) = settled.split_at(settled.partition_point(|tag| *tag < first_open));
        let together = together.last().map(|tag| Ack { tag: *tag, multiple: together.len() > 1 });
        together.into_iter().chain(alone.iter().map(|tag| Ack { tag: *tag, multiple: false })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(tag: u64) -> Ack {
        Ack { tag, multiple: false }
    }

    fn all_up_to(tag: u64) -> Ack {
        Ack { tag, multiple: true }
    }

    fn opened(tags: impl IntoIterator<Item = u64>) -> OpenTags {
        let mut open = OpenTags::default();
        for tag in tags {
            open.open(tag);
        }
        open
    }

    #[test]
    fn whole_batch_is_acknowledged_at_once() {
        assert_eq!(opened(1..=5).settle(&[1, 2, 3, 4, 5]), [all_up_to(5)]);
        assert_eq!(opened(1..=1).settle(&[1]), [one(1)]);
        assert_eq!(opened(1..=5).settle(&[]), []);
    }

    #[test]
    fn message_that_is_held_is_never_covered() {
        let mut tags = opened(1..=5);
        assert_eq!(tags.settle(&[1, 2, 4, 5]), [all_up_to(2), one(4), one(5)]);
        assert_eq!(tags.settle(&[3]), [one(3)]);
        assert_eq!(opened(1..=3).settle(&[2, 3]), [one(2), one(3)], "the first one is open");
    }

    #[test]
    fn message_of_an_earlier_batch_is_never_covered() {
        let mut tags = opened(1..=3);
        assert_eq!(tags.settle(&[2, 3]), [one(2), one(3)]);
        for tag in 4..=6 {
            tags.open(tag);
        }
        assert_eq!(tags.settle(&[4, 5, 6]), [one(4), one(5), one(6)]);
        for tag in 7..=8 {
            tags.open(tag);
        }
        assert_eq!(tags.settle(&[1, 7, 8]), [all_up_to(8)], "now nothing is open any more");
    }

    #[test]
    fn batch_in_flight_behind_another_does_not_hinder_it() {
        let mut tags = opened(1..=6);
        assert_eq!(tags.settle(&[1, 2, 3]), [all_up_to(3)]);
        assert_eq!(tags.settle(&[4, 5, 6]), [all_up_to(6)]);
    }

    #[test]
    fn delivery_that_was_never_announced_is_never_covered() {
        let mut tags = opened([1, 2, 4, 5]);
        assert_eq!(tags.settle(&[1, 2, 4, 5]), [all_up_to(2), one(4), one(5)]);
        let mut tags = OpenTags::default();
        assert_eq!(tags.settle(&[3]), [one(3)]);
        assert_eq!(opened(1..=2).settle(&[1, 2, 3]), [all_up_to(2), one(3)]);
    }

    /// A broker that knows what is unacknowledged, and a worker that settles at random.
    #[test]
    fn no_order_of_settling_covers_an_open_message_or_forgets_a_settled_one() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        for _ in 0..2_000 {
            let (mut tags, mut open, mut unacknowledged) = (OpenTags::default(), BTreeSet::new(), BTreeSet::new());
            let mut last = 0;
            for _ in 0..20 {
                for _ in 0..next(6) {
                    last += 1;
                    tags.open(last);
                    open.insert(last);
                    unacknowledged.insert(last);
                }
                let settled: Vec<u64> = open.iter().copied().filter(|_| next(3) > 0).collect();
                for tag in &settled {
                    open.remove(tag);
                }
                for ack in tags.settle(&settled) {
                    assert!(unacknowledged.contains(&ack.tag), "{ack:?} closes the channel: unknown tag");
                    if ack.multiple {
                        assert!(open.range(..=ack.tag).next().is_none(), "{ack:?} covers one of {open:?}");
                        unacknowledged.retain(|tag| *tag > ack.tag);
                    } else {
                        unacknowledged.remove(&ack.tag);
                    }
                }
                assert_eq!(unacknowledged, open);
            }
        }
    }
}
