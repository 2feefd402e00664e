//! Everything that speaks SQL. Nothing else in the program does.
//!
//! To add a noun: a table with comments in `migrations/`, its columns in `schema.rs`, a file of
//! queries here named after it; and if decisions look at it, a fact in `domain::fact`, a reader in
//! `facts` and the [`Change`]s that name its keys.

pub mod affiliations;
pub mod audit;
mod change_log;
mod error;
pub mod facts;
mod feed;
pub mod function_ceilings;
pub mod grants;
pub mod groups;
pub mod items;
pub mod members;
mod migrate;
pub mod organizations;
pub mod permissions;
mod pool;
pub mod portfolios;
pub mod privacy_requests;
mod queue;
mod read;
mod request_outcomes;
mod role_uses;
pub mod roles;
pub mod schema;
mod search;
pub mod service_accounts;
mod timestamps;
mod transaction;
pub mod users;
mod write;

pub use change_log::{Change, LoggedChange};
pub use error::{Error, Failure};
pub use feed::{FeedHead, FeedHeads, READER_VERSION};
pub use migrate::{migrate, revert};
pub use pool::{Connection, Options, Storage};
pub use read::Read;
pub use transaction::Transaction;
pub use write::{AsyncFunc, Scope, Write, WriteContext, Written};
