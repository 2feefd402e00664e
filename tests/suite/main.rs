//! The integration tests: one binary, since linking is the slow part.

mod arbitrary_messages;
mod bad_input;
mod cli_offline;
mod cluster;
mod embedded_postgres;
mod feed;
mod given;
mod golden_roles;
mod harness;
mod house;
mod oracle;
mod policy_properties;
mod process;
mod raw;
mod serving;
mod two_processes;
mod worlds;
mod writes;
