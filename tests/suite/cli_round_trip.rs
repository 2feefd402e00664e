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
    let items = "items:\n  \
         - {type: board, id: b1, display_name: One, portfolios: [p0, p2], author: \
         'service_account:s0', owner: u2, independent: true, visibility: open, \
         organization_access_role: scribe, grants: [{subject: 'user:stranger', role: viewer}, \
         {subject: 'user:u21', role: viewer}, {subject: 'user:u21', role: scribe, start_time: \
         2039-01-01T00:00:00Z}, {subject: 'group:g3', role: contributor, expire_time: \
         2040-01-01T00:00:00Z}]}\n  \
         - {type: board, id: b2, portfolios: [a-link]}\n  \
         - {type: goal, id: b1, portfolios: [p1], owner: u1, independent: true, archived: true}\n";
    format!(
        "organization: {{id: big, display_name: Big, domains: [big.example], administrators: \
         [u0, u1], preset: board_planning, outsider_site_role: guest, partner_organizations: \
         [friend], externals_join: partners_at_once, privacy_approval: true}}\nroles:\n  \
         - {{key: scribe, description: Writes., permissions: {{portfolio.view: any, \
         initiative.edit: own, epic.link: any}}}}\n  \
         - {{key: viewer, display_name: Reader}}\nusers:\n{users}  - {{id: visitor, email: \
         visitor@far.example, affiliations: [assessor]}}\n  - {{id: stranger, email: \
         stranger@far.example}}\nservice_accounts:\n  \
         - {{id: s0}}\n  - {{id: s1, status: deactivated}}\ngroups:\n{groups}portfolios:\n\
         {portfolios}{items}function_ceilings:\n  - {{function: tutor, role: viewer}}\n  \
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

/// The same about items: each with the portfolio through which it is reached.
fn decisions_on_items(server: &Serving, subjects: &[&str], items: &[(&str, &str)]) -> String {
    let mut lines = String::new();
    for (subject, (item, portfolio)) in
        subjects.iter().flat_map(|subject| items.iter().map(move |item| (subject, item)))
    {
        for permission in ["portfolio.view", "initiative.edit"] {
            let (status, _, error) =
                server.run(&["check", subject, permission, portfolio, "--item", item]);
            assert_eq!(error, "");
            let line = serde_json::json!({ "subject": subject, "permission": permission,
                "portfolio": portfolio, "item": item, "allowed": status == 0 });
            lines.push_str(&format!("{line}\n"));
        }
    }
    lines
}

/// Exports, applies the export to an empty server, and compares export and decisions.
async fn survives(
    first: &Serving,
    organization: &str,
    (subjects, portfolios): (&[&str], &[&str]),
    items: &[(&str, &str)],
) {
    let exported = export(first, organization);
    let mut expected = decisions(first, subjects, portfolios);
    expected.push_str(&decisions_on_items(first, subjects, items));
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
    survives(&server, "northwind-maps", (&subjects, &portfolios), &[]).await;
    let subjects = ["user:quentin", "user:rosa", "user:sven", "user:tilda", "group:press-office"];
    let items = [("board:fees", "season"), ("board:stage-design", "premiere")];
    survives(&server, "juniper-theatre", (&subjects, &["season", "premiere"]), &items).await;
    let subjects = ["user:jonas", "user:leila", "service_account:lift-telemetry"];
    let items = [("goal:half-the-noise", "quiet-motors")];
    survives(&server, "lumen-lifts", (&subjects, &["motors", "quiet-motors"]), &items).await;
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
    let items = [("board:b1", "p0"), ("board:b1", "p2"), ("board:b2", "a-link"), ("goal:b1", "p1")];
    survives(&server, "big", (&subjects, &portfolios), &items).await;
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
    // To the top, with a copy.
    let top = format!("{space}  - {{id: child, owner: ann, parent: null}}\n");
    let (status, out, error, again) = apply(&top, &[]);
    assert_eq!((status, error.as_str(), again.as_str()), (0, "", "nothing to change"), "{out}");
    assert!(out.contains("~ portfolio child: parent space -> none\n"), "{out}");
    assert!(may() && !export(&server, "acme").contains("parent:"));
    let refused = format!("{space}  - {{id: child, owner: ann, parent: null, linked: true}}\n");
    let (status, _, error, _) = apply(&refused, &[]);
    assert!(status == 2 && error.contains("`portfolios[2].linked`: needs a `parent`"), "{error}");
}

#[tokio::test]
async fn acc_5_a_file_registers_changes_and_takes_away_items() {
    let database = database().await;
    let server = Serving::start(&database.url, &[]);
    let apply = |rest: &str, arguments: &[&str]| {
        let content = format!(
            "organization: {{id: acme, domains: [acme.example]}}\nusers:\n  \
             - {{id: ann, email: ann@acme.example, home_organization: acme}}\n  \
             - {{id: ben, email: ben@acme.example, home_organization: acme}}\n\
             portfolios:\n  - {{id: space, owner: ann, visibility: open}}\n{rest}"
        );
        let (_folder, path) = file("items.yaml", content.as_bytes());
        let all = [&["apply", path.to_str().unwrap()], arguments].concat();
        let (status, out, error) = server.run(&all);
        let (_, again, _) = server.run(&all);
        (status, out, error, again)
    };
    let done = "nothing to change\n";
    let sky = |keys: &str| format!("  - {{type: board, id: sky, independent: true, {keys}}}\n");
    let may = |permission| {
        server.run(&["check", "user:ben", permission, "space", "--item", "board:sky"]).0 == 0
    };
    let viewed = sky("portfolios: [space], owner: ann, grants: [{subject: 'user:ben', role: \
                      viewer}]");
    let (status, out, error, again) = apply(&format!("items:\n{viewed}"), &[]);
    assert_eq!((status, error.as_str(), again.as_str()), (0, "", done), "{out}");
    assert!(out.contains("+ item board:sky on space, independent, private, owner ann\n"), "{out}");
    assert!(out.contains("+ item board:sky: user:ben as viewer\n6 changes made\n"), "{out}");
    assert!(may("portfolio.view") && !may("initiative.edit"));

    // What is refused before anything is done: the portfolio that is new is not there either.
    let before = export(&server, "acme");
    let unknown = sky("portfolios: [space, moon], owner: ann");
    let unknown = format!("  - {{id: new, owner: ann}}\nitems:\n{unknown}");
    let (status, _, error, _) = apply(&unknown, &[]);
    assert!(
        status == 2 && error.contains("`items[0].portfolios[1]`: `moon` is neither"),
        "{error}"
    );
    assert_eq!(export(&server, "acme"), before);

    // On a portfolio that is new, another's, more for one, nothing for others, and archived: all
    // of it at once.
    let changed = sky("portfolios: [new, space], owner: ben, display_name: Sky, archived: true, \
                       visibility: open, grants: [{subject: 'user:ann', role: contributor}]");
    let changed = format!("  - {{id: new, owner: ann}}\nitems:\n{changed}");
    let (status, out, error, again) = apply(&changed, &["--prune", "--yes"]);
    assert_eq!((status, error.as_str(), again.as_str()), (0, "", done), "{out}");
    for line in [
        "~ item board:sky: display name none -> Sky, portfolios space -> new space, \
         owner ann -> ben, visibility private -> open, archived off -> on",
        "+ item board:sky: user:ann as contributor",
        "- item board:sky: user:ben as viewer",
    ] {
        assert!(out.lines().any(|told| told == line), "{line}\n{out}");
    }
    assert!(may("portfolio.view") && !may("initiative.edit"), "it is archived");
    let (status, _, error, _) = apply(&changed.replace("Sky", "Skies"), &[]);
    assert!(status == 2 && error.contains("item `board:sky` is archived"), "{error}");
    let restored = changed.replace("Sky", "Skies").replace("archived: true", "archived: false");
    let (status, out, error, again) = apply(&restored, &[]);
    assert_eq!((status, error.as_str(), again.as_str()), (0, "", done), "{out}");
    assert!(may("initiative.edit"), "the owner is manager");

    // Items go before the portfolios that show them; a list that is left out is left alone.
    assert_eq!(apply("", &[]).1, done);
    let (status, out, error, again) = apply("items: []\n", &["--prune", "--yes"]);
    assert_eq!((status, error.as_str(), again.as_str()), (0, "", done), "{out}");
    let gone = "- item board:sky, for good\n- portfolio new, for good\n";
    assert!(out.contains(gone), "{out}");
    let (status, out, error, _) = apply(&format!("items:\n{viewed}"), &[]);
    assert!(status == 2 && error.contains("+ item board:sky: user:ben as viewer: "), "{out}");
    assert!(error.contains("ID_TAKEN") && out.contains("0 changes made"), "{error}{out}");
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
