//! The integration tests: one binary, since linking is the slow part.

mod cli_offline;
mod cluster;
mod embedded_postgres;
mod golden_roles;
mod house;
mod oracle;
mod policy_properties;
mod worlds;
mod writes;
