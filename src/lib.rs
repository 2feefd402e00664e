pub mod domain;
pub mod policy;
pub mod proto;
