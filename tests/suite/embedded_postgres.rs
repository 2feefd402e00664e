//! The supervisor of the embedded PostgreSQL, against real processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use portcullis::embedded_postgres::{
    Durability, EmbeddedPostgres, Error, Options, Phase, State, start,
};

use crate::cluster::fresh_directory;

/// Far beyond what anything here takes; reached only when something hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Names the data directory to the process that [`survives_the_kill_of_its_server`] starts.
const CHILD_DIRECTORY: &str = "PORTCULLIS_TEST_CHILD_DIRECTORY";

fn options(data_dir: &Path, durability: Durability) -> Options {
    Options {
        data_dir: data_dir.to_path_buf(),
        durability,
        settings: vec![("shared_buffers".to_owned(), "16MB".to_owned())],
    }
}

async fn started(data_dir: &Path) -> EmbeddedPostgres {
    let starting = start(options(data_dir, Durability::OffForTests));
    let server = tokio::time::timeout(DEADLINE, starting).await;
    server.expect("hangs").unwrap_or_else(|error| panic!("{error}"))
}

async fn refusal(data_dir: &Path) -> Error {
    let starting = start(options(data_dir, Durability::OffForTests));
    let server = tokio::time::timeout(DEADLINE, starting).await;
    server.expect("hangs").expect_err("is refused")
}

async fn connect(server: &EmbeddedPostgres) -> AsyncPgConnection {
    let url = server.url("portcullis");
    AsyncPgConnection::establish(&url).await.expect("connects")
}

async fn write_row(server: &EmbeddedPostgres) {
    let sql = "CREATE TABLE kept (name text); INSERT INTO kept VALUES ('row')";
    let mut connection = connect(server).await;
    connection.batch_execute(sql).await.expect("writes");
}

#[derive(diesel::QueryableByName)]
struct Text {
    #[diesel(sql_type = diesel::sql_types::Text)]
    value: String,
}

async fn text(server: &EmbeddedPostgres, sql: &str) -> String {
    let mut connection = connect(server).await;
    let row: Text = diesel::sql_query(sql).get_result(&mut connection).await.expect("answers");
    row.value
}

async fn kept_row(server: &EmbeddedPostgres) -> String {
    text(server, "SELECT name AS value FROM kept").await
}

async fn wait_for(server: &EmbeddedPostgres, wanted: impl FnMut(&State) -> bool) -> State {
    let mut state = server.watch_state();
    let waiting = state.wait_for(wanted);
    let reached = tokio::time::timeout(DEADLINE, waiting).await;
    *reached.expect("hangs").expect("is supervised")
}

fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(status.expect("kill runs").success());
}

#[tokio::test]
async fn finds_its_data_again() {
    let directory = fresh_directory();
    let server = started(directory.path()).await;
    write_row(&server).await;
    let mut state = server.watch_state();
    server.stop().await;
    assert_eq!(state.borrow_and_update().phase, Phase::Stopped);
    assert!(!directory.path().join("cluster/postmaster.pid").exists());

    let server = started(directory.path()).await;
    assert_eq!(kept_row(&server).await, "row");
    server.stop().await;
}

#[tokio::test]
async fn keeps_every_commit_on_disk_unless_told_otherwise() {
    let directory = fresh_directory();
    let server = start(options(directory.path(), Durability::Full)).await;
    let server = server.expect("starts");
    let setting = |name| format!("SELECT current_setting('{name}') AS value");
    assert_eq!(text(&server, &setting("fsync")).await, "on");
    assert_eq!(text(&server, &setting("synchronous_commit")).await, "on");
    let interval = text(&server, &setting("client_connection_check_interval")).await;
    assert_eq!(interval, "200ms");
    assert_eq!(text(&server, &setting("listen_addresses")).await, "");
    // What the caller sets wins.
    assert_eq!(text(&server, &setting("shared_buffers")).await, "16MB");
    server.stop().await;
}

#[tokio::test]
async fn comes_back_when_killed_with_what_was_committed() {
    let directory = fresh_directory();
    let server = start(options(directory.path(), Durability::Full)).await;
    let server = server.expect("starts");
    write_row(&server).await;
    let before = wait_for(&server, |state| state.phase == Phase::Ready).await;
    assert_eq!(before.crashes, 0);
    let pid = before.pid.expect("is ready");
    assert_eq!(server.pid(), Some(pid));

    kill("-KILL", pid);

    let back = |state: &State| state.phase == Phase::Ready && state.crashes == 1;
    let after = wait_for(&server, back).await;
    assert_ne!(after.pid, Some(pid));
    assert_eq!(kept_row(&server).await, "row");
    server.stop().await;
}

#[tokio::test]
async fn comes_back_when_somebody_else_stops_it() {
    let directory = fresh_directory();
    let server = started(directory.path()).await;
    kill("-INT", server.pid().expect("is ready"));
    let back = |state: &State| state.phase == Phase::Ready && state.crashes == 1;
    wait_for(&server, back).await;
    connect(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn two_servers_do_not_share_a_directory() {
    let directory = fresh_directory();
    let server = started(directory.path()).await;
    let refusal = refusal(directory.path()).await;
    assert!(matches!(refusal, Error::InUse(_)), "{refusal:?}");
    let expected = format!(
        "the data directory `{}` is in use by another portcullis server; stop that one, or \
         choose another directory with `--data-dir`",
        directory.path().display()
    );
    assert_eq!(refusal.to_string(), expected);
    // The first has not noticed.
    connect(&server).await;
    assert_eq!(wait_for(&server, |_| true).await.crashes, 0);
    server.stop().await;
}

#[tokio::test]
async fn data_of_another_major_version_is_refused_and_left_alone() {
    let directory = fresh_directory();
    let cluster = directory.path().join("cluster");
    fs::create_dir(&cluster).expect("is made");
    fs::write(cluster.join("PG_VERSION"), "14\n").expect("is written");
    let refusal = refusal(directory.path()).await;
    assert!(matches!(refusal, Error::OtherMajorVersion { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("was written by PostgreSQL 14"), "{refusal}");
    let left = fs::read_dir(&cluster).expect("is there").count();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn a_directory_of_something_else_is_refused_and_left_alone() {
    let directory = fresh_directory();
    let cluster = directory.path().join("cluster");
    fs::create_dir(&cluster).expect("is made");
    fs::write(cluster.join("thesis.txt"), "years of work").expect("is written");
    let refusal = refusal(directory.path()).await;
    assert!(matches!(refusal, Error::NotACluster(_)), "{refusal:?}");
    assert!(cluster.join("thesis.txt").exists());
}

#[tokio::test]
async fn too_long_a_path_is_refused_before_anything_is_made() {
    let directory = fresh_directory();
    let long = directory.path().join("d".repeat(100));
    let refusal = refusal(&long).await;
    assert!(matches!(refusal, Error::PathTooLong { .. }), "{refusal:?}");
    assert!(!long.exists());
}

#[tokio::test]
async fn a_setting_that_postgresql_refuses_is_named() {
    let directory = fresh_directory();
    let mut options = options(directory.path(), Durability::OffForTests);
    options.settings = vec![("shared_buffers".to_owned(), "plenty".to_owned())];
    let refusal = start(options).await.expect_err("is refused");
    assert!(matches!(refusal, Error::Start(_)), "{refusal:?}");
    assert!(refusal.to_string().contains("shared_buffers"), "{refusal}");
}

#[tokio::test]
async fn a_path_that_needs_quoting_works() {
    let directory = fresh_directory();
    let server = started(&directory.path().join("a b,\"c%é")).await;
    assert_eq!(text(&server, "SELECT current_database()::text AS value").await, "portcullis");
    server.stop().await;
}

#[tokio::test]
async fn a_cut_off_initialisation_is_begun_afresh() {
    let directory = fresh_directory();
    let unfinished = directory.path().join("cluster.unfinished");
    fs::create_dir(&unfinished).expect("is made");
    fs::write(unfinished.join("PG_VERSION"), "15\n").expect("is written");
    let server = started(directory.path()).await;
    connect(&server).await;
    assert!(!unfinished.exists());
    server.stop().await;
}

#[tokio::test]
async fn dropping_the_handle_stops_it() {
    let directory = fresh_directory();
    let server = started(directory.path()).await;
    let state = server.watch_state();
    drop(server);
    assert_eq!(state.borrow().phase, Phase::Stopped);
    assert!(!directory.path().join("cluster/postmaster.pid").exists());
}

/// The server is killed, so that no exit path of ours runs; the kernel must stop PostgreSQL, and
/// the next server must wait for that instead of refusing.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn survives_the_kill_of_its_server() {
    if let Some(directory) = std::env::var_os(CHILD_DIRECTORY) {
        return be_a_server_until_killed(&PathBuf::from(directory)).await;
    }
    let directory = fresh_directory();
    let mut child = Command::new(std::env::current_exe().expect("is a file"))
        .args(["--exact", "embedded_postgres::survives_the_kill_of_its_server", "--nocapture"])
        .env(CHILD_DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let output = BufReader::new(child.stdout.take().expect("is piped"));
    let ready = |line: std::io::Result<String>| line.is_ok_and(|line| line.contains("row kept"));
    assert!(output.lines().any(ready), "the server came up");

    child.kill().expect("is killed");
    child.wait().expect("is gone");

    let server = started(directory.path()).await;
    assert_eq!(kept_row(&server).await, "row");
    server.stop().await;
}

#[cfg(target_os = "linux")]
#[allow(clippy::print_stdout, reason = "the parent process reads it")]
async fn be_a_server_until_killed(directory: &Path) {
    let server = started(directory).await;
    write_row(&server).await;
    println!("row kept");
    std::future::pending::<()>().await;
}
