//! Health and metrics over HTTP.
//!
//! `/livez` says that the process is alive and its loops turn, and nothing about servers: restarting the worker fixes no outage.
//! `/readyz` says whether it can do its job. In production neither body says more than that.

mod health_endpoints;
mod health_request;
mod metrics_endpoint;
mod server;
mod state;

pub use health_request::request_health;
pub use server::Server;
