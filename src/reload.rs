//! Files that are looked at again and again, so that what they say comes into force without a
//! restart.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metrics::{counter, describe_counter};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

const RELOADS: &str = "portcullis_tls_reloads_total";
/// The longest file that is read, in bytes: all of them are lists of people's making.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Files that make sense together only, such as a certificate and its key.
#[derive(Debug)]
pub(crate) struct Files {
    name: &'static str,
    paths: Arc<[PathBuf]>,
    /// What was there at the last look; not the content itself, which may be secret.
    seen: Result<[u8; 32], String>,
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

impl Files {
    /// Reads the files for the first time. The name is what they are called in the log.
    ///
    /// # Errors
    /// One of them cannot be read: a sentence that names it.
    pub(crate) fn open(
        name: &'static str,
        paths: Vec<PathBuf>,
    ) -> Result<(Self, Vec<Content>), String> {
        describe_counter!(RELOADS, "Changed files of certificates and clients, by outcome");
        let contents = read(&paths)?;
        Ok((Self { name, paths: paths.into(), seen: Ok(digest(&contents)) }, contents))
    }

    /// Looks whether something else is there now, and if so hands it to `take`, which puts it into
    /// force or says what is wrong with it. That is logged once, not at each look.
    pub(crate) async fn look(&mut self, take: impl FnOnce(&[Content]) -> Result<(), String>) {
        let paths = Arc::clone(&self.paths);
        // It fails only when the runtime ends.
        let Ok(contents) = spawn_blocking(move || read(&paths)).await else { return };
        let seen = contents.as_deref().map(digest).map_err(Clone::clone);
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        let outcome = match contents.and_then(|contents| take(&contents)) {
            Ok(()) => {
                tracing::info!(files.name = self.name, "changed files are in force");
                "loaded"
            }
            Err(why) => {
                tracing::error!(
                    files.name = self.name,
                    error.cause = why,
                    "changed files are not used, what was loaded before stays in force"
                );
                "refused"
            }
        };
        counter!(RELOADS, "files" => self.name, "outcome" => outcome).increment(1);
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Content>, String> {
    let one = |path: &PathBuf| match read_one(path) {
        Ok(bytes) => Ok(Content { path: path.clone(), bytes }),
        Err(error) => Err(format!("cannot read `{}`: {error}", path.display())),
    };
    paths.iter().map(one).collect()
}

fn read_one(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(io::Error::other(format!("longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

fn digest(contents: &[Content]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for Content { bytes, .. } in contents {
        // Of a fixed length, so that the end of one is not the beginning of the next.
        hash.update(Sha256::digest(bytes));
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn what_has_changed_is_taken_once_whether_it_is_good_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("a"), folder.path().join("b")];
        fs::write(&paths[0], "12").unwrap();
        let missing = Files::open("clients", paths.to_vec()).unwrap_err();
        assert!(missing.contains("/b`: "), "{missing}");
        fs::write(&paths[1], "3").unwrap();
        let (mut files, contents) = Files::open("clients", paths.to_vec()).unwrap();
        assert_eq!(contents[1].bytes, b"3");

        let mut taken = Vec::new();
        for (first, second, answer) in [
            ("12", "3", Ok(())),
            ("1", "23", Err("nonsense".to_owned())),
            ("1", "23", Ok(())),
            ("12", "3", Ok(())),
        ] {
            fs::write(&paths[0], first).unwrap();
            fs::write(&paths[1], second).unwrap();
            files
                .look(|contents| {
                    taken.push(contents[0].bytes.clone());
                    answer
                })
                .await;
        }
        assert_eq!(taken, [b"1".to_vec(), b"12".to_vec()]);

        fs::remove_file(&paths[1]).unwrap();
        files.look(|_| panic!("there is nothing to take")).await;
        assert!(files.seen.is_err());
    }

    #[test]
    fn bad_2_a_file_has_a_longest_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, vec![b' '; 1024 * 1024 + 1]).unwrap();
        let refused = Files::open("clients", vec![path]).unwrap_err();
        assert!(refused.contains("longer than"), "{refused}");
    }
}
