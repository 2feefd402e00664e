//! A client in Python, of stubs generated from the protos, against a running server.

use std::path::Path;
use std::process::Command;

use crate::cluster::database;
use crate::program::{Serving, told};
use crate::tools::{JWT, installed, operator};

#[tokio::test]
async fn a_client_generated_in_python_goes_through_a_scenario() {
    let Some(python) = installed("python-client") else { return };
    let database = database().await;
    let (keys, token) = operator();
    let keys = keys.path().join("dev.pem.jwks.json");
    let keys = ["--jwt-keys", keys.to_str().unwrap()];
    let server = Serving::start(&database.url, &[&JWT[..], &keys].concat());

    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/scenario.py");
    let environment = python.parent().and_then(Path::parent).unwrap();
    let output = Command::new(&python)
        .arg(scenario)
        .arg(server.uri.strip_prefix("http://").unwrap())
        .env("PYTHONPATH", environment.join("stubs"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PORTCULLIS_TOKEN", token)
        .output()
        .unwrap();
    let (status, said, error) = told(output);
    assert_eq!(status, 0, "{said}{error}");
    assert!(said.ends_with("the scenario is through\n"), "{said}");
}
