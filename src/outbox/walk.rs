use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::backoff::Backoff;

/// Events whose record the broker returned or refused. The others go on without them, and none of their later records overtakes it.
pub(super) struct StuckEvents {
    pub(super) events: HashSet<Uuid>,
    /// When they are tried again; set at the end of the walk that met them.
    until: Option<Instant>,
    pub(super) backoff: Backoff,
}

/// How far the outbox is read, in the order of ids: so the walk comes to the records behind the stuck events, however many these are.
///
/// At its end it only reads what is new. A read from the start would pass all that was removed and cannot be vacuumed yet, under an old
/// transaction. But a record may be committed behind the walk, because a transaction with a higher id was faster. So now and then the walk
/// begins again, and at once where it meets a later record of the same event, which must not overtake.
pub(super) struct Walk {
    /// Up to this id everything is published or stuck.
    pub(super) after: i64,
    /// How long this walk's reads took.
    pub(super) reading: Duration,
    /// When the next walk begins, once this one has come to the end.
    pub(super) again: Option<Instant>,
}

/// The next walk begins after this many times what the last one took, so that an idle relay costs the database next to nothing…
const WALKS_APART: u32 = 50;
/// … but after this at the latest.
const WALK_AGAIN_AFTER: Duration = Duration::from_secs(10);

impl StuckEvents {
    pub(super) fn new() -> Self {
        Self { events: HashSet::new(), until: None, backoff: Backoff::for_outage() }
    }
}

impl Walk {
    pub(super) const fn new() -> Self {
        Self { after: i64::MIN, reading: Duration::ZERO, again: None }
    }

    /// The walk has come to the end of the outbox.
    pub(super) fn end(&mut self, stuck: &mut StuckEvents) {
        let now = Instant::now();
        let pause = (self.reading * WALKS_APART).min(WALK_AGAIN_AFTER);
        self.again.get_or_insert(now + pause);
        if !stuck.events.is_empty() && stuck.until.is_none() {
            stuck.until = Some(now + stuck.backoff.next_delay().max(pause));
        }
    }

    /// Only at the end of a walk: what is stuck in front must not keep it from what is behind.
    pub(super) fn begin_again_where_due(&mut self, stuck: &mut StuckEvents) {
        let Some(again) = self.again else { return };
        let now = Instant::now();
        let retry = stuck.until.is_some_and(|until| now >= until);
        if retry {
            stuck.events.clear();
            stuck.until = None;
        }
        if retry || now >= again {
            *self = Self::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stuck_is_tried_again_a_while_after_the_first_walk_that_met_it() {
        let (mut stuck, mut walk) = (StuckEvents::new(), Walk::new());
        walk.end(&mut stuck);
        assert_eq!(stuck.until, None, "nothing is stuck");
        stuck.events.insert(Uuid::nil());
        walk.end(&mut stuck);
        let until = stuck.until.expect("something is stuck");
        assert!(until > Instant::now());
        walk.end(&mut stuck);
        assert_eq!(stuck.until, Some(until), "another walk does not put it off");
    }

    #[test]
    fn walk_goes_on_from_its_end_and_begins_again_when_that_is_cheap_or_due() {
        let mut stuck = StuckEvents::new();
        let at_seven = |reading, again| Walk { after: 7, reading, again };
        for (reading, pause) in [
            (Duration::ZERO, Duration::ZERO),
            (Duration::from_millis(100), Duration::from_secs(5)),
            (Duration::from_mins(1), Duration::from_secs(10)),
        ] {
            let mut walk = at_seven(reading, None);
            walk.begin_again_where_due(&mut stuck);
            assert_eq!(walk.after, 7, "it has not come to its end");
            let before = Instant::now();
            walk.end(&mut stuck);
            let again = walk.again.unwrap();
            assert!(again >= before + pause && again <= Instant::now() + pause, "{reading:?}");
        }
        let in_an_hour = Some(Instant::now() + Duration::from_hours(1));
        let mut walk = at_seven(Duration::ZERO, in_an_hour);
        walk.begin_again_where_due(&mut stuck);
        assert_eq!(walk.after, 7, "it is not due");
        walk.again = Some(Instant::now());
        walk.begin_again_where_due(&mut stuck);
        assert_eq!(walk.after, i64::MIN, "it is due");
        let mut walk = at_seven(Duration::ZERO, in_an_hour);
        stuck.events.insert(Uuid::nil());
        stuck.until = Some(Instant::now());
        walk.begin_again_where_due(&mut stuck);
        assert_eq!((walk.after, stuck.events.len()), (i64::MIN, 0), "what is stuck is due");
    }
}
