pub mod domain;
pub mod policy;
pub mod proto;
pub mod storage;
