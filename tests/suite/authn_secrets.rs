//! `portcullis token`, a server that believes its keys, and that no token is ever told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use super::cluster::database;
use super::program::{portcullis, run, told};

const ISSUED: [&str; 4] = ["--issuer", "dev", "--audience", "portcullis"];

/// A token of the key in the folder, which is made if it is not there.
fn mint(folder: &Path, more: &[&str]) -> (i32, String, String) {
    let key = folder.join("dev.pem");
    let key = ["token", "--new-key", "--key", key.to_str().unwrap()];
    let (status, out, error) = run(&[&key[..], &ISSUED, more].concat());
    (status, out.trim_end().to_owned(), error)
}

fn metrics(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn aut_2_a_development_key_is_made_once_and_only_its_owner_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let person = ["--subject", "ann"];
    let (status, token, error) = mint(folder.path(), &person);
    assert_eq!((status, token.split('.').count()), (0, 3), "{error}");
    assert!(error.contains("dev.pem.jwks.json`"), "{error}");
    let mode =
        |name: &str| folder.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("dev.pem"), 0o600);
    let key = std::fs::read_to_string(folder.path().join("dev.pem")).unwrap();
    let public = std::fs::read_to_string(folder.path().join("dev.pem.jwks.json")).unwrap();
    assert!(public.contains("\"OKP\"") && !public.contains("\"d\""), "{public}");
    let (status, _, error) = mint(folder.path(), &person);
    assert_eq!((status, error.as_str()), (0, ""));
    assert_eq!(std::fs::read_to_string(folder.path().join("dev.pem")).unwrap(), key);

    for refused in [
        &["--subject", "ann", "--scope", "operator"][..],
        &["--subject", "ann", "--organization", "acme"],
        &["--subject", "ann", "--scope", "everything", "--organization", "acme"],
        &["--subject", "ann", "--ttl", "25h"],
        &["--subject", "ann", "--ttl", "10ms"],
        &["--subject", "a b"],
        &["--subject", "s", "--scope", "operator", "--organization", "*,acme"],
    ] {
        let (status, out, _) = mint(folder.path(), refused);
        assert_eq!((status, out.as_str()), (2, ""), "{refused:?}");
    }
    let nowhere = folder.path().join("none.pem");
    let absent = ["token", "--key", nowhere.to_str().unwrap(), "--subject", "ann"];
    let (status, _, error) = run(&[&absent[..], &ISSUED].concat());
    assert_eq!((status, error.contains("`--new-key`")), (2, true), "{error}");
}

#[tokio::test]
async fn aut_2_no_token_is_ever_told() {
    let database = database().await;
    let folder = tempfile::tempdir().unwrap();
    let service = ["--subject", "setup", "--scope", "operator", "--organization", "*"];
    let (_, good, _) = mint(folder.path(), &service);
    let foreign = tempfile::tempdir().unwrap();
    let (_, bad, _) = mint(foreign.path(), &service);
    let keys = folder.path().join("dev.pem.jwks.json");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let log = folder.path().join("log");
    let settings = [
        "--jwt-issuer=dev",
        "--jwt-audience=portcullis",
        &format!("--jwt-keys={}", keys.display()),
        &format!("--metrics-listen={free}"),
        &format!("--database-url={}", database.url),
        "--demo",
    ];
    let mut command = portcullis(&["serve", "--listen=127.0.0.1:0", "--log=debug"]);
    command.args(settings).stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().expect("it listens").unwrap();
        if let Some(address) = line.strip_prefix("portcullis listens on ") {
            break address.to_owned();
        }
    };

    // The demo was loaded although nobody gave the server a token.
    let check = |variable: &str, value: &str| {
        let question = ["check", "user:ben", "portfolio.view", "trail-atlas"];
        let mut command = portcullis(&[&question[..], &["--server", &address]].concat());
        told(command.env(variable, value).output().unwrap())
    };
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{good}\n")).unwrap();
    let mut said = String::new();
    for (variable, value, status, expected) in [
        ("PORTCULLIS_TOKEN", good.as_str(), 0, "allowed"),
        ("PORTCULLIS_TOKEN_FILE", file.to_str().unwrap(), 0, "allowed"),
        ("PORTCULLIS_TOKEN", &bad, 2, "CREDENTIAL_REJECTED"),
        ("PORTCULLIS_TOKEN", &bad.replace('.', "~"), 2, "CREDENTIAL_MALFORMED"),
        ("PORTCULLIS_TOKEN", &format!("{bad}\u{1}"), 2, "--token"),
        ("PORTCULLIS_JSON", "0", 2, "--token-file"),
    ] {
        let (ended, out, error) = check(variable, value);
        assert_eq!(ended, status, "{out}{error}");
        assert!(format!("{out}{error}").contains(expected), "{expected}: {out}{error}");
        said.extend([out, error]);
    }
    let counted = metrics(&free);
    for outcome in ["accepted", "missing", "malformed", "rejected"] {
        let name = format!("portcullis_authentications_total{{outcome=\"{outcome}\"}}");
        assert!(counted.contains(&name), "{name}\n{counted}");
    }
    assert!(counted.contains("portcullis_key_loads_total"), "{counted}");
    let mut config = portcullis(&["config"]);
    config.args(settings).env("PORTCULLIS_TOKEN", &good);
    let (_, config, _) = told(config.output().unwrap());
    assert!(config.contains("jwt-issuer = dev  # --jwt-issuer\n"), "{config}");
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(process.wait().unwrap().success());
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("UNAUTHENTICATED"), "refusals are in the log:\n{log}");
    let private = std::fs::read_to_string(folder.path().join("dev.pem")).unwrap();
    let private = private.lines().nth(1).unwrap();
    let parts = good.split('.').chain(bad.split('.')).chain([private]);
    for part in parts {
        for told in [&log, &said, &counted, &config] {
            assert!(!told.contains(part), "{part} is told:\n{told}");
        }
    }
}
