//! What the program does without a server: arguments, files, exit statuses.

use super::program::{file, portcullis, run, told};

/// An address where nobody listens: bound once, and let go.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn config_says_where_each_setting_comes_from_and_masks_passwords() {
    let mut command = portcullis(&["config", "--poll-interval", "100ms", "--demo"]);
    command.env("PORTCULLIS_DATABASE_URL", "postgres://ann:hunter2@db/app");
    command.env("PORTCULLIS_MAX_BATCH", "7").env("PORTCULLIS_INSECURE", "1");
    let (status, told, _) = told(command.output().unwrap());
    assert_eq!(status, 0);
    for line in [
        "listen = 127.0.0.1:50051  # default",
        "database-url = postgres://ann:****@db/app  # PORTCULLIS_DATABASE_URL",
        "poll-interval = 100ms  # --poll-interval",
        "demo = true  # --demo",
        "insecure = true  # PORTCULLIS_INSECURE",
        "max-batch = 7  # PORTCULLIS_MAX_BATCH",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}\n{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn config_as_json_is_json() {
    let (status, told, _) = run(&["config", "--json", "--database-url", "postgres://a:b@c/d"]);
    let value: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(status, 0);
    assert_eq!(value["database-url"]["value"], "postgres://a:****@c/d");
    assert_eq!(value["database-url"]["source"], "--database-url");
    assert_eq!(value["log-format"]["source"], "default");
}

#[test]
fn a_database_url_that_is_none_is_refused_without_repeating_its_password() {
    let mut command = portcullis(&["config"]);
    command.env("PORTCULLIS_DATABASE_URL", "mysql://ann:hunter2@db/app");
    let (status, out, error) = told(command.output().unwrap());
    assert_eq!(status, 2);
    assert!(error.contains("postgres://user:password@host:port/database"), "{error}");
    assert!(!error.contains("hunter2") && !out.contains("hunter2"), "{error}");
    let (_, help, _) = {
        let mut command = portcullis(&["serve", "--help"]);
        command.env("PORTCULLIS_DATABASE_URL", "postgres://ann:hunter2@db/app");
        told(command.output().unwrap())
    };
    assert!(help.contains("PORTCULLIS_DATABASE_URL") && !help.contains("hunter2"), "{help}");
}

#[test]
fn serve_refuses_an_open_address_unless_told_insecure() {
    for command in ["serve", "config"] {
        let (status, _, error) = run(&[command, "--listen", "0.0.0.0:0"]);
        assert_eq!(status, 2);
        assert!(error.starts_with("error: `--listen 0.0.0.0:0` can be reached"), "{error}");
        assert!(error.contains("`--insecure`"), "{error}");
    }
}

#[test]
fn migrate_needs_a_database() {
    let (status, _, error) = run(&["migrate"]);
    assert_eq!(status, 2);
    assert!(error.contains("name one with `--database-url`"), "{error}");
}

#[test]
fn a_malformed_apply_file_is_told_by_place_before_a_server_is_asked() {
    let cases: [(&str, &[u8], &str); 6] = [
        ("a.yaml", b"organization: {id: acme, colour: red}", "line 1, column 26: "),
        ("a.json", b"{\"organization\": {\"id\": \"a b\"}}", "line 1, column 29: `a b` contains"),
        ("a.json", b"{\"organization\": {\"id\": 7}}", "line 1, column 25: invalid type"),
        (
            "a.yaml",
            b"organization: {id: acme}\nportfolios: [{id: p, linked: true}]",
            "`portfolios[0].linked`: needs a `parent` beside it",
        ),
        (
            "a.yaml",
            b"organization: {id: a}\nroles: [{key: x}, {key: x}]",
            "`roles[1].key`: `x` comes twice; `roles[0]` has it too",
        ),
        ("a.yaml", b"organization: {id: \xff}", "is not UTF-8 from byte 19 on"),
    ];
    for (name, content, expected) in cases {
        let (_folder, path) = file(name, content);
        let path = path.to_str().unwrap();
        let (status, out, error) = run(&["apply", path, "--server", &nobody()]);
        assert_eq!((status, out.as_str()), (2, ""), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(path), "{error}");
    }
    let (status, _, error) = run(&["apply", "/nowhere/a.yaml"]);
    assert_eq!(status, 2);
    assert!(error.contains("`/nowhere/a.yaml`: cannot be read"), "{error}");
}

#[test]
fn a_malformed_expectation_is_told_by_place_before_a_server_is_asked() {
    let good =
        r#"{"subject":"user:a","permission":"portfolio.view","portfolio":"p","allowed":true}"#;
    let content = format!("{good}\n{}", good.replace("user:a", "a"));
    let (_folder, path) = file("e.jsonl", content.as_bytes());
    let (status, out, error) = run(&["verify", path.to_str().unwrap(), "--server", &nobody()]);
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(error.contains("line 2, column 14: `a` is no subject"), "{error}");
}

#[test]
fn without_a_server_it_says_how_to_start_one() {
    let server = nobody();
    let question = ["check", "user:ann", "portfolio.view", "apollo", "--server", &server];
    let (status, out, error) = run(&question);
    assert_eq!((status, out.as_str()), (2, ""));
    let expected = format!("error: UNAVAILABLE: no server answers at `{server}`\nhint: start one");
    assert!(error.starts_with(&expected), "{error}");
    // To a health check 1 is unhealthy, and 2 means nothing.
    let (status, out, _) = run(&["health", "--server", &server]);
    assert_eq!((status, out.as_str()), (1, "not serving\n"));
}

#[test]
fn mistaken_arguments_are_errors_not_denials() {
    for arguments in [
        &["check", "ann", "portfolio.view", "apollo"][..],
        &["check", "user:ann", "portfolio.view", "apollo", "--actor", "group:all"],
        &["check", "user:ann", "portfolio.view", "apollo", "--at", "noon"],
        &["check", "user:ann", "portfolio.view"],
        &["serve", "--poll-interval", "50"],
        &["shut-down"],
    ] {
        let (status, out, error) = run(arguments);
        assert_eq!((status, out.as_str()), (2, ""), "{arguments:?}");
        assert!(error.starts_with("error: "), "{error}");
    }
}

#[test]
fn output_that_nobody_reads_any_more_is_no_failure() {
    let mut command = portcullis(&["config"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).output().unwrap();
    let (status, _, error) = told(output);
    assert_eq!((status, error.as_str()), (0, ""));
}
