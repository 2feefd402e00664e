//! The client commands against a server: apply, verify, check, health.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, SmallInt};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};

use super::cluster::database;
use super::program::{Serving, file};

const ALLOWED: &str = "allowed: by a grant of a group they are in (GROUP_GRANT)\n";
const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/northwind-maps.yaml");

#[derive(Debug, PartialEq, Eq, QueryableByName)]
struct Head {
    #[diesel(sql_type = SmallInt)]
    shard: i16,
    #[diesel(sql_type = BigInt)]
    sequence: i64,
}

/// How far every shard of the feed has come.
async fn heads(url: &str) -> Vec<Head> {
    let mut connection = AsyncPgConnection::establish(url).await.unwrap();
    let query = diesel::sql_query("SELECT shard, sequence FROM feed_heads ORDER BY shard");
    query.load(&mut connection).await.unwrap()
}

#[tokio::test]
async fn applying_twice_changes_nothing_the_second_time() {
    let database = database().await;
    let server = Serving::start(&database.url, &[]);
    let before = heads(&database.url).await;

    let (status, out, error) = server.run(&["apply", DEMO, "--dry-run"]);
    assert_eq!((status, error.as_str()), (0, ""));
    assert!(out.contains("+ portfolio hiring, private, owner ann\n"), "{out}");
    assert!(out.ends_with("nothing was changed: this was a dry run\n"), "{out}");
    assert_eq!(heads(&database.url).await, before, "a dry run writes nothing");

    let (status, out, error) = server.run(&["apply", DEMO]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("  portfolios            5 to add      0 to change\n"), "{out}");
    let applied = heads(&database.url).await;
    assert_ne!(applied, before);

    let (status, out, error) = server.run(&["apply", DEMO]);
    assert_eq!((status, out.as_str(), error.as_str()), (0, "nothing to change\n", ""));
    assert_eq!(heads(&database.url).await, applied);
}

#[tokio::test]
async fn rol_4_the_demo_has_an_organization_of_each_preset() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let organizations = [
        ("northwind-maps", "initiative_planning", "trail-atlas", "ann"),
        ("juniper-theatre", "board_planning", "season", "quentin"),
        ("lumen-lifts", "tracker", "renewal", "jonas"),
        ("alder-school", "learning", "olives-growth", "olive"),
    ];
    for (organization, preset, portfolio, owner) in organizations {
        let (status, out, error) = server.run(&["export", organization]);
        assert_eq!((status, error.as_str()), (0, ""), "{out}");
        assert!(out.contains(&format!("preset: {preset}\n")), "{out}");
        let owner = format!("user:{owner}");
        assert_eq!(server.run(&["check", &owner, "access.manage", portfolio]).0, 0, "{owner}");
    }
    // As the server says when it starts.
    let questions = [
        ("user:sven initiative.edit season", 0),
        ("user:mateo access.manage motors", 1),
        ("user:yusuf assessment.complete olives-growth", 0),
    ];
    for (question, status) in questions {
        let arguments: Vec<&str> = ["check"].into_iter().chain(question.split(' ')).collect();
        assert_eq!(server.run(&arguments).0, status, "{question}");
    }
}

#[tokio::test]
async fn changes_of_the_file_are_told_and_made() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let content = std::fs::read_to_string(DEMO).unwrap();
    let changed = content
        .replace("Greta Holm", "Greta Holmgren")
        .replace("visibility: restricted", "visibility: open")
        .replace("{subject: 'user:ben', role: contributor}", "{subject: 'user:ben', role: viewer}")
        .replace(", expire_time: 2035-12-31T23:00:00Z", "");
    let (_folder, path) = file("changed.yaml", changed.as_bytes());
    let (status, out, error) = server.run(&["apply", path.to_str().unwrap()]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    for line in [
        "~ user greta: display name Greta Holm -> Greta Holmgren",
        "~ portfolio winter-edition: visibility restricted -> open",
        "~ portfolio winter-edition: user:ben: role contributor -> viewer",
        "~ portfolio winter-edition: user:carla: end 2035-12-31T23:00:00Z -> none",
        "4 changes made",
    ] {
        assert!(out.lines().any(|told| told == line), "{line}\n{out}");
    }
    let (_, out, _) = server.run(&["apply", path.to_str().unwrap()]);
    assert_eq!(out, "nothing to change\n");
}

#[tokio::test]
async fn what_cannot_be_applied_changes_nothing() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let before = heads(&database.url).await;
    let content = std::fs::read_to_string(DEMO).unwrap();
    let changed = content.replace("owner: greta", "owner: ann").replace("Greta Holm", "Greta H");
    let (_folder, path) = file("changed.yaml", changed.as_bytes());
    let (status, _, error) = server.run(&["apply", path.to_str().unwrap()]);
    assert_eq!(status, 2);
    assert!(error.contains("portfolio `idea-box`: owner greta -> ann"), "{error}");
    assert_eq!(heads(&database.url).await, before);
}

#[tokio::test]
async fn mem_2_a_refused_grant_is_told_and_does_not_spoil_the_others() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    // Hugo is external: he would have to be invited.
    let content = std::fs::read_to_string(DEMO).unwrap().replace(
        "      - {subject: 'user:ben', role: contributor}\n",
        "      - {subject: 'user:ben', role: contributor}\n      \
         - {subject: 'user:hugo', role: viewer}\n      - {subject: 'user:greta', role: viewer}\n",
    );
    let (_folder, path) = file("refused.yaml", content.as_bytes());
    let (status, out, error) = server.run(&["apply", path.to_str().unwrap()]);
    assert_eq!(status, 2, "{out}");
    assert!(error.starts_with("error: the server refused 1 of the changes:\n"), "{error}");
    let refused = "+ portfolio winter-edition: user:hugo as viewer: NOT_SUPPORTED_YET: ";
    assert!(error.contains(refused), "{error}");
    let question = ["check", "user:greta", "portfolio.view", "winter-edition"];
    assert_eq!(server.run(&question).0, 0);
}

#[tokio::test]
async fn a_run_that_was_cut_off_is_completed_by_the_next() {
    let database = database().await;
    let server = Serving::start(&database.url, &[]);
    let mut cut = server.command(&["apply", DEMO]);
    let mut cut = cut.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(cut.stdout.take().unwrap()).lines();
    // The plan comes before the first change.
    let plan = lines.next().unwrap().unwrap();
    assert_eq!(plan, "plan for organization northwind-maps:");
    cut.kill().unwrap();
    cut.wait().unwrap();
    let (status, out, error) = server.run(&["apply", DEMO]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    let (_, out, _) = server.run(&["apply", DEMO]);
    assert_eq!(out, "nothing to change\n");
}

#[tokio::test]
async fn check_says_yes_or_no_with_its_status() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let check = |arguments: &[&str]| {
        let (status, out, error) = server.run(&[&["check"], arguments].concat());
        assert_eq!(error, "", "{arguments:?}");
        (status, out)
    };
    let (status, out) = check(&["user:hugo", "initiative.edit", "trail-atlas"]);
    assert_eq!((status, out.as_str()), (0, ALLOWED));
    let (status, out) = check(&["user:hugo", "epic.link", "trail-atlas"]);
    assert_eq!(status, 1);
    assert!(out.starts_with("denied: ") && out.ends_with("(INTERNAL_ONLY)\n"), "{out}");
    let (status, out) = check(&["user:carla", "members.remove", "winter-edition"]);
    assert_eq!(status, 0);
    assert!(out.ends_with("until 2035-12-31T23:00:00Z\n"), "{out}");
    let later = ["user:ben", "portfolio.view", "acquisition", "--at", "2034-06-01T00:00:00Z"];
    assert_eq!((check(&later).0, check(&later[..3]).0), (0, 1));
    let own = ["user:ben", "comment.edit", "winter-edition", "--item-author", "user:ben"];
    assert_eq!((check(&own).0, check(&own[..3]).0), (0, 1));
    // VIS-4: to an actor who may not list it, there is no such portfolio.
    let (_, out) = check(&["user:ann", "portfolio.view", "hiring", "--actor", "user:ben"]);
    assert!(out.ends_with("(PORTFOLIO_UNKNOWN)\n"), "{out}");
    let (status, out) = check(&["user:ben", "portfolio.view", "hiring", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (status, &answer["allowed"], &answer["reason"]),
        (1, &false.into(), &"NO_ACCESS".into())
    );
    let token = answer["consistency_token"].as_str().unwrap();
    let fresh = ["user:ann", "portfolio.view", "hiring", "--consistency", token];
    assert_eq!(check(&fresh).0, 0);
}

#[tokio::test]
async fn refused_questions_are_errors() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let cases = [
        (&["user:ann", "portfolio.veiw", "hiring"][..], "PERMISSION_NAME_UNKNOWN"),
        (&["user:ann", "portfolio.view", "hiring", "--consistency", "x"], "TOKEN_MALFORMED"),
        (
            &["user:ann", "portfolio.view", "hiring", "--at", "2020-01-01T00:00:00Z"],
            "AT_IN_THE_PAST",
        ),
    ];
    for (arguments, reason) in cases {
        let (status, out, error) = server.run(&[&["check"], arguments].concat());
        assert_eq!((status, out.as_str()), (2, ""), "{error}");
        assert!(error.starts_with(&format!("error: {reason}: ")), "{error}");
    }
}

#[tokio::test]
async fn verify_counts_and_tells_what_differs_in_order() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let line = |subject: &str, permission: &str, allowed: bool| {
        let portfolio = "trail-atlas";
        serde_json::json!({
            "subject": subject, "permission": permission, "portfolio": portfolio, "allowed": allowed
        })
        .to_string()
    };
    let good = [
        line("user:ann", "members.remove", true),
        line("user:hugo", "epic.link", false),
        line("group:cartography", "initiative.edit", true),
    ];
    let (_folder, path) = file("good.jsonl", good.join("\n").as_bytes());
    for consistency in ["fully-consistent", "minimize-latency"] {
        let arguments = ["verify", path.to_str().unwrap(), "--consistency", consistency];
        let (status, out, error) = server.run(&arguments);
        assert_eq!((status, out.as_str(), error.as_str()), (0, "3 passed, 0 failed\n", ""));
    }

    let differing = [
        &line("user:ann", "members.remove", false),
        &good[1],
        &line("user:hugo", "epic.link", true),
    ];
    let differing = differing.map(String::as_str).join("\n");
    let (_folder, path) = file("differing.jsonl", differing.as_bytes());
    let (status, out, error) = server.run(&["verify", path.to_str().unwrap()]);
    assert_eq!((status, error.as_str()), (1, ""));
    let (explained, lines): (Vec<_>, Vec<_>) = out.lines().partition(|line| line.starts_with("  "));
    assert_eq!(
        lines,
        [
            "line 1: user:ann members.remove trail-atlas: expected denied, is allowed \
             (DIRECT_GRANT)",
            "line 3: user:hugo epic.link trail-atlas: expected allowed, is denied (INTERNAL_ONLY)",
            "1 passed, 2 failed",
        ]
    );
    for branch in ["own grant: manager", "group field-team > cartography: contributor"] {
        assert!(explained.iter().any(|line| line.ends_with(branch)), "{branch}\n{out}");
    }

    let unknown = line("user:ann", "portfolio.veiw", true);
    let (_folder, path) = file("unknown.jsonl", format!("{unknown}\n{}", good[0]).as_bytes());
    let (status, out, error) = server.run(&["verify", path.to_str().unwrap()]);
    assert_eq!(status, 2, "{error}");
    assert!(
        out.contains("line 1: user:ann portfolio.veiw") && out.ends_with("1 passed, 1 failed\n")
    );
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_ends_well_and_keeps_the_demo() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let (status, out, _) = server.run(&["health"]);
    assert_eq!((status, out.as_str()), (0, "serving\n"));
    let loaded = heads(&database.url).await;
    assert_eq!(server.stop(), Some(0));
    let server = Serving::start(&database.url, &["--demo"]);
    assert_eq!(heads(&database.url).await, loaded, "loading the demo again writes nothing");
    assert_eq!(server.run(&["check", "user:ann", "portfolio.delete", "hiring"]).0, 0);
}
