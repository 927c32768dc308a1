//! Which rows go and which stay: event end, TTL, cap, their policy and their passes.

mod ahead_of_time;
mod cap;
mod event_end;
mod model;
mod passes;
mod retention;
mod rows_that_stay;
mod ttl;
