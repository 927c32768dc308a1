//! Text laid out for a terminal: tables that fit its width, records of names and values, JSON for people. All that is pure, and its printing
//! is `cli::output`'s. A progress bar draws on its own.

mod durations;
mod json;
mod progress;
mod records;
mod table;
mod words;
mod wrap;

pub use durations::{duration, rounded_duration};
pub use json::for_the_screen;
pub use progress::progress;
pub use records::render_records;
pub use table::{Table, if_it_fits, text};
pub use words::{counted, dash, to_the_second};
pub use wrap::{escape_control, wrap};
