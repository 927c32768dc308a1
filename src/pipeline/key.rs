use uuid::Uuid;

use crate::policy::EventEnd;

/// Event and team: what makes event ends the same for [`crate::policy::merge`].
pub(super) type Key = (Uuid, Option<Uuid>);

pub(super) const fn key(end: &EventEnd) -> Key {
    (end.event_id, end.team_id)
}
