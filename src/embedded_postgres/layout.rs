//! The data directory: what lies where in it, whose it is, and who owns it just now.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::account::Account;
use super::error::Error;

/// `sun_path` has 104 bytes on the smallest system (macOS), one of them for the final zero.
pub(super) const SOCKET_PATH_LIMIT: usize = 103;

/// The data directory, absolute. See the map in the parent module.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Refuses a path that the kernel would refuse for the socket. Touches nothing.
    pub(super) fn new(data_dir: &Path) -> Result<Self, Error> {
        let root = std::path::absolute(data_dir)
            .map_err(|source| Error::io("cannot use the data directory", data_dir, source))?;
        let layout = Self { root };
        let socket = layout.run().join(".s.PGSQL.5432");
        let length = socket.as_os_str().len();
        if length > SOCKET_PATH_LIMIT {
            return Err(Error::PathTooLong { socket, length });
        }
        Ok(layout)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.root.join("cluster")
    }

    /// Where a cluster is made; renamed to [`Layout::cluster`] when it is complete.
    pub(super) fn unfinished_cluster(&self) -> PathBuf {
        self.root.join("cluster.unfinished")
    }

    pub(super) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Makes the directory if absent. It stays ours; `account` may pass through it only.
    pub(super) fn create_root(&self, account: Option<&Account>) -> Result<(), Error> {
        let mode = if account.is_some() { 0o711 } else { 0o700 };
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(&self.root)
            .map_err(|source| Error::io("cannot make the data directory", &self.root, source))?;
        match account.and_then(|account| Some((account, account.barred_from(&self.root)?))) {
            None => Ok(()),
            Some((account, directory)) => {
                Err(Error::Unreachable { account: account.name.clone(), directory })
            }
        }
    }

    /// Takes the directory for this process, until the lock is dropped or the process ends,
    /// however it ends.
    pub(super) fn lock(&self) -> Result<Lock, Error> {
        let path = self.root.join("lock");
        let refused = |source| Error::io("cannot lock", &path, source);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(refused)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(Error::InUse(self.root.clone())),
            Err(TryLockError::Error(source)) => Err(refused(source)),
        }
    }

    /// The major version that wrote the cluster; `None` if there is none yet.
    pub(super) fn cluster_major(&self) -> Result<Option<String>, Error> {
        let cluster = self.cluster();
        match fs::read_to_string(cluster.join("PG_VERSION")) {
            Ok(version) => Ok(Some(version.trim().to_owned())),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                let exists = fs::symlink_metadata(&cluster).is_ok();
                if exists { Err(Error::NotACluster(cluster)) } else { Ok(None) }
            }
            Err(source) => Err(Error::io("cannot read the data in", &cluster, source)),
        }
    }

    /// What PostgreSQL says of itself in `postmaster.pid`, if it does.
    pub(super) fn postmaster(&self) -> Option<Postmaster> {
        Postmaster::parse(&fs::read_to_string(self.cluster().join("postmaster.pid")).ok()?)
    }
}

/// The ownership of a data directory.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that another thread has forked and that has not
        // got to its exec yet has the same lock.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "cannot unlock the data directory");
        }
    }
}

/// The two lines of `postmaster.pid` that matter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Postmaster {
    pub(super) pid: i32,
    /// `starting`, `ready`, `stopping`; empty while the file is still being written.
    pub(super) status: String,
}

impl Postmaster {
    fn parse(file: &str) -> Option<Self> {
        let mut lines = file.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        // Line 8; `next` above took the first.
        let status = lines.nth(6).unwrap_or_default().trim().to_owned();
        Some(Self { pid, status })
    }

    /// Whether that process runs and is a PostgreSQL. After a power cut the number may be any
    /// program's; PostgreSQL itself then judges whether the file is stale.
    pub(super) fn is_alive(&self) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return false;
        };
        if !matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM)) {
            return false;
        }
        match fs::read_to_string(format!("/proc/{}/comm", self.pid)) {
            Ok(name) => name.trim() == "postgres",
            // No /proc here (macOS): the number is all there is to go by.
            Err(_) => true,
        }
    }
}

/// Makes an empty directory of mode 0700 that belongs to who runs PostgreSQL.
pub(super) fn create_private(directory: &Path, account: Option<&Account>) -> Result<(), Error> {
    remove_tree(directory)?;
    DirBuilder::new()
        .mode(0o700)
        .create(directory)
        .and_then(|()| account.map_or(Ok(()), |account| account.give(directory)))
        .map_err(|source| Error::io("cannot make the directory", directory, source))
}

/// Removes a directory and all in it; no directory is fine.
pub(super) fn remove_tree(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(directory) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("cannot remove", directory, source))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pid_and_status() {
        let file = "4711\n/d\n1700000000\n5432\n/d/run\n\n  123  456\nready   \n";
        let expected = Postmaster { pid: 4711, status: "ready".to_owned() };
        assert_eq!(Postmaster::parse(file), Some(expected));
    }

    #[test]
    fn half_a_file_is_not_ready() {
        let expected = Postmaster { pid: 4711, status: String::new() };
        assert_eq!(Postmaster::parse("4711\n/d\n17"), Some(expected));
        assert_eq!(Postmaster::parse(""), None);
        assert_eq!(Postmaster::parse("nonsense\n"), None);
    }

    #[test]
    fn the_kernels_limit_for_sockets_is_checked_to_the_byte() {
        let longest = SOCKET_PATH_LIMIT - "/run/.s.PGSQL.5432".len();
        let path = |length: usize| PathBuf::from(format!("/{}", "d".repeat(length - 1)));
        assert!(Layout::new(&path(longest)).is_ok());
        let refused = Layout::new(&path(longest + 1));
        assert!(matches!(refused, Err(Error::PathTooLong { length: 104, .. })), "{refused:?}");
    }
}
