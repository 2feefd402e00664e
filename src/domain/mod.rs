//! Nouns and rules. Pure and synchronous: nothing in here knows a clock, the network or a database.

pub mod access_settings;
pub mod audit;
pub mod caller;
pub mod directory;
pub mod fact;
pub mod function;
pub mod group_nesting;
pub mod ids;
pub mod item;
pub mod membership;
pub mod nesting;
pub mod page;
pub mod permission;
pub mod portfolio;
pub mod preset;
pub mod privacy_request;
pub mod refusal;
pub mod revision;
pub mod role;
pub mod timestamp;

pub use ids::{
    FunctionKey, GroupId, ItemId, ItemType, OrganizationId, PortfolioId, PrivacyRequestId, RoleKey,
    ServiceAccountId, Subject, UserId,
};
pub use item::ItemKey;
pub use timestamp::Timestamp;
