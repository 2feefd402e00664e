//! Whom PostgreSQL runs as. It refuses to run as root, so root hands it to somebody else.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::Error;

/// An entry of `/etc/passwd`. `initdb` fails for a user without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Whom to run PostgreSQL as; `None`: as ourselves. For root it is whoever owns the `cluster`
/// already there, else `postgres`, else `nobody`.
pub(super) fn to_run_as(cluster: &Path) -> Result<Option<Account>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let passwd = Path::new("/etc/passwd");
    let entries = fs::read_to_string(passwd)
        .map_err(|source| Error::io("cannot read the accounts in", passwd, source))?;
    let owner = fs::metadata(cluster).ok().map(|found| found.uid());
    choose(&entries, owner).map(Some).ok_or(Error::NoAccount)
}

fn choose(passwd: &str, owner: Option<u32>) -> Option<Account> {
    let accounts: Vec<Account> = passwd.lines().filter_map(parse).collect();
    let find = |wanted: &dyn Fn(&Account) -> bool| {
        accounts.iter().find(|account| account.uid != 0 && wanted(account)).cloned()
    };
    find(&|account| Some(account.uid) == owner)
        .or_else(|| find(&|account| account.name == "postgres"))
        .or_else(|| find(&|account| account.name == "nobody"))
}

fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let _password = fields.next()?;
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account { name, uid, gid })
}

impl Account {
    /// The outermost of `path` and the directories above it that this account may not enter.
    pub(super) fn barred_from(&self, path: &Path) -> Option<PathBuf> {
        let mut outermost_first: Vec<&Path> = path.ancestors().collect();
        outermost_first.reverse();
        outermost_first
            .into_iter()
            .find(|directory| !self.may_execute(directory))
            .map(Path::to_path_buf)
    }

    /// The bit that lets one run a file, or pass through a directory.
    fn may_execute(&self, path: &Path) -> bool {
        let Ok(found) = fs::metadata(path) else {
            return false;
        };
        let bit = if found.uid() == self.uid {
            0o100
        } else if found.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        found.mode() & bit != 0
    }

    /// Makes the account the owner of a path.
    pub(super) fn give(&self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n\
                          broken\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n";

    #[test]
    fn prefers_the_owner_then_postgres_then_nobody() {
        let name = |passwd: &str, owner| choose(passwd, owner).map(|account| account.name);
        let with_postgres = format!("{PASSWD}postgres:x:101:104::/var:/bin/sh\n");
        assert_eq!(name(PASSWD, None).as_deref(), Some("nobody"));
        assert_eq!(name(&with_postgres, None).as_deref(), Some("postgres"));
        assert_eq!(name(&with_postgres, Some(1000)).as_deref(), Some("ann"));
        // Never root, even where root owns the directory.
        assert_eq!(name(PASSWD, Some(0)).as_deref(), Some("nobody"));
        assert_eq!(name("root:x:0:0::/root:/bin/sh\n", None), None);
    }
}
