//! Publishing: from a Rust program, from a file, from the outbox.

mod library;
mod outbox;
mod publish_command;
mod publish_file;
mod rejected;
mod sharing;
