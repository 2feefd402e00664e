use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel_async::{
    AsyncConnection as _, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl,
    SimpleAsyncConnection as _,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::Error;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Brings the schema up to date; returns how many migrations ran. Several migrators at once are
/// safe: one runs, the others wait.
///
/// # Errors
/// The database cannot be reached, or refuses a migration.
pub async fn migrate(url: &str) -> Result<usize, Error> {
    // Only looked at: a server needs no right to create tables where somebody else did.
    if is_up_to_date(&mut connect(url).await?).await {
        return Ok(0);
    }
    run(url, |harness| harness.run_pending_migrations(MIGRATIONS).map(|done| done.len())).await
}

/// Takes every migration back, and all data with them; returns how many were taken back.
///
/// # Errors
/// The database cannot be reached, or refuses a migration.
pub async fn revert(url: &str) -> Result<usize, Error> {
    run(url, |harness| harness.revert_all_migrations(MIGRATIONS).map(|done| done.len())).await
}

#[derive(diesel::QueryableByName)]
struct Applied {
    #[diesel(sql_type = diesel::sql_types::Text)]
    version: String,
}

/// Whether every migration of this program has run; false also if that cannot be told.
async fn is_up_to_date(connection: &mut AsyncPgConnection) -> bool {
    let applied = diesel::sql_query("SELECT version FROM __diesel_schema_migrations");
    let Ok(applied) = applied.load::<Applied>(connection).await else { return false };
    let Ok(ours) = MigrationSource::<Pg>::migrations(&MIGRATIONS) else { return false };
    ours.iter().all(|migration| {
        let version = migration.name().version().to_string();
        applied.iter().any(|row| row.version == version)
    })
}

type Harness = AsyncMigrationHarness<AsyncPgConnection>;
type Outcome = Result<usize, Box<dyn std::error::Error + Send + Sync>>;

async fn run(
    url: &str,
    work: impl FnOnce(&mut Harness) -> Outcome + Send + 'static,
) -> Result<usize, Error> {
    let mut lock = connect(url).await?;
    lock_migrations(&mut lock).await?;
    let connection = connect(url).await?;
    // The harness blocks, and needs a thread that may.
    let outcome = tokio::task::spawn_blocking(move || {
        work(&mut AsyncMigrationHarness::new(connection)).map_err(|error| error.to_string())
    })
    .await;
    lock.batch_execute("COMMIT").await?;
    match outcome {
        Ok(Ok(count)) => Ok(count),
        Ok(Err(error)) => Err(Error::Unavailable(format!("a migration failed: {error}"))),
        Err(error) => Err(Error::Unavailable(format!("the migrator stopped: {error}"))),
    }
}

async fn connect(url: &str) -> Result<AsyncPgConnection, Error> {
    AsyncPgConnection::establish(url).await.map_err(|error| Error::Unavailable(error.to_string()))
}

/// Holds the row lock of a one-row table until `COMMIT`. Not an advisory lock, which some engines
/// that speak this protocol lack.
async fn lock_migrations(connection: &mut AsyncPgConnection) -> Result<(), Error> {
    let create = "CREATE TABLE IF NOT EXISTS migration_lock (one boolean PRIMARY KEY);
                  INSERT INTO migration_lock (one) VALUES (true) ON CONFLICT DO NOTHING;";
    // Of two that create the table at once one fails, in some way or other, and then finds it made.
    if connection.batch_execute(create).await.is_err() {
        connection.batch_execute(create).await?;
    }
    connection.batch_execute("BEGIN; SELECT one FROM migration_lock FOR UPDATE").await?;
    Ok(())
}
