//! From an empty directory to a cluster with our database in it, all or nothing.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::account::Account;
use super::error::Error;
use super::find::Binaries;
use super::layout::{Layout, create_private, remove_tree};
use super::log::LogReader;
use super::process::{command, setting};
use super::{Durability, NAME};

/// Makes the cluster under another name and renames it when it is complete, so that being cut off
/// at any point leaves nothing that looks like a cluster.
pub(super) async fn initialise(
    layout: &Layout,
    binaries: &Binaries,
    account: Option<&Account>,
    durability: Durability,
) -> Result<(), Error> {
    let unfinished = layout.unfinished_cluster();
    create_private(&unfinished, account)?;
    let mut initdb = command(&binaries.initdb(), layout.root(), account);
    initdb
        .arg("--pgdata")
        .arg(&unfinished)
        .args(["--username", NAME, "--encoding=UTF8", "--locale=C"])
        // Who gets through the directory of the socket (mode 0700) is let in.
        .args(["--auth=trust", "--no-instructions"]);
    if durability == Durability::OffForTests {
        initdb.arg("--no-sync");
    }
    run(initdb, "").await?;
    create_database(layout, &unfinished, binaries, account, durability).await?;
    publish(layout, &unfinished).inspect_err(|_| {
        // The error that counts is the first; the next start clears up as well.
        let _leftover = remove_tree(&unfinished);
    })
}

/// PostgreSQL's single-user mode takes SQL on standard input: no connection, no client program.
async fn create_database(
    layout: &Layout,
    cluster: &Path,
    binaries: &Binaries,
    account: Option<&Account>,
    durability: Durability,
) -> Result<(), Error> {
    let mut single = command(&binaries.postgres(), layout.root(), account);
    single.arg("--single").arg("-D").arg(cluster);
    single.args(setting("exit_on_error", "on"));
    if durability == Durability::OffForTests {
        single.args(setting("fsync", "off"));
    }
    single.arg("postgres");
    run(single, &format!("CREATE DATABASE {NAME};\n")).await
}

async fn run(mut command: Command, input: &str) -> Result<(), Error> {
    let program = command.as_std().get_program().to_owned();
    let refused = |source| Error::io("cannot run", Path::new(&program), source);
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(refused)?;
    let mut log = LogReader::new(child.stderr.take());
    if let Some(mut stdin) = child.stdin.take() {
        // A program that is gone already says why on its standard error.
        let _gone = stdin.write_all(input.as_bytes()).await;
    }
    let status = child.wait().await.map_err(refused)?;
    if status.success() {
        return Ok(());
    }
    let program = Path::new(&program).display();
    let words = log.last_words().await;
    Err(Error::Initialise(format!("`{program}` failed ({status}): {words}")))
}

fn publish(layout: &Layout, unfinished: &Path) -> Result<(), Error> {
    let cluster = layout.cluster();
    fs::rename(unfinished, &cluster)
        .map_err(|source| Error::io("cannot put in place", &cluster, source))?;
    // The new name must survive a power cut as the files in it do.
    File::open(layout.root())
        .and_then(|root| root.sync_all())
        .map_err(|source| Error::io("cannot flush", layout.root(), source))
}
