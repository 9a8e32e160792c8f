//! End-to-end tests: the built program, spoken to by real clients over loopback.

mod clients;
mod console;
mod copy;
mod demo;
mod docs;
mod drivers;
mod hostile;
mod http;
mod kill;
mod object_store;
mod power;
mod pubsub;
mod real_orders;
mod serve;
mod server;
mod settings;
mod slt;
mod sql;
mod tidy;
mod tls;
mod tutorial;
