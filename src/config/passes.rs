use std::time::Duration;

use clap::Args;

use super::duration::parse_duration;

/// The two passes over the whole table.
#[derive(Debug, Clone, Copy, Args)]
pub struct PassOptions {
    /// Time between TTL sweeps
    #[arg(long, env = "LIFECYCLE_SWEEP_INTERVAL", value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    pub sweep_interval: Duration,

    /// Time between eviction passes
    #[arg(long, env = "LIFECYCLE_EVICT_INTERVAL", value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    pub evict_interval: Duration,

    /// The cap.
    #[command(flatten)]
    pub cap: CapOption,

    /// The delete rate.
    #[command(flatten)]
    pub rate: RateOption,
}

/// The cap.
#[derive(Debug, Clone, Copy, Args)]
pub struct CapOption {
    /// The cap: a team's oldest snapshots above it are evicted
    #[arg(long, env = "LIFECYCLE_MAX_SNAPSHOTS_PER_TEAM", value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub max_snapshots_per_team: u32,
}

/// The delete rate.
#[derive(Debug, Clone, Copy, Args)]
pub struct RateOption {
    /// Rows per second that sweeps and evictions of all replicas together may delete [default: unlimited]
    #[arg(long, env = "LIFECYCLE_DELETE_RATE", value_name = "ROWS", value_parser = rate)]
    pub delete_rate: Option<DeleteRate>,
}

/// Rows per second, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteRate {
    /// As fast as possible.
    Unlimited,
    /// At most this many.
    PerSecond(u32),
}

impl RateOption {
    /// Rows per second; `None` is unlimited.
    #[must_use]
    pub const fn per_second(self) -> Option<u32> {
        match self.delete_rate {
            Some(DeleteRate::PerSecond(rows)) => Some(rows),
            Some(DeleteRate::Unlimited) | None => None,
        }
    }
}

fn rate(text: &str) -> Result<DeleteRate, String> {
    match text.parse() {
        _ if text == "unlimited" => Ok(DeleteRate::Unlimited),
        Ok(rows @ 1..) => Ok(DeleteRate::PerSecond(rows)),
        _ => Err("a whole number of rows from 1 on, or unlimited".to_owned()),
    }
}
