//! The integration tests: one binary, since linking is the slow part.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "as in the tests themselves: what helps them fails like them"
)]

mod arbitrary_messages;
mod authn_jwt;
mod authn_keys;
mod authn_secrets;
mod authn_tokens;
mod authorization;
mod bad_input;
mod callers;
mod calls;
mod cases;
mod certificates;
mod change_log_coverage;
mod cli_bench;
mod cli_live;
mod cli_offline;
mod cli_questions;
mod cli_round_trip;
mod cluster;
mod cold_and_warm;
mod embedded_postgres;
mod faults;
mod feed;
mod given;
mod golden_roles;
mod grpcurl;
mod harness;
mod house;
mod issuer;
mod linked;
mod memory;
mod oracle;
mod oracle_lists;
mod overload;
mod plans;
mod policy_items;
mod policy_lists;
mod policy_promises;
mod policy_properties;
mod pools;
mod process;
mod program;
mod proxy;
mod python_client;
mod raw;
mod rules_actors;
mod rules_audit;
mod rules_audit_lists;
mod rules_catalog;
mod rules_ceiling;
mod rules_checks;
mod rules_custom_roles;
mod rules_directory;
mod rules_forests;
mod rules_freshness;
mod rules_functions;
mod rules_groups;
mod rules_items;
mod rules_links;
mod rules_links_compared;
mod rules_links_moved;
mod rules_links_seen;
mod rules_links_undone;
mod rules_managers;
mod rules_member_lists;
mod rules_members;
mod rules_organizations;
mod rules_ownership;
mod rules_policy_lists;
mod rules_portfolio_life;
mod rules_portfolio_lists;
mod rules_portfolio_updates;
mod rules_portfolios;
mod rules_presets;
mod rules_privacy;
mod rules_privacy_life;
mod rules_privacy_lists;
mod rules_reach;
mod rules_retries;
mod rules_role_deletion;
mod rules_roles;
mod rules_service_accounts;
mod rules_users_lifecycle;
mod rules_visibility;
mod schema;
mod serving;
#[allow(dead_code, reason = "the bench uses the rest")]
#[path = "../../benches/bench/stored.rs"]
mod stored;
mod tenants;
mod tenants_requests;
mod tls;
mod tools;
mod two_processes;
mod worlds;
mod writes;
