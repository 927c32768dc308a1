//! Text laid out for a terminal: tables that fit its width, records of names and values, JSON for people. Pure; the printing is
//! `cli::output`'s.

mod durations;
mod json;
mod records;
mod table;
mod words;
mod wrap;

pub use durations::{duration, rounded_duration};
pub use json::for_the_screen;
pub use records::render_records;
pub use table::{Table, if_it_fits, text};
pub use words::{counted, dash, to_the_second};
pub use wrap::{escape_control, wrap};
