//! Clients in other languages, which the tests run where their tools are.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::program::{run, told};

/// What the tests' tokens are issued by and for.
pub const JWT: [&str; 4] = ["--jwt-issuer", "console.example", "--jwt-audience", "portcullis"];

/// A script of the package, to be run at its root.
fn script(name: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("scripts").join(name));
    command.current_dir(root);
    command
}

/// Runs a script that installs a tool and prints where it is. Where it cannot be had, since what
/// installs it is missing, that is said, also in a run whose output is captured.
///
/// An installation that fails is a failure of the test.
pub fn installed(name: &str) -> Option<PathBuf> {
    let (status, path, messages) = told(script(name).output().unwrap());
    assert_eq!(status, 0, "scripts/{name}: {messages}");
    let path = path.trim();
    if path.is_empty() {
        let mut told = std::io::stderr();
        writeln!(told, "left out: {}", messages.trim()).unwrap();
        return None;
    }
    Some(PathBuf::from(path))
}

/// A folder with the key `dev.pem`, and with its public half in `dev.pem.jwks.json`, and a token of
/// a service that may do everything.
pub fn operator() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("dev.pem");
    let key = key.to_str().unwrap();
    let mut arguments = vec!["token", "--new-key", "--key", key, "--subject", "console"];
    arguments.extend(JWT);
    arguments.extend(["--scope", "operator", "--organization", "*"]);
    let (status, token, error) = run(&arguments);
    assert_eq!(status, 0, "{error}");
    (folder, token.trim().to_owned())
}

#[test]
fn without_what_installs_them_tools_are_left_out_and_it_is_said() {
    let nothing = tempfile::tempdir().unwrap();
    let told = |name: &str| {
        let mut command = script(name);
        command.env("PATH", nothing.path()).env("CARGO_TARGET_DIR", nothing.path());
        told(command.output().unwrap())
    };
    let (status, path, said) = told("grpcurl");
    assert_eq!((status, path.as_str()), (0, ""));
    assert_eq!(said, "grpcurl is not here and Go neither: docs/grpcurl.md is not run\n");
    let (status, path, said) = told("python-client");
    assert_eq!((status, path.as_str()), (0, ""));
    assert_eq!(said, "python3 with venv is not here: the Python client is not run\n");
}
