//! Explain, list-portfolios and audit against a server, and completions and output without one.

use super::cluster::database;
use super::program::{Serving, file, portcullis, run, told};

#[tokio::test]
async fn acc_8_explain_draws_every_kind_of_route() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let explain = |arguments: &[&str]| {
        let (status, out, error) = server.run(&[&["explain"], arguments].concat());
        assert_eq!(error, "", "{arguments:?}");
        (status, out)
    };
    let (status, out) = explain(&["user:hugo", "initiative.edit", "trail-atlas"]);
    assert_eq!(status, 0);
    assert!(out.starts_with("allowed: by a grant of a group they are in (GROUP_GRANT)\n"), "{out}");
    assert!(out.contains("─ group field-team > cartography: contributor\n"), "{out}");
    assert!(out.contains("└─ allows initiative.edit\n"), "{out}");

    let (status, out) = explain(&["user:ben", "initiative.edit", "trail-atlas"]);
    assert_eq!(status, 1);
    assert!(out.contains("─ open to the organization: viewer\n"), "{out}");
    assert!(out.contains("└─ does not hold initiative.edit\n"), "{out}");
    assert!(out.contains("└─ missing: a role with initiative.edit: contributor, manager\n"));
    assert!(out.contains("─ user:ann could give it"), "{out}");

    let (status, out) = explain(&["user:ben", "portfolio.view", "acquisition"]);
    assert_eq!(status, 1);
    assert!(out.contains("─ own grant: viewer\n"), "{out}");
    assert!(out.contains("├─ not in force: begins 2034-01-01T00:00:00Z\n"), "{out}");
    assert!(out.contains("└─ would allow portfolio.view if it were in force\n"), "{out}");
    assert!(out.ends_with("unless something is written, until 2034-01-01T00:00:00Z\n"), "{out}");

    let (_, out) = explain(&["user:hugo", "epic.link", "trail-atlas"]);
    assert!(out.contains("would allow epic.link to somebody internal"), "{out}");
    let (status, out) = explain(&["user:fumiko", "members.remove", "hiring"]);
    assert_eq!(status, 0);
    assert!(out.contains("─ administrator of the organization\n"), "{out}");
    let (status, out) = explain(&["user:ben", "portfolio.view", "hiring", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &answer["reason"]), (1, &"NO_ACCESS".into()));
    assert_eq!(answer["givers"][0]["user"], "ann");
}

#[tokio::test]
async fn acc_9_list_portfolios_lists_where_and_says_by_its_status_whether() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let (status, out, error) = server.run(&["list-portfolios", "user:hugo", "initiative.edit"]);
    assert_eq!((status, error.as_str()), (0, ""));
    let lines: Vec<_> =
        out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["PORTFOLIO", "ORGANIZATION", "REASON", "UNTIL"]);
    assert_eq!(lines[1..], [["trail-atlas", "northwind-maps", "GROUP_GRANT"]]);
    let (status, out, _) = server.run(&["list-portfolios", "user:hugo", "epic.link"]);
    assert_eq!((status, out.as_str()), (1, "nowhere\n"));
    let question = ["list-portfolios", "user:ann", "portfolio.view", "--json"];
    let (status, out, _) = server.run(&question);
    assert_eq!(status, 0);
    let ids: Vec<_> = out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["portfolio"].clone())
        .collect();
    assert_eq!(ids, ["acquisition", "hiring", "idea-box", "trail-atlas"]);
    let (status, out, error) =
        server.run(&["list-portfolios", "user:ann", "portfolio.veiw", "--json"]);
    let refused: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!((status, out.as_str()), (2, ""));
    assert_eq!(refused["error"]["reason"], "PERMISSION_NAME_UNKNOWN");
    assert_eq!(refused["error"]["code"], "INVALID_ARGUMENT");
}

#[tokio::test]
async fn inh_5_compare_prints_a_diff_and_says_by_its_status_whether() {
    let database = database().await;
    let server = Serving::start(&database.url, &[]);
    let content = "organization: {id: acme, domains: [acme.example]}\nusers:\n  \
                   - {id: ann, email: ann@acme.example, home_organization: acme}\n  \
                   - {id: bob, email: bob@acme.example, home_organization: acme}\n  \
                   - {id: eve, email: eve@acme.example, home_organization: acme}\n\
                   portfolios:\n  - {id: space, owner: ann, visibility: open, grants: \
                   [{subject: 'user:eve', role: manager}]}\n  - {id: child, owner: ann, parent: \
                   space, grants: [{subject: 'user:bob', role: manager}, {subject: 'user:eve', \
                   role: contributor}]}\n";
    let (_folder, path) = file("space.yaml", content.as_bytes());
    assert_eq!(server.run(&["apply", path.to_str().unwrap()]).0, 0);
    let (status, out, error) = server.run(&["compare", "child"]);
    assert_eq!((status, error.as_str()), (1, ""), "{out}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[..2], ["if child were linked to space:", "~ visibility  private -> open"]);
    // What openness gives bob he keeps.
    assert!(lines[2].starts_with("- user:bob  manager  (- access.manage, "), "{out}");
    assert!(
        lines[3].starts_with("~ user:eve  contributor -> manager  (+ access.manage, "),
        "{out}"
    );
    let (status, out, _) = server.run(&["compare", "child", "--actor", "user:ann", "--json"]);
    let compared: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &compared["differences"][0]["kind"]), (1, &"loses".into()));
    let (status, _, error) = server.run(&["compare", "space", "--json"]);
    let refused: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!((status, &refused["error"]["reason"]), (2, &"NO_PARENT".into()));
    assert_eq!(server.run(&["compare", "child", "--actor", "user:nobody"]).0, 2);
    let linked = content.replace(
        "parent: space, grants: [{subject: 'user:bob', role: manager}, \
                                  {subject: 'user:eve', role: contributor}]",
        "parent: space, linked: true",
    );
    let (_folder, path) = file("linked.yaml", linked.as_bytes());
    assert_eq!(server.run(&["apply", path.to_str().unwrap()]).0, 0);
    let (status, out, _) = server.run(&["compare", "child"]);
    assert_eq!(
        (status, out.as_str()),
        (0, "child is linked to space already: nothing would change\n")
    );
}

#[tokio::test]
async fn evt_4_audit_tells_the_newest_first_and_up_to_a_limit() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let (status, out, error) = server.run(&["audit", "winter-edition"]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("user:carla as manager until 2035-12-31T23:00:00Z\n"), "{out}");
    let last = out.lines().last().unwrap();
    assert!(last.contains("system (loopback)") && last.contains("portfolio.created"), "{out}");
    let (_, out, _) = server.run(&["audit", "winter-edition", "--subject", "user:ben", "--json"]);
    let event: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((&event["kind"], &event["subject"]), (&"member.added".into(), &"user:ben".into()));
    let all = ["audit", "--organization", "northwind-maps", "--kind", "member.added", "--json"];
    let (_, out, _) = server.run(&[&all[..], &["--limit", "0"]].concat());
    let (_, two, _) = server.run(&[&all[..], &["--limit", "2"]].concat());
    assert_eq!(two.lines().collect::<Vec<_>>(), out.lines().take(2).collect::<Vec<_>>());
    let (status, _, error) = server.run(&["audit"]);
    assert_eq!(status, 2);
    assert!(error.contains("<PORTFOLIO|--organization <ID>>"), "{error}");
}

#[test]
fn completions_are_there_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (status, out, error) = run(&["completions", shell]);
        assert_eq!((status, error.as_str()), (0, ""), "{shell}");
        assert!(out.contains("list-portfolios"), "{shell}");
    }
    assert_eq!(run(&["completions", "tcsh"]).0, 2);
}

#[test]
fn every_help_has_an_example() {
    for command in [
        "apply",
        "export",
        "check",
        "compare",
        "explain",
        "list-portfolios",
        "verify",
        "audit",
        "completions",
    ] {
        let (status, out, _) = run(&[command, "--help"]);
        assert_eq!(status, 0);
        assert!(out.contains("Examples:\n  "), "{command}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = portcullis(&["completions", "bash"]);
    let (status, _, error) = told(command.stdout(full).output().unwrap());
    assert_eq!(status, 2);
    assert!(error.starts_with("error: cannot write to standard output: "), "{error}");
}

#[test]
fn mistaken_arguments_are_json_where_that_was_asked_for() {
    let (status, out, error) = run(&["check", "ann", "portfolio.view", "apollo", "--json"]);
    let refused: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!((status, out.as_str()), (2, ""));
    assert_eq!(refused["error"]["code"], "INVALID_ARGUMENT");
    let (_, _, error) = run(&["export", "--json"]);
    let refused: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert!(refused["error"]["message"].as_str().unwrap().contains("name the organization"));
}
