//! Behaviour of the program against real PostgreSQL and RabbitMQ. A folder a capability, a file a promise; names say what holds.

#![expect(clippy::disallowed_methods, reason = "the bans are about the program; a test is a program around it")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod dead_letters;
mod faults;
mod messages;
mod project;
mod publishing;
mod rules;
mod servers;
mod storage;
mod worker;
