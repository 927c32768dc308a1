//! Outages: nothing is lost, nothing is dead-lettered, and nobody has to do anything.

mod broker;
mod connections;
mod refused_deletes;
mod restarts;
mod uncertain_errors;
