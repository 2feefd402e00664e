//! The integration tests: one binary, since linking is the slow part.

mod cli_live;
mod cli_offline;
mod cluster;
mod embedded_postgres;
mod feed;
mod golden_roles;
mod house;
mod oracle;
mod policy_properties;
mod process;
mod program;
mod two_processes;
mod worlds;
mod writes;
