//! The backend's local JSON store (`page_snapshots/snapshots.json`) to rows of the table: each entry is read, and inserted, for itself, so
//! that one which cannot be stored is left out with its reason and costs no other.

mod error;
mod importer;
mod local_store;
mod report;

pub use importer::Importer;
pub use report::ImportReport;
