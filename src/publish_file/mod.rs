//! Status messages from a file or from stdin, one JSON object a line, to the broker: many in flight, each confirmed, and an end that says
//! exactly where to continue.

mod error;
mod lines;
mod publication;

pub use publication::FilePublication;
