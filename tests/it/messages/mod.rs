//! What happens to a message, whatever is in it.

mod bad_input;
mod fates;
mod hostile_messages;
