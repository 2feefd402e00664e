//! The change feed and the cache: each test proves one bold sentence of `ARCHITECTURE.md`.

mod budget;
mod consistency;
mod faults;
mod freshness;
mod links;
mod site;
