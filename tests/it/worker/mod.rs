//! The worker as a process: health, metrics, logs, signals.

mod batches;
mod http;
mod logging;
mod paused;
mod probe;
mod shutdown;
mod systemd;
mod traces;
