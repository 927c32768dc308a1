//! Which rows go and which stay: event end, TTL, cap, their policy and their passes.

mod ahead_of_time;
mod cap;
mod event_end;
mod large_events;
mod leases;
mod model;
mod passes;
mod paused_passes;
mod restamp_beside_a_lock;
mod retention;
mod ttl;
mod undeletable_rows;
mod undeletable_rows_cost;
