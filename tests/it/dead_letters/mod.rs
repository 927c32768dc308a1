//! The `dlq` commands: what they show, move and delete, and what stays.

pub mod dlq;
mod half_way;
pub mod odd_letters;
mod replays;
mod walk;
