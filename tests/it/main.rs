//! Behaviour of the program against real PostgreSQL and RabbitMQ. One file a promise; names say what holds.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod bad_input;
mod bounds;
mod broker_users;
mod cap;
mod cluster;
mod commands;
mod conditions;
mod connecting;
mod dead_letters;
mod doctor;
mod event_end;
mod fates;
mod faults;
mod half_way;
mod hostile_messages;
mod http;
mod killed_run;
mod logging;
mod migrations;
mod model;
mod network;
mod odd_letters;
mod outages;
mod outbox;
mod passes;
mod pooler;
mod privileges;
mod probe;
mod publish_file;
mod publishing;
mod random_faults;
mod replays;
mod retention;
mod rows_that_stay;
mod search_path;
mod self_description;
mod shutdown;
mod snapshot_store;
mod snapshots;
mod tables;
mod tls;
mod topology;
mod ttl;
