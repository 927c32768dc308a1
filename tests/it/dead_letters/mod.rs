//! The `dlq` commands: what they show, move and delete, and what stays.

mod browse;
mod interrupted_commands;
mod lock;
mod purge_and_export;
mod replay;
mod replayed_messages;
mod unusual_dead_letters;
mod walk;
