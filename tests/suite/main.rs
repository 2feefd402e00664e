//! The integration tests: one binary, since linking is the slow part.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "as in the tests themselves: what helps them fails like them"
)]

mod arbitrary_messages;
mod bad_input;
mod change_log_coverage;
mod cli_live;
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
mod program;
mod raw;
mod schema;
mod serving;
mod two_processes;
mod worlds;
mod writes;
