//! Status messages by hand to the broker: one, or many from a file or from stdin, one JSON object a line. Of those many are in flight, each is
//! confirmed, and the end says exactly where to continue.

mod error;
mod file;
mod lines;
mod message;

pub use file::{FilePublication, FileReport};
pub use message::{MessagePublication, MessageReport};
