//! A database for each test, out of one PostgreSQL for the whole test process.
//!
//! The PostgreSQL starts with the first test that asks, on memory where there is room, without
//! flushing. Its migrated template is copied for every test, which is cheaper than migrating. When
//! the process ends, however it ends, the kernel stops PostgreSQL, and a small shell that has
//! waited for just that removes the directory.
//!
//! A test that has its database for longer than any needs it waits for something that does not
//! come. Then the whole run ends, and says which test it was.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use portcullis::embedded_postgres::{self, Durability, EmbeddedPostgres};
use tempfile::TempDir;
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::time::Instant;

/// What the test databases of a whole run may need; a container's `/dev/shm` often has 64 MB.
const ROOM: u64 = 4 << 30;

const TEMPLATE: &str = "migrated_template";

/// The longest tests take two minutes, on machines that do much else.
const HANGS_AFTER: Duration = Duration::from_secs(15 * 60);
/// How often it is looked for those that hang.
const LOOK: Duration = Duration::from_secs(30);

/// Outlives every test's own runtime: its PostgreSQL is supervised by a thread of its own, and
/// [`Clerk`] runs on another.
static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();

struct Cluster {
    postgres: EmbeddedPostgres,
    clerk: mpsc::UnboundedSender<Errand>,
    /// Its standard input is open for as long as this process lives.
    _janitor: Child,
}

/// An empty, migrated database. Dropping it drops the database, whoever is still connected.
pub struct TestDatabase {
    pub url: String,
    name: String,
    clerk: mpsc::UnboundedSender<Errand>,
}

enum Errand {
    Create { name: String, done: oneshot::Sender<()> },
    Drop { name: String },
}

/// A migrated database of the caller's own.
pub async fn database() -> TestDatabase {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let cluster = CLUSTER.get_or_init(Cluster::start).await;
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let (done, created) = oneshot::channel();
    watch(&name);
    let errand = Errand::Create { name: name.clone(), done };
    let clerk = cluster.clerk.clone();
    clerk.send(errand).expect("the clerk is there");
    created.await.expect("the database is created");
    let url = cluster.postgres.url(&name);
    TestDatabase { url, name, clerk }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        WATCHED.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        // No clerk: the process is ending, and the whole cluster with it.
        let _ending = self.clerk.send(Errand::Drop { name });
    }
}

/// Which test has a database, by its name, and since when.
static WATCHED: Mutex<BTreeMap<String, (String, Instant)>> = Mutex::new(BTreeMap::new());

/// Ends the whole run, and says so, if the test that runs in this thread has this database for too
/// long.
fn watch(database: &str) {
    /// Looks after all of them, on a thread of its own: whatever else hangs, this does not.
    static WATCHDOG: LazyLock<Mutex<Sender<()>>> = LazyLock::new(|| {
        let (alive, watched) = channel::<()>();
        let look = move || {
            while watched.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                end_if_one_hangs();
            }
        };
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(look).expect("a thread");
        Mutex::new(alive)
    });
    LazyLock::force(&WATCHDOG);
    // A test runs in a thread that has its name.
    let test = std::thread::current().name().unwrap_or("a thread without a name").to_owned();
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    watched.insert(database.to_owned(), (test, Instant::now()));
}

fn end_if_one_hangs() {
    let watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut hanging = watched.values().filter(|(_, since)| since.elapsed() > HANGS_AFTER);
    if let Some((test, since)) = hanging.next() {
        let seconds = since.elapsed().as_secs();
        // Past what captures the output of tests.
        let _lost = writeln!(std::io::stderr(), "{test} hangs: not done after {seconds} s");
        // Servers that tests have started would keep our output open.
        let parent = std::process::id().to_string();
        let _left = Command::new("pkill").args(["-KILL", "-P", &parent]).status();
        std::process::exit(1);
    }
}

/// A directory under memory or the temporary one, which every user may pass through, as the one
/// that PostgreSQL runs as must.
pub fn fresh_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map(|found| found.f_bavail * found.f_frsize);
    let parent = if room.is_ok_and(|room| room >= ROOM) {
        memory.to_path_buf()
    } else {
        std::env::temp_dir()
    };
    tempfile::Builder::new()
        .prefix("portcullis-test-")
        .permissions(fs::Permissions::from_mode(0o711))
        .tempdir_in(parent)
        .expect("a directory is made")
}

impl Cluster {
    async fn start() -> Self {
        let directory = fresh_directory().keep();
        let janitor = remove_at_the_end(&directory);
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let postgres = embedded_postgres::start(embedded_postgres::Options {
            data_dir: directory,
            durability: Durability::OffForTests,
            settings: vec![
                setting("max_connections", "300"),
                // Checkpoints come with every copied database anyway.
                setting("max_wal_size", "4GB"),
            ],
        })
        .await
        .expect("PostgreSQL starts");
        let (clerk, errands) = mpsc::unbounded_channel();
        let (ready, is_ready) = oneshot::channel();
        let admin = postgres.url("portcullis");
        let template = postgres.url(TEMPLATE);
        std::thread::Builder::new()
            .name("test-database-clerk".to_owned())
            .spawn(move || run_clerk(&admin, &template, errands, ready))
            .expect("a thread starts");
        is_ready.await.expect("the template is migrated");
        Self { postgres, clerk, _janitor: janitor }
    }
}

/// Makes the template, then creates and drops databases, one errand after the other (PostgreSQL
/// would make them wait for one another too).
fn run_clerk(
    admin: &str,
    template: &str,
    mut errands: mpsc::UnboundedReceiver<Errand>,
    ready: oneshot::Sender<()>,
) {
    // Several threads, which the migrations need.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime is built");
    runtime.block_on(async {
        let mut admin = AsyncPgConnection::establish(admin).await.expect("connects");
        make_template(&mut admin, template).await;
        ready.send(()).expect("the first test waits");
        while let Some(errand) = errands.recv().await {
            run_errand(&mut admin, errand).await;
        }
    });
}

async fn make_template(admin: &mut AsyncPgConnection, url: &str) {
    execute(admin, &format!("CREATE DATABASE {TEMPLATE}")).await;
    portcullis::storage::migrate(url).await.expect("migrates");
    let settle = format!("ALTER DATABASE {TEMPLATE} IS_TEMPLATE true ALLOW_CONNECTIONS false");
    execute(admin, &settle).await;
}

async fn run_errand(admin: &mut AsyncPgConnection, errand: Errand) {
    match errand {
        Errand::Create { name, done } => {
            let copy = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY");
            execute(admin, &copy).await;
            // A test that no longer waits has dropped the database's handle, or never had it.
            let _gone = done.send(());
        }
        Errand::Drop { name } => {
            execute(admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

async fn execute(admin: &mut AsyncPgConnection, sql: &str) {
    if let Err(error) = admin.batch_execute(sql).await {
        panic!("`{sql}` fails: {error}");
    }
}

/// A process that sleeps until its standard input ends, which is when this process does; then it
/// waits until PostgreSQL has stopped (or stops it, where the kernel does not), and cleans up.
fn remove_at_the_end(directory: &Path) -> Child {
    const SCRIPT: &str = r#"
        read -r _
        pid=$(head -n 1 "$0/cluster/postmaster.pid" 2>/dev/null)
        [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && sleep 0.2
        done
        rm -rf "$0"
    "#;
    Command::new("sh")
        .arg("-c")
        .arg(SCRIPT)
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C is for the tests; the janitor has yet to work then.
        .process_group(0)
        .spawn()
        .expect("a shell starts")
}

#[tokio::test]
async fn every_test_has_a_migrated_database_of_its_own() {
    let (one, other) = tokio::join!(database(), database());
    for url in [&one.url, &other.url] {
        let mut connection = AsyncPgConnection::establish(url).await.expect("connects");
        // Fails where the other database is the same one, or where nothing was migrated.
        execute(&mut connection, "ALTER TABLE feed_heads ADD COLUMN only_here int").await;
    }
}
