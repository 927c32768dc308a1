//! What `doctor` asks of the broker, without changing anything there.
//!
//! AMQP cannot show a queue's properties or a user's permissions. Both are found out by requests that the broker refuses; each has a
//! channel of its own, because a refusal closes it, and the broker's log shows them.

pub(super) mod compare;
pub(super) mod inspect;
mod permissions;
