//! Health and metrics over HTTP.
//!
//! `/livez` says that the process turns over, and nothing about servers: restarting the worker mends no outage. `/readyz`
//! says whether it can do its job. In production neither body says more than that.

mod health;
mod metrics;
mod server;
mod state;

pub use server::{Server, ServerError};
