pub mod app;
pub mod cache;
pub mod clock;
pub mod domain;
pub mod embedded_postgres;
pub mod policy;
pub mod proto;
pub mod storage;
