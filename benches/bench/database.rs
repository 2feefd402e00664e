//! A PostgreSQL of the measurement's own, migrated and empty.

use portcullis::embedded_postgres::{self, Durability, EmbeddedPostgres};
use portcullis::storage;
use tempfile::TempDir;

use super::Outcome;

pub struct Database {
    postgres: EmbeddedPostgres,
    /// Of its superuser.
    pub url: String,
    _directory: TempDir,
}

impl Database {
    pub async fn start() -> Outcome<Self> {
        // Under a directory that PostgreSQL's own user may pass through.
        let directory = tempfile::Builder::new().prefix("portcullis-bench").tempdir_in("/tmp")?;
        let options = embedded_postgres::Options {
            data_dir: directory.path().join("data"),
            durability: Durability::Full,
            settings: vec![("max_wal_size".to_owned(), "4GB".to_owned())],
        };
        let postgres = embedded_postgres::start(options).await?;
        let url = postgres.url("portcullis");
        storage::migrate(&url).await?;
        Ok(Self { postgres, url, _directory: directory })
    }

    pub async fn stop(self) {
        self.postgres.stop().await;
    }
}
