//! Export, apply and prune against a server: nothing that decides is lost, nothing else is kept.

use std::process::Stdio;

use super::cluster::database;
use super::program::{Serving, file, told};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/northwind-maps.yaml");

/// An organization with one of everything that a file can say.
fn generated() -> String {
    let users: String = (0..120)
        .map(|n| {
            let home = if n % 10 == 9 { "" } else { "home_organization: big, " };
            let status = if n % 17 == 16 { "deactivated" } else { "active" };
            let site = if n % 13 == 12 { ", site_role: viewer" } else { "" };
            let functions = if n % 11 == 8 { ", affiliations: [tutor, assessor]" } else { "" };
            let said = format!("{home}status: {status}{site}{functions}");
            format!("  - {{id: u{n}, email: u{n}@big.example, {said}}}\n")
        })
        .collect();
    let group = |n: usize| {
        let below = if n < 11 { format!("'group:g{}', ", n + 1) } else { String::new() };
        let users: Vec<_> =
            (0..120).filter(|u| u % 12 == n).map(|u| format!("'user:u{u}'")).collect();
        format!("  - {{id: g{n}, members: [{below}{}]}}\n", users.join(", "))
    };
    let portfolio = |n: usize| {
        let visibility = ["private", "restricted", "open"][n % 3];
        let end = ["", ", expire_time: 2040-01-01T00:00:00Z", ", start_time: 2039-01-01T00:00:00Z"];
        let owner = if n.is_multiple_of(2) { 16 } else { n };
        let openly = ["scribe", "viewer"][n % 2];
        format!(
            "  - id: p{n}\n    visibility: {visibility}\n    owner: u{owner}\n    \
             organization_access_role: {openly}\n    grants:\n      \
             - {{subject: 'group:g{}', role: contributor}}\n      \
             - {{subject: 'user:u{}', role: scribe{}}}\n      \
             - {{subject: 'service_account:s{}', role: manager}}\n",
            n % 12,
            20 + n % 8,
            end[n % 3],
            n % 2
        )
    };
    let groups: String = (0..12).map(group).collect();
    let portfolios: String = (0..8).map(portfolio).collect();
    // By id, what is linked comes before its parent.
    let portfolios = portfolios
        + "  - {id: below, owner: u1, parent: p2, grants: [{subject: 'user:u20', \
           role: viewer}]}\n  \
           - {id: a-link, owner: u2, parent: below, linked: true}\n  \
           - {id: a-chain, owner: u3, parent: a-link, linked: true}\n";
    format!(
        "organization: {{id: big, display_name: Big, domains: [big.example], administrators: \
         [u0, u1], preset: board_planning, outsider_site_role: guest, partner_organizations: \
         [friend], externals_join: partners_at_once, privacy_approval: true}}\nroles:\n  \
         - {{key: scribe, description: Writes., permissions: {{portfolio.view: any, \
         initiative.edit: own, epic.link: any}}}}\n  \
         - {{key: viewer, display_name: Reader}}\nusers:\n{users}  - {{id: visitor, email: \
         visitor@far.example, affiliations: [assessor]}}\nservice_accounts:\n  \
         - {{id: s0}}\n  - {{id: s1, status: deactivated}}\ngroups:\n{groups}portfolios:\n\
         {portfolios}function_ceilings:\n  - {{function: tutor, role: viewer}}\n  \
         - {{function: tutor, portfolio_type: plan, role: scribe}}\n"
    )
}

fn export(server: &Serving, organization: &str) -> String {
    let (status, out, error) = server.run(&["export", organization]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    out
}

/// Every question about a few permissions, with the answer that this server gives.
fn decisions(server: &Serving, subjects: &[&str], portfolios: &[&str]) -> String {
    let mut lines = String::new();
    for subject in subjects {
        for permission in ["portfolio.view", "initiative.edit", "members.update", "epic.link"] {
            let (_, out, error) = server.run(&["list-portfolios", subject, permission, "--json"]);
            assert_eq!(error, "");
            for portfolio in portfolios {
                let allowed = out.contains(&format!("\"portfolio\":\"{portfolio}\""));
                let line = serde_json::json!({ "subject": subject, "permission": permission,
                    "portfolio": portfolio, "allowed": allowed });
                lines.push_str(&format!("{line}\n"));
            }
        }
    }
    lines
}

/// Exports, applies the export to an empty server, and compares export and decisions.
async fn survives(first: &Serving, organization: &str, subjects: &[&str], portfolios: &[&str]) {
    let exported = export(first, organization);
    let expected = decisions(first, subjects, portfolios);
    assert!(expected.contains("\"allowed\":true") && expected.contains("\"allowed\":false"));
    let (_folder, path) = file("export.yaml", exported.as_bytes());
    let path = path.to_str().unwrap();
    let (status, out, _) = first.run(&["apply", path, "--prune"]);
    assert_eq!((status, out.as_str()), (0, "nothing to change\n"), "it is what is there");

    let empty = database().await;
    let second = Serving::start(&empty.url, &[]);
    let (status, out, error) = second.run(&["apply", path]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    assert_eq!(export(&second, organization), exported);
    let (_folder, lines) = file("expected.jsonl", expected.as_bytes());
    let (status, out, error) = second.run(&["verify", lines.to_str().unwrap()]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
}

#[tokio::test]
async fn the_demo_survives_export_and_apply() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let exported = export(&server, "northwind-maps");
    for line in ["- fumiko", "id: map-publisher", "- subject: service_account:map-publisher"] {
        assert!(exported.contains(line), "{line}\n{exported}");
    }
    let subjects = [
        "user:ann",
        "user:hugo",
        "user:fumiko",
        "group:field-team",
        "service_account:map-publisher",
    ];
    let portfolios = ["trail-atlas", "idea-box", "winter-edition", "hiring", "acquisition"];
    survives(&server, "northwind-maps", &subjects, &portfolios).await;
}

#[tokio::test]
async fn an_organization_with_everything_survives_export_and_apply() {
    let database = database().await;
    let server = Serving::start(&database.url, &[]);
    let (_folder, path) = file("big.yaml", generated().as_bytes());
    let (status, out, error) = server.run(&["apply", path.to_str().unwrap()]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    let subjects = [
        "user:u0",
        "user:u9",
        "user:u12",
        "user:u16",
        "user:u21",
        "group:g3",
        "service_account:s0",
        "service_account:s1",
    ];
    let portfolios = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "below", "a-link", "a-chain"];
    survives(&server, "big", &subjects, &portfolios).await;
}

#[tokio::test]
async fn inh_1_inh_6_a_file_links_unlinks_and_moves() {
    let database = database().await;
    let server = Serving::start(&database.url, &[]);
    let content = |portfolios: &str| {
        format!(
            "organization: {{id: acme, domains: [acme.example]}}\nusers:\n  \
             - {{id: ann, email: ann@acme.example, home_organization: acme}}\n  \
             - {{id: ben, email: ben@acme.example, home_organization: acme}}\n\
             portfolios:\n{portfolios}"
        )
    };
    let apply = |portfolios: &str, arguments: &[&str]| {
        let (_folder, path) = file("links.yaml", content(portfolios).as_bytes());
        let all = [&["apply", path.to_str().unwrap()], arguments].concat();
        let (status, out, error) = server.run(&all);
        let (_, again, _) = server.run(&all);
        let again = again.trim_end().to_owned();
        (status, out, error, again)
    };
    let space = "  - {id: space, owner: ann, grants: [{subject: 'user:ben', role: viewer}]}\n  \
                 - {id: other, owner: ann}\n";
    let linked = format!("{space}  - {{id: child, owner: ann, parent: space, linked: true}}\n");
    let may = || server.run(&["check", "user:ben", "portfolio.view", "child"]).0 == 0;
    let (status, out, error, again) = apply(&linked, &[]);
    assert_eq!((status, error.as_str(), again.as_str()), (0, "", "nothing to change"), "{out}");
    assert!(out.contains("+ portfolio child, owner ann, linked to space\n"), "{out}");
    assert!(may());
    // What is linked stays so unless the file says otherwise, and has no members to take away.
    let silent = format!("{space}  - {{id: child, owner: ann}}\n");
    assert_eq!(apply(&silent, &["--prune"]).1, "nothing to change\n");
    let given = "{id: child, owner: ann, grants: [{subject: 'user:ben', role: contributor}]}";
    let given = format!("{space}  - {given}\n");
    let (status, _, error, _) = apply(&given, &[]);
    assert!(status == 2 && error.contains("portfolio `child` has the settings"), "{error}");
    let moved = format!("{space}  - {{id: child, owner: ann, parent: other, linked: true}}\n");
    let (status, out, error, again) = apply(&moved, &[]);
    assert_eq!((status, error.as_str(), again.as_str()), (0, "", "nothing to change"), "{out}");
    assert!(out.contains("~ portfolio child: parent space -> other, linked\n"), "{out}");
    assert!(!may());
    let (_, out, _, _) = apply(&linked, &[]);
    assert!(may(), "{out}");
    // A copy first, and then what the file says of it.
    let unlinked = "{id: child, owner: ann, parent: space, linked: false, visibility: restricted, \
                    grants: [{subject: 'user:ben', role: contributor}]}";
    let unlinked = format!("{space}  - {unlinked}\n");
    let (status, out, error, again) = apply(&unlinked, &["--prune"]);
    assert_eq!((status, error.as_str(), again.as_str()), (0, "", "nothing to change"), "{out}");
    assert!(out.contains("~ portfolio child: no longer linked\n"), "{out}");
    assert_eq!(server.run(&["check", "user:ben", "initiative.edit", "child"]).0, 0);
    let (status, out, _, again) = apply(&linked, &[]);
    assert_eq!((status, again.as_str()), (0, "nothing to change"), "{out}");
    assert!(out.contains("~ portfolio child: linked\n"), "{out}");
}

#[tokio::test]
async fn prune_takes_away_what_the_file_does_not_have_and_asks_first() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let content = std::fs::read_to_string(DEMO).unwrap();
    let hiring = content.find("  # Private: for its participants only").unwrap();
    let fewer = content[..hiring]
        .replace("      - {subject: 'user:ben', role: contributor}\n", "")
        .replace("'user:fumiko', 'user:hugo'", "'user:fumiko'");
    let (_folder, path) = file("fewer.yaml", fewer.as_bytes());
    let path = path.to_str().unwrap();

    let before = export(&server, "northwind-maps");
    let mut unasked = server.command(&["apply", path, "--prune"]);
    let (status, out, error) = told(unasked.stdin(Stdio::null()).output().unwrap());
    assert_eq!(status, 2, "{out}");
    assert!(error.contains("nothing was changed") && error.contains("`--yes`"), "{error}");
    assert_eq!(export(&server, "northwind-maps"), before);
    // Without `--prune` there is nothing to do.
    assert_eq!(server.run(&["apply", path]).1, "nothing to change\n");

    let (status, out, error) = server.run(&["apply", path, "--prune", "--yes"]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    for line in [
        "- portfolio hiring, for good",
        "- portfolio acquisition, for good",
        "- portfolio winter-edition: user:ben as contributor",
        "- group field-team: member user:hugo",
        "4 changes made",
    ] {
        assert!(out.lines().any(|told| told == line), "{line}\n{out}");
    }
    let (status, out, _) = server.run(&["apply", path, "--prune"]);
    assert_eq!((status, out.as_str()), (0, "nothing to change\n"), "no need to ask");
    let (status, out, _) = server.run(&["check", "user:ann", "portfolio.view", "hiring", "--json"]);
    assert!(status == 1 && out.contains("PORTFOLIO_UNKNOWN"), "{out}");
}

#[tokio::test]
async fn rol_5_rol_6_roles_are_pruned_unless_something_uses_them() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let content = std::fs::read_to_string(DEMO).unwrap();
    let with = |roles: &str| content.replacen("users:", &format!("{roles}\nusers:"), 1);
    let two = with("roles: [{key: scribe}, {key: scout, permissions: {portfolio.view: any}}]");
    let (_folder, path) = file("two.yaml", two.as_bytes());
    let (status, out, error) = server.run(&["apply", path.to_str().unwrap(), "--dry-run"]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("+ role scout: portfolio.view"), "{out}");
    let (status, out, error) = server.run(&["apply", path.to_str().unwrap()]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    assert_eq!(server.run(&["apply", path.to_str().unwrap()]).1, "nothing to change\n");
    assert!(export(&server, "northwind-maps").contains("- key: scout"));

    // Left out, so left alone: the grant by which one of them is used stays.
    let used = "organization: {id: northwind-maps}\nportfolios: [{id: trail-atlas, \
                organization_access_role: scout}]";
    let (_folder, path) = file("used.yaml", used.as_bytes());
    let (status, out, error) = server.run(&["apply", path.to_str().unwrap()]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    let (_folder, path) = file("none.yaml", b"organization: {id: northwind-maps}\nroles: []");
    let path = path.to_str().unwrap();
    let (status, out, error) = server.run(&["apply", path, "--prune", "--yes"]);
    assert_eq!(status, 2, "{out}");
    assert!(out.lines().any(|line| line == "- role scribe"), "{out}");
    assert!(error.contains("- role scout: ") && error.contains("ROLE_IN_USE"), "{error}");
    let exported = export(&server, "northwind-maps");
    assert!(exported.contains("- key: scout") && !exported.contains("- key: scribe"), "{exported}");
}

#[tokio::test]
async fn an_export_goes_into_a_file_as_json_too() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let (_folder, path) = file("out.json", b"something else");
    let path = path.to_str().unwrap();
    let (status, out, error) = server.run(&["export", "northwind-maps", "--json", "-o", path]);
    assert_eq!((status, out.as_str(), error.as_str()), (0, "", ""));
    let value: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(value["organization"]["administrators"], serde_json::json!(["fumiko"]));
    assert_eq!(server.run(&["apply", path, "--prune"]).1, "nothing to change\n");
    let (status, _, error) = server.run(&["export", "nowhere", "--json"]);
    let refused: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!((status, &refused["error"]["reason"]), (2, &"ORGANIZATION_NOT_FOUND".into()));
}
