//! Where PostgreSQL's programs are. `scripts/postgres` looks in the same places, and installs
//! into [`own_directories`] what it has to fetch.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::Account;
use super::error::Error;

/// The oldest major version that has all that we use (`CREATE DATABASE ... STRATEGY`).
pub(super) const OLDEST_MAJOR: u32 = 15;

/// Parents whose children with this beginning each hold one version, in `bin` or right there.
const VERSIONED: [(&str, &str); 9] = [
    ("/usr/lib/postgresql", ""),         // Debian, Ubuntu
    ("/usr", "pgsql-"),                  // the RPMs of the project
    ("/usr/lib", "postgresql"),          // SUSE
    ("/usr/libexec", "postgresql"),      // Alpine
    ("/opt/homebrew/opt", "postgresql"), // Homebrew, Apple silicon
    ("/usr/local/opt", "postgresql"),    // Homebrew, Intel
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql"),
    ("/Applications/Postgres.app/Contents/Versions", ""),
    ("/usr/local", "pgsql"), // built from source
];

/// One installed PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) directory: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    pub(super) fn postgres(&self) -> PathBuf {
        self.directory.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.directory.join("initdb")
    }
}

/// Finds programs that `account` can run: those of the major version that wrote the data, or, for
/// new data, the first found (`PORTCULLIS_POSTGRES_BIN` alone if set, else `PATH`, the usual
/// directories newest first, what `scripts/postgres` installed).
pub(super) fn find(
    cluster: &Path,
    data_major: Option<&str>,
    account: Option<&Account>,
) -> Result<Binaries, Error> {
    let installed = match env::var_os("PORTCULLIS_POSTGRES_BIN") {
        Some(directory) => vec![named(PathBuf::from(directory), account)?],
        None => {
            candidates().iter().filter_map(|directory| inspect(directory, account).ok()).collect()
        }
    };
    choose(installed, cluster, data_major)
}

fn choose(
    installed: Vec<Binaries>,
    cluster: &Path,
    data_major: Option<&str>,
) -> Result<Binaries, Error> {
    let Some(data) = data_major else {
        return installed.into_iter().next().ok_or(Error::NotFound);
    };
    let mut majors: Vec<u32> = installed.iter().map(|found| found.major).collect();
    match installed.into_iter().find(|found| found.major.to_string() == data) {
        Some(found) => Ok(found),
        None if majors.is_empty() => Err(Error::NotFound),
        None => {
            majors.sort_unstable();
            majors.dedup();
            let found: Vec<String> = majors.iter().map(u32::to_string).collect();
            Err(Error::OtherMajorVersion {
                directory: cluster.to_path_buf(),
                data: data.to_owned(),
                found: found.join(", "),
            })
        }
    }
}

/// The directory that the operator named: here, unlike in a search, a fault is worth a sentence.
fn named(directory: PathBuf, account: Option<&Account>) -> Result<Binaries, Error> {
    inspect(&directory, account).map_err(|why| Error::BadBinDirectory { directory, why })
}

fn candidates() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = env::split_paths(&path).collect();
    for (parent, beginning) in VERSIONED {
        for version in newest_first(Path::new(parent), beginning) {
            directories.push(version.join("bin"));
            directories.push(version);
        }
    }
    directories.extend(own_directories());
    directories
}

/// What `scripts/postgres` installs into: as root a place that the account PostgreSQL runs as can
/// reach, otherwise the user's own data directory.
fn own_directories() -> Vec<PathBuf> {
    let mut directories = vec![PathBuf::from("/usr/local/lib/portcullis/postgresql/bin")];
    directories.extend(xdg_data_home().map(|home| home.join("portcullis/postgresql/bin")));
    directories
}

/// `$XDG_DATA_HOME`, or `~/.local/share`. A relative one is ignored, as its standard says.
pub(super) fn xdg_data_home() -> Option<PathBuf> {
    env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|home| home.is_absolute())
        .or_else(|| Some(env::home_dir()?.join(".local/share")))
        .filter(|home| home.is_absolute())
}

/// The children of `parent` that begin so, the highest number at their end first.
fn newest_first(parent: &Path, beginning: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
        .map(|entry| (trailing_number(&entry.file_name().to_string_lossy()), entry.path()))
        .collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    versions.into_iter().map(|(_, path)| path).collect()
}

fn trailing_number(name: &str) -> u32 {
    let digits = name.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
    name.get(digits..).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Whether PostgreSQL's programs are in `directory` and can be run by `account`; why not, if not.
fn inspect(directory: &Path, account: Option<&Account>) -> Result<Binaries, String> {
    // `initdb` looks for its `postgres` beside its own real file, so links are followed first.
    let postgres = fs::canonicalize(directory.join("postgres"))
        .map_err(|_missing| "there is no `postgres` in it".to_owned())?;
    let directory = postgres.parent().unwrap_or(directory).to_path_buf();
    if !directory.join("initdb").is_file() {
        return Err("there is no `initdb` beside its `postgres`".to_owned());
    }
    if let Some((account, barred)) =
        account.and_then(|account| Some((account, account.barred_from(&postgres)?)))
    {
        let (name, barred) = (&account.name, barred.display());
        return Err(format!("`{name}`, whom root runs it as, may not enter `{barred}`"));
    }
    let said = Command::new(&postgres)
        .arg("--version")
        .output()
        .map_err(|failed| format!("its `postgres` cannot be run: {failed}"))?;
    let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    match parse_major(&said) {
        Some(major) if major >= OLDEST_MAJOR => Ok(Binaries { directory, major }),
        Some(_) => Err(format!("it is `{said}`, and {OLDEST_MAJOR} is the oldest that will do")),
        None => Err(format!("its `postgres --version` says `{said}`")),
    }
}

/// `postgres (PostgreSQL) 15.18 (Debian ...)`, `... 19beta1`.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let end = number.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(number.len());
    number.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(majors: &[u32]) -> Vec<Binaries> {
        let one = |&major| Binaries { directory: PathBuf::from(format!("/{major}")), major };
        majors.iter().map(one).collect()
    }

    #[test]
    fn reads_the_major_version() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(parse_major("something else 15"), None);
    }

    #[test]
    fn reads_versions_off_directory_names() {
        assert_eq!(trailing_number("postgresql@16"), 16);
        assert_eq!(trailing_number("17"), 17);
        assert_eq!(trailing_number("latest"), 0);
    }

    #[test]
    fn new_data_takes_the_first_and_old_data_its_own_version() {
        let cluster = Path::new("/d/cluster");
        let major = |majors: &[u32], data| {
            choose(installed(majors), cluster, data).map(|found| found.major)
        };
        assert_eq!(major(&[16, 17], None).ok(), Some(16));
        assert_eq!(major(&[16, 17], Some("17")).ok(), Some(17));
        assert!(matches!(major(&[], None), Err(Error::NotFound)));
        assert!(matches!(major(&[], Some("17")), Err(Error::NotFound)));
        let refused = major(&[18, 16, 18], Some("15")).map_err(|error| error.to_string());
        let expected = "the data in `/d/cluster` was written by PostgreSQL 15, and this machine \
                        has 16, 18; install PostgreSQL 15, or choose another directory with \
                        `--data-dir`";
        assert_eq!(refused, Err(expected.to_owned()));
    }
}
