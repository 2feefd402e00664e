//! Cold and warm answers are the same, on a world of a million grants that the other random worlds
//! are too small to be like.

use std::collections::BTreeMap;
use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use portcullis::app::{App, CheckPermission, Context, Decision, DecisionReason, Requirement};
use portcullis::cache::{self, Cache};
use portcullis::clock::Clock;
use portcullis::domain::Subject;
use portcullis::domain::caller::{Actor, Caller, Principal};
use portcullis::domain::revision::{Epoch, Token};
use portcullis::storage::{self, Storage};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cluster::{TestDatabase, database};
use crate::stored::Stored;

/// What the generated world lacks: begins and ends, open, restricted and archived portfolios,
/// chains of links, up to two more than may be, broken where a portfolio is deleted, externals,
/// site roles, administrators, the deactivated, service accounts, roles that hold nothing or only
/// what is one's own, and permissions that a service has registered.
const VARIETY: &str = "
    BEGIN;
    SET LOCAL session_replication_role = replica;
    INSERT INTO permissions (ordinal, name, effect, may_be_own, internal_only, registered)
    VALUES (32, 'budget.sign', 'change', true, false, true);
    INSERT INTO roles VALUES ('acme', 'author', 'Author'), ('acme', 'idle', 'Idle');
    INSERT INTO role_permissions VALUES
        ('acme', 'author', 'initiative.edit', 'own'), ('acme', 'author', 'comment.edit', 'own');
    UPDATE portfolios SET
        visibility = (ARRAY['open', 'open', 'restricted', 'private'])[1 + abs(hashtext(id)) % 4],
        organization_access_role =
            (ARRAY['viewer', 'contributor', 'author'])[1 + abs(hashtext(id)) / 4 % 3],
        deleted = abs(hashtext(id)) % 50 = 7,
        archived = abs(hashtext(id)) / 50 % 6 = 1;
    UPDATE portfolios SET linked = true,
        parent = 'acme-portfolio-' || split_part(id, '-', 3)::integer + 1
    WHERE split_part(id, '-', 3)::integer % 90 < 18;
    UPDATE grants SET
        role = (ARRAY['author', 'idle', role, role, 'manager'])[1 + abs(hashtext(id::text)) % 5],
        start_time = CASE abs(hashtext(id::text)) / 5 % 4 WHEN 0 THEN now() + interval '9 days'
                          WHEN 1 THEN now() - interval '9 days' END,
        expire_time = CASE abs(hashtext(id::text)) / 20 % 4 WHEN 0 THEN now() - interval '3 days'
                           WHEN 1 THEN now() + interval '20 days'
                           WHEN 2 THEN now() + interval '30 days' END,
        revoke_time = CASE abs(hashtext(id::text)) / 80 % 9 WHEN 0 THEN now() END
    WHERE NOT ownership AND abs(hashtext(portfolio)) / 200 % 3 = 0;
    UPDATE users SET
        deactivated = abs(hashtext(id)) % 20 = 0,
        home_organization = CASE abs(hashtext(id)) / 20 % 5 WHEN 0 THEN NULL ELSE 'acme' END;
    INSERT INTO site_roles
    SELECT 'acme', id, (ARRAY['viewer', 'guest', 'editor'])[1 + abs(hashtext(id)) / 100 % 3]
    FROM users WHERE abs(hashtext(id)) / 300 % 4 = 0;
    INSERT INTO organization_administrators
    SELECT 'acme', id FROM users WHERE abs(hashtext(id)) / 1200 % 10 = 0;
    INSERT INTO service_accounts
    SELECT 'acme-robot-' || n, 'acme', '', n % 4 = 0 FROM generate_series(0, 999) AS n;
    INSERT INTO grants (id, portfolio, organization, subject_kind, subject_id, role, source,
                        ownership, create_time)
    SELECT gen_random_uuid(), 'acme-portfolio-' || n % 500, 'acme', 'service_account',
           'acme-robot-' || n, 'contributor', 'hand', false, now()
    FROM generate_series(0, 999, 2) AS n;
    COMMIT;
    ANALYZE;";

/// Whom and where to ask about: those whom a grant names, those whom one reaches through groups,
/// and any others.
const PAIRS: &str = "
    (SELECT portfolio, subject_kind AS kind, subject_id AS id FROM grants
     WHERE abs(hashtext(id::text)) % 400 = 1 ORDER BY id LIMIT 1200)
    UNION ALL
    (SELECT g.portfolio, m.member_kind, m.member_id
     FROM grants AS g
     CROSS JOIN LATERAL (SELECT below.member_id FROM group_members AS below
                         WHERE below.group_id = g.subject_id AND below.member_kind = 'group'
                         LIMIT 1) AS below
     CROSS JOIN LATERAL (SELECT m.member_kind, m.member_id FROM group_members AS m
                         WHERE m.group_id = below.member_id LIMIT 1) AS m
     WHERE g.subject_kind = 'group' AND abs(hashtext(g.id::text)) % 80 = 1 ORDER BY g.id LIMIT 800)
    UNION ALL
    (SELECT portfolio, subject_kind, subject_id FROM grants WHERE subject_kind = 'service_account'
     ORDER BY id LIMIT 100)
    UNION ALL
    (SELECT portfolio, subject_kind, subject_id FROM grants
     WHERE expire_time > now() OR start_time > now() ORDER BY id LIMIT 500)
    UNION ALL
    (SELECT 'acme-portfolio-'
                || split_part(p.id, '-', 3)::integer - 1 - abs(hashtext(g.id::text)) % 18,
            g.subject_kind, g.subject_id
     FROM portfolios AS p JOIN grants AS g ON g.portfolio = p.id
     WHERE split_part(p.id, '-', 3)::integer % 90 = 18 AND abs(hashtext(g.id::text)) % 20 = 1
     ORDER BY g.id LIMIT 500)
    UNION ALL
    (SELECT p.id, g.subject_kind, g.subject_id
     FROM portfolios AS p JOIN grants AS g ON g.portfolio = p.parent AND g.ownership
     WHERE p.linked AND abs(hashtext(g.id::text)) % 10 = 1 ORDER BY g.id LIMIT 100)
    UNION ALL
    SELECT 'acme-portfolio-' || n * 7 % 10010, 'user', 'acme-user-' || n * 7919 % 84000
    FROM generate_series(0, 1200) AS n";

const PERMISSIONS: [&str; 11] = [
    "initiative.edit",
    "portfolio.view",
    "comment.edit",
    "epic.link",
    "budget.sign",
    "members.invite",
    "assessment.view",
    "members.view",
    "epic.link",
    "portfolio.delete",
    "initiative.edti",
];

#[derive(QueryableByName)]
struct Pair {
    #[diesel(sql_type = Text)]
    portfolio: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    id: String,
}

/// A database, and an application on it that follows it.
struct Site {
    app: App,
    cache: Cache,
    /// It goes with its last owner.
    _database: TestDatabase,
}

impl Site {
    async fn on(database: TestDatabase, cancel: &CancellationToken) -> Self {
        let pools = storage::Options {
            url: database.url.clone(),
            write_connections: 1,
            read_connections: 2,
            pool_wait: Duration::from_secs(5),
        };
        let storage = Storage::connect(&pools).await.unwrap();
        // However long this machine takes: what is loaded answers.
        let hour = Duration::from_secs(3_600);
        let options = cache::Options { staleness_bound: hour, ..cache::Options::default() };
        let cache = Cache::start(storage.clone(), Clock::system(), options, cancel.clone());
        cache.ready().await;
        Self { app: App::new(storage, cache.clone()), cache, _database: database }
    }

    /// What is decided, or the refusal in words; and how many sequences the token names.
    async fn check(
        &self,
        actor: &Actor,
        request: &CheckPermission,
    ) -> (Result<Decision, String>, usize) {
        let principal = Principal { caller: Caller::trusted(), actor: actor.clone() };
        let deadline = Instant::now() + Duration::from_secs(20);
        let checked = self.app.check_permission(&Context { principal, deadline }, request).await;
        let entries = checked.as_ref().map_or(0, |checked| checked.token.entries.len());
        (checked.map(|it| it.decision).map_err(|error| format!("{error:?}")), entries)
    }
}

/// The pairs with all the rest of a question, by turns: who asks, what, and about whose thing.
fn questions(pairs: &[Pair]) -> Vec<(Actor, CheckPermission)> {
    let subject = |pair: &Pair| Subject::from_parts(&pair.kind, &pair.id).unwrap();
    let question = |(number, pair): (usize, &Pair)| {
        let other = subject(&pairs[(number * 31 + 7) % pairs.len()]);
        let acting = |who: &Subject| match who {
            Subject::User(id) => Actor::User(id.clone()),
            Subject::ServiceAccount(id) => Actor::ServiceAccount(id.clone()),
            Subject::Group(_) => Actor::System,
        };
        let actor = match number % 7 {
            0..=3 => Actor::System,
            4 | 5 => acting(&subject(pair)),
            _ => acting(&other),
        };
        let author = [None, Some(subject(pair)), Some(other)][number / 7 % 3].clone();
        let request = CheckPermission {
            subject: subject(pair),
            permission: PERMISSIONS[number / 3 % PERMISSIONS.len()].to_owned(),
            portfolio: pair.portfolio.parse().unwrap(),
            author,
            item: None,
            requirement: Requirement::MinimizeLatency,
            at: None,
        };
        (actor, request)
    };
    pairs.iter().enumerate().map(question).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cold_and_warm_answers_are_equal_at_a_million_grants() {
    let database = database().await;
    Stored::write(&database.url, "acme", 1_000_000).await.expect("writes");
    let ends = CancellationToken::new();
    let _ends = ends.clone().drop_guard();
    let mut connection = AsyncPgConnection::establish(&database.url).await.expect("connects");
    connection.batch_execute(VARIETY).await.expect("varies");
    let site = Site::on(database, &ends).await;
    let pairs: Vec<Pair> = diesel::sql_query(PAIRS).load(&mut connection).await.expect("samples");

    site.cache.want("acme".parse().unwrap());
    let loaded = site.cache.until(|world| world.organization("acme").is_some());
    timeout(Duration::from_secs(300), loaded).await.expect("it is loaded");
    // A token of another history is answered from the primary.
    let foreign = Token { epoch: Epoch(Uuid::nil()), entries: Vec::new() };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut held = 0;
    for (actor, request) in questions(&pairs) {
        let (warm, entries) = site.check(&actor, &request).await;
        let requirement = Requirement::AtLeast(foreign.clone());
        let (cold, all) =
            site.check(&actor, &CheckPermission { requirement, ..request.clone() }).await;
        assert_eq!(warm, cold, "{actor:?} {request:?}");
        let what = match &warm {
            Ok(decision) => {
                // The token tells the roads apart: it names the organization's shard, or all.
                let unknown = decision.reason == DecisionReason::PortfolioUnknown;
                assert_eq!((entries == 2 || unknown, all), (true, 17), "{request:?}");
                held += usize::from(decision.hold_until.is_some());
                format!("{:?}", decision.reason)
            }
            Err(refusal) if refusal.contains("PermissionNameUnknown") => "unknown".to_owned(),
            Err(refusal) if refusal.contains("PermissionMissing") => "others".to_owned(),
            Err(other) => panic!("{other}"),
        };
        *seen.entry(what).or_default() += 1;
    }
    let reasons = ["DirectGrant", "GroupGrant", "OrganizationAccess", "Administrator"];
    let allowed: usize = reasons.iter().filter_map(|reason| seen.get(*reason)).sum();
    let asked: usize = seen.values().sum();
    assert!(asked > 3_000 && allowed > asked / 6 && allowed < asked * 4 / 5, "{seen:#?}");
    // All thirteen reasons, and the two refusals; and what the clock will change.
    let rare: Vec<_> = seen.iter().filter(|(_, count)| **count < 3).collect();
    assert!(seen.len() == 15 && rare.is_empty() && held > 20, "{held} {seen:#?}");
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[tokio::test]
async fn the_stored_world_has_the_shape_that_it_says() {
    let database = database().await;
    let world = Stored::write(&database.url, "acme", 100_000).await.expect("writes");
    let mut connection = AsyncPgConnection::establish(&database.url).await.expect("connects");
    let mut count = async |sql: &str| {
        let sql = format!("SELECT count(*)::bigint AS count FROM {sql}");
        let row: Count = diesel::sql_query(sql).get_result(&mut connection).await.expect("counts");
        row.count
    };
    assert_eq!(world.portfolio(0), "acme-portfolio-0");
    let per = |key: &str, of: &str, condition: &str, each: i64| {
        format!(
            "(SELECT FROM {of} WHERE {condition} GROUP BY {key} HAVING count(*) = {each} \
                 AND count(DISTINCT (portfolio, subject_id)) = {each}) AS t"
        )
    };
    let (to_user, to_group) = ("subject_kind = 'user'", "subject_kind = 'group'");
    assert_eq!(count("grants").await, 100_000);
    assert_eq!(count(&per("portfolio", "grants", to_user, 80)).await, 1_000);
    assert_eq!(count(&per("portfolio", "grants", to_group, 20)).await, 1_000);
    assert_eq!(count(&per("subject_id", "grants", to_user, 10)).await, 8_000);
    let of_user = "(SELECT FROM group_members WHERE member_kind = 'user' GROUP BY member_id \
                   HAVING count(*) = 10) AS t";
    assert_eq!(count(of_user).await, 8_000);
}
