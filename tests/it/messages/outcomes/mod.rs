//! "What happens to a message": each row of the table in the README.

mod poison_messages;
mod properties;
mod rejections;
mod retries;
mod undeletable_rows;
