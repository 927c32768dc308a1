//! What happens to a message, whatever is in it.

mod bad_input;
mod hostile_messages;
mod outcomes;
