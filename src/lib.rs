//! Portcullis decides who may do what in a portfolio, and runs the life of that access.
//!
//! This is the map. `ARCHITECTURE.md` walks one check and one write along it, `docs/semantics.md`
//! is the rule book, `proto/` the contract.
//!
//! # The arrows
//!
//! ```text
//!            cli ───gRPC───┐      server, the composition root
//!                          v        │ makes and starts
//!   client ───gRPC────>  grpc  <────┘
//!                          │ parse, call, render
//!                          v
//!                         app     one function per RPC: authorize, apply the rule, store
//!                        /   \
//!          is memory    /     \    one transaction
//!          fresh?      v       v
//!                  cache ───> storage ───> PostgreSQL
//!                    │  facts    │
//!                    v           v
//!                 policy ───> domain
//! ```
//!
//! - [`domain`] knows nothing of ours, [`policy`] only that: both pure, without clock and I/O.
//! - [`storage`] alone speaks SQL, [`grpc`] (with [`server`] and [`proto`]) alone knows `tonic`.
//! - A write never touches the [`cache`]. It commits its change to the log, and returns a token;
//!   the cache follows the log; whoever needs the write asks for at least its token.
//! - Every decision, about others and about our own calls, is made by [`policy::check`] and its
//!   sisters, warm or cold, on facts that are all true at one position.
//!
//! # Where do I put X
//!
//! | X | where |
//! |---|---|
//! | a rule that needs no database | [`domain`], in the file of its noun |
//! | anything that changes a decision | [`policy`], and the oracle of the tests |
//! | a query, a table | [`storage`], in the file of its noun |
//! | who a caller is, and how they prove it | [`authn`] |
//! | what connections are encrypted with | [`tls`] |
//! | who may call, and what a call does | [`app`], in the function named as the RPC |
//! | the shape of a field, an error code | [`grpc`], and the comment in the proto |
//! | a setting, a limit | [`config`] |
//! | how fresh an answer is | [`cache`] |
//! | a subcommand | [`cli`], through `grpc::client` like any other client |
//! | anything that reads a clock | [`clock`] |
//!
//! The same noun has the same file name in every layer, and a function the name of its RPC, so
//! that searching for `add_members` shows the whole way from the wire to SQL.

pub mod app;
pub mod authn;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod embedded_postgres;
pub mod grpc;
pub mod policy;
pub mod proto;
mod reload;
pub mod server;
pub mod storage;
pub mod telemetry;
pub mod tls;
