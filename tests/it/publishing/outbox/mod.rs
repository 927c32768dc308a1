//! The outbox: what the backend commits is published, in order and at least once, and nothing else.

mod install;
mod older_versions;
mod order;
mod publishing;
mod recording;
mod restored_tables;
