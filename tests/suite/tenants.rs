//! Two tenants on one server (AUT-2): neither ever changes or reveals the other. Whatever one of
//! them asks for is asked again of a server on which the other never was, and answered the same.
//!
//! Names come from a small pool, in which the other's are nearly as frequent as one's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis::authn::signing::{NewToken, SigningKey};
use portcullis::clock::Clock;
use portcullis::domain::caller::Scope;
use portcullis::proto::v1;
use prost::Message as _;
use prost_types::value::Kind;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::calls::{execute, texts};
use crate::harness::{TestServer, reason};
use crate::raw::{self, Contract, Method, Value};
use crate::tenants_requests::{FUNCTIONS, FURNISHED, Maker, PLAIN, TYPES, mask};

const TENANTS: [&str; 2] = ["acme", "zeta"];
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "portcullis";
const SEED: u64 = 1;
/// How often each tenant calls each RPC.
const ROUNDS: usize = 6;
/// How often one that has not succeeded yet is tried in a round: some need luck.
const TRIES: usize = 4;

type Answer = Result<Vec<u8>, Status>;

/// What one tenant has: what its people are called occurs nowhere else.
async fn furnish(open: &TestServer, own: &str) {
    let mut given = open.given().organization(own).approving();
    for n in 0..FURNISHED {
        given = given
            .user(&format!("{own}-u{n}"))
            .group(&format!("{own}-g{n}"), &[&format!("user:{own}-u{n}")]);
    }
    given = given.user(&format!("{own}-shared"));
    given = given.administrator(&format!("{own}-u0")).administrator(&format!("{own}-u1"));
    for n in 0..FURNISHED {
        given = given.portfolio(&format!("{own}-p{n}")).owned_by(&format!("{own}-u{n}"));
        given = if n % 2 == 0 { given.open() } else { given };
        let group = format!("group:{own}-g{}", (n + 1) % FURNISHED);
        given = match n {
            // May be linked.
            2 => given.below(&format!("{own}-p0")).with(&group, "contributor"),
            // Is.
            3 => given.below(&format!("{own}-p1")).linked(),
            _ => given.with(&group, "contributor"),
        };
    }
    given.await;
    rename(open, own).await;
    for function in FUNCTIONS {
        for n in 0..FURNISHED {
            open.system().affiliate(own, &format!("{own}-u{n}"), function).await;
        }
        for portfolio_type in TYPES {
            open.system().set_ceiling(own, function, portfolio_type, "viewer").await;
        }
    }
    for n in 0..FURNISHED {
        let insert = format!(
            "INSERT INTO privacy_requests
             VALUES ('{own}-r{n}', '{own}', '{own}-p{n}', 'user', '{own}-u{n}', 'private',
                     'restricted', 'pending', '2026-01-01T00:00:0{n}Z')"
        );
        execute(&open.database.url, &insert).await;
    }
}

async fn rename(open: &TestServer, own: &str) {
    let system = open.system();
    let (organization, secret) = (own.to_owned(), format!("secret-of-{own}"));
    let named =
        |id| v1::Organization { id, display_name: PLAIN.into(), ..v1::Organization::default() };
    let request = v1::UpdateOrganizationRequest {
        organization: Some(named(organization.clone())),
        update_mask: Some(mask("display_name")),
        ..Default::default()
    };
    system.directory().update_organization(request).await.expect("a new name");
    for n in 0..FURNISHED {
        let user = v1::User {
            id: format!("{own}-u{n}"),
            email: format!("{secret}-{n}@{own}.example"),
            display_name: secret.clone(),
            home_organization: organization.clone(),
            ..Default::default()
        };
        assert_eq!(system.upsert_users(vec![user]).await[0].refusal, None);
        let (id, display_name) = (format!("{own}-g{n}"), secret.clone());
        let group = Some(v1::Group { id, organization: organization.clone(), display_name });
        let request = v1::UpsertGroupRequest { group, ..Default::default() };
        system.directory().upsert_group(request).await.expect("a new name");
        let (id, display_name) = (format!("{own}-s{n}"), secret.clone());
        let account =
            v1::ServiceAccount { id, organization: organization.clone(), display_name, status: 0 };
        let service_accounts = vec![account];
        let request = v1::UpsertServiceAccountsRequest { service_accounts, ..Default::default() };
        let done = system.directory().upsert_service_accounts(request).await.expect("an outcome");
        assert_eq!(done.into_inner().outcomes[0].refusal, None);
        let (id, display_name) = (format!("{own}-p{n}"), secret.clone());
        let portfolio = Some(v1::Portfolio { id, display_name, ..Default::default() });
        let request = v1::UpdatePortfolioRequest {
            portfolio,
            update_mask: Some(mask("display_name")),
            ..Default::default()
        };
        system.portfolios().update_portfolio(request).await.expect("a new name");
    }
}

/// The other's `OTHER-shared` works here as well: at home there, or, where there is no such
/// organization, nowhere.
async fn share(open: &TestServer, own: &str, other: &str, home: &str) {
    let id = format!("{other}-shared");
    let user = v1::User {
        id: id.clone(),
        email: format!("{id}@{other}.example"),
        display_name: id.clone(),
        home_organization: home.to_owned(),
        ..Default::default()
    };
    assert_eq!(open.system().upsert_users(vec![user]).await[0].refusal, None);
    open.system().set_site_role(own, &id, v1::SiteRole::Editor).await;
    open.system().affiliate(own, &id, FUNCTIONS[0]).await;
    let (portfolio, who) = (format!("{own}-p0"), format!("user:{id}"));
    let added = open.system().add_member(&portfolio, &who, "manager").await;
    assert_eq!(added.expect("an outcome").refusal, None);
}

/// A server that asks for credentials, and these tenants.
async fn world(keys: &Path, tenants: &[usize]) -> TestServer {
    let open = TestServer::start().await;
    for &at in tenants {
        furnish(&open, TENANTS[at]).await;
    }
    for &at in tenants {
        let other = TENANTS[1 - at];
        share(&open, TENANTS[at], other, if tenants.len() == 2 { other } else { "" }).await;
    }
    TestServer::on(Arc::clone(&open.database), Clock::system(), |config| {
        config.jwt.jwt_issuer = Some(ISSUER.to_owned());
        config.jwt.jwt_audience = Some(AUDIENCE.to_owned());
        config.jwt.jwt_keys = Some(keys.display().to_string().parse().expect("a path"));
    })
    .await
}

/// What an answer says, but for clocks, positions in the log, and generated ids.
fn said(contract: &Contract, method: &Method, answer: &Answer) -> String {
    let mut text = String::new();
    match answer {
        Ok(bytes) => say(contract, &method.response, bytes, &mut text),
        Err(status) => {
            let details = status.get_error_details();
            let info = details.error_info().map(|info| info.metadata.iter().collect());
            let metadata: BTreeMap<_, _> = info.unwrap_or_default();
            let (bad, resource) = (details.bad_request(), details.resource_info());
            let failure = details.precondition_failure();
            let (code, message, reason) = (status.code(), status.message(), reason(status));
            write!(
                text,
                "{code:?} {reason} {message} {metadata:?} {bad:?} {resource:?} {failure:?}"
            )
            .expect("writes");
        }
    }
    text
}

fn say(contract: &Contract, name: &str, bytes: &[u8], text: &mut String) {
    let fields = contract.fields(name);
    for (tag, value) in raw::read(bytes) {
        let field = fields.iter().find(|field| field.tag == tag).expect("a field of the contract");
        // What company a member is of, other members see (MEM-4): the one thing of the other's.
        if matches!(field.name.as_str(), "consistency_token" | "etag" | "hold_until" | "company") {
            continue;
        }
        write!(text, "{}=", field.name).expect("writes");
        // These pages end at an instant, which no two servers share.
        let ends = [".ListAuditEventsResponse", ".ListPrivacyRequestsResponse"];
        if field.name == "next_page_token" && ends.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        match (value, field.message.as_str()) {
            (Value::Number(number), _) => write!(text, "{number}").expect("writes"),
            (Value::Bytes(_), ".google.protobuf.Timestamp") => text.push_str("(time)"),
            (Value::Bytes(bytes), ".google.protobuf.Value") => {
                let value = prost_types::Value::decode(&*bytes).expect("a value");
                say_value(&value, text);
            }
            (Value::Bytes(bytes), "") => text.push_str(&masked(&String::from_utf8_lossy(&bytes))),
            (Value::Bytes(bytes), inner) => {
                text.push('{');
                say(contract, inner, &bytes, text);
                text.push('}');
            }
        }
        text.push(' ');
    }
}

fn say_value(value: &prost_types::Value, text: &mut String) {
    match &value.kind {
        Some(Kind::StringValue(string)) => text.push_str(&masked(string)),
        Some(Kind::StructValue(object)) => {
            for (key, value) in object.fields.iter().filter(|(key, _)| !key.contains("time")) {
                write!(text, "{key}:").expect("writes");
                say_value(value, text);
                text.push(' ');
            }
        }
        Some(Kind::ListValue(list)) => list.values.iter().for_each(|value| say_value(value, text)),
        other => write!(text, "{other:?}").expect("writes"),
    }
}

fn masked(text: &str) -> String {
    let generated = text.len() == 36 && text.bytes().filter(|byte| *byte == b'-').count() == 4;
    if generated { "(generated)".to_owned() } else { text.to_owned() }
}

/// The two tenants on one server, and each of them on a server of its own.
struct Stage {
    contract: Contract,
    both: TestServer,
    alone: [TestServer; 2],
    tokens: [String; 2],
    /// What each of them has, after the last call.
    rows: [Vec<String>; 2],
    /// What went wrong, by call.
    findings: BTreeMap<String, String>,
    /// The RPCs that did something at least once.
    done: BTreeSet<String>,
}

impl Stage {
    async fn set(keys: &Path) -> Self {
        let (key, _) = SigningKey::generate().expect("a key");
        std::fs::write(keys, key.key_set()).expect("writes");
        let now = Clock::system().read().wall;
        let tokens = TENANTS.map(|tenant| {
            let token = NewToken {
                issuer: ISSUER.to_owned(),
                audience: AUDIENCE.to_owned(),
                subject: format!("{tenant}-service"),
                scopes: vec![Scope::Operator],
                organizations: Some(vec![tenant.to_owned()]),
                ttl: Duration::from_secs(3_600),
            };
            format!("Bearer {}", key.sign(&token, now).expect("signs"))
        });
        let (both, acme, zeta) =
            tokio::join!(world(keys, &[0, 1]), world(keys, &[0]), world(keys, &[1]));
        let (contract, alone) = (Contract::load(), [acme, zeta]);
        let (findings, done, rows) = (BTreeMap::new(), BTreeSet::new(), [vec![], vec![]]);
        let mut stage = Self { contract, both, alone, tokens, rows, findings, done };
        stage.rows = stage.rows().await;
        stage
    }

    /// All rows of each organization, and what the log says of it.
    async fn rows(&self) -> [Vec<String>; 2] {
        let its = |table: &str, condition: &str| {
            TENANTS.map(|of| {
                let condition = condition.replace('$', &format!("'{of}'"));
                let row = format!("'{of} {table} ' || to_jsonb(t)::text");
                format!("SELECT {row} FROM {table} t WHERE {condition}")
            })
        };
        let queries = [
            its("organizations", "id = $"),
            its("roles", "organization = $"),
            its("role_permissions", "organization = $"),
            its("organization_administrators", "organization = $"),
            its("users", "home_organization = $"),
            its("site_roles", "organization = $"),
            its("affiliations", "organization = $"),
            its("function_ceilings", "organization = $"),
            its("service_accounts", "organization = $"),
            its("groups", "organization = $"),
            its("group_members", "group_id IN (SELECT id FROM groups WHERE organization = $)"),
            its("portfolios", "organization = $"),
            its("privacy_requests", "organization = $"),
            its("grants", "organization = $"),
            its("change_log", "coalesce(organization, home_organization) = $"),
        ];
        let query = queries.concat().join(" UNION ALL ");
        let mut rows = texts(&self.both.database.url, &query).await;
        rows.sort();
        TENANTS.map(|of| rows.iter().filter(|row| row.starts_with(of)).cloned().collect())
    }

    async fn call(&self, on: &TestServer, by: usize, call: &Call<'_>) -> Answer {
        let bearer = ("authorization", self.tokens[by].as_str());
        let actor = call.actor.as_deref().map(|actor| ("portcullis-actor", actor));
        let metadata: Vec<_> = [Some(bearer), actor].into_iter().flatten().collect();
        raw::call_with(&on.channel, &call.method.path, call.message.clone(), &metadata).await
    }

    /// One call of one tenant, and whether it concerned the other.
    async fn perform(&mut self, by: usize, call: &Call<'_>) -> Option<String> {
        let answer = self.call(&self.both, by, call).await;
        let rows = self.rows().await;
        let theirs = rows[1 - by].clone();
        if theirs != self.rows[1 - by] {
            self.find(by, call, "changed what is the other's".to_owned());
        }
        self.rows = rows;
        let secret = format!("secret-of-{}", TENANTS[1 - by]);
        if raw_bytes(&answer).windows(secret.len()).any(|bytes| bytes == secret.as_bytes()) {
            self.find(by, call, format!("revealed a secret: {answer:?}"));
        }
        let here = said(&self.contract, call.method, &answer);
        if answer.is_ok() && !here.contains("refusal={") {
            self.done.insert(call.method.path.clone());
        }
        // The one difference there has to be: what the other holds is taken (DIR-2, VIS-4). Nothing
        // was written.
        if is_taken(&answer, &here) && call.names_what_is_in(&theirs) {
            return None;
        }
        let alone = self.call(&self.alone[by], by, call).await;
        let there = said(&self.contract, call.method, &alone);
        if here != there {
            self.find(by, call, format!("is told:\n  {here}\nand without the other:\n  {there}"));
        }
        next_page(&self.contract, call.method, answer.as_deref().unwrap_or_default())
    }

    fn find(&mut self, by: usize, call: &Call<'_>, what: String) {
        let request = String::from_utf8_lossy(&call.message).into_owned();
        let name = format!("{} {}", TENANTS[by], call.method.path);
        let what = format!("acting for {:?}, asking {request:?}, {what}", call.actor);
        self.findings.entry(name).or_insert(what);
    }
}

struct Call<'a> {
    method: &'a Method,
    message: Vec<u8>,
    actor: Option<String>,
}

impl Call<'_> {
    fn names(&self, text: &str) -> bool {
        self.message.windows(text.len()).any(|bytes| bytes == text.as_bytes())
    }

    /// Whether an id or an address in the request is that of one of the rows.
    fn names_what_is_in(&self, rows: &[String]) -> bool {
        let identifying = |row: &String| {
            let row = row.splitn(3, ' ').nth(2).expect("an organization, a table and a row");
            let row: serde_json::Value = serde_json::from_str(row).expect("a row");
            ["id", "email"].iter().any(|key| row[key].as_str().is_some_and(|it| self.names(it)))
        };
        rows.iter().filter(|row| !row.contains(" change_log ")).any(identifying)
    }

    /// An account belongs to its home: what is done to it there is done to the member it is
    /// elsewhere (DIR-1, DIR-9). Not what this is about.
    fn is_about_the_account_that_both_know(&self, own: &str) -> bool {
        let accounts = ["UpsertUsers", "DeactivateUser", "ReactivateUser", "DeleteUser"];
        accounts.iter().any(|name| self.method.path.ends_with(name))
            && self.names(&format!("{own}-shared"))
    }
}

fn raw_bytes(answer: &Answer) -> Vec<u8> {
    match answer {
        Ok(bytes) => bytes.clone(),
        Err(status) => [status.message().as_bytes(), status.details()].concat(),
    }
}

fn is_taken(answer: &Answer, said: &str) -> bool {
    let refused = [v1::ErrorReason::IdTaken, v1::ErrorReason::EmailTaken]
        .iter()
        .any(|reason| said.contains(&format!("refusal={{reason={} ", *reason as i32)));
    match answer {
        Ok(_) => refused,
        Err(status) => matches!(reason(status).as_str(), "ID_TAKEN" | "EMAIL_TAKEN"),
    }
}

fn next_page(contract: &Contract, method: &Method, bytes: &[u8]) -> Option<String> {
    if method.path.ends_with("/ListAuditEvents") || method.path.ends_with("/ListPrivacyRequests") {
        return None;
    }
    let fields = contract.fields(&method.response);
    let tag = fields.iter().find(|field| field.name == "next_page_token")?.tag;
    raw::read(bytes).into_iter().find_map(|field| match field {
        (found, Value::Bytes(token)) if found == tag => String::from_utf8(token).ok(),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn aut_2_vis_4_two_tenants_neither_change_nor_reveal_one_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut stage = Stage::set(&folder.path().join("keys.json")).await;
    let contract = Contract::load();
    let rng = StdRng::seed_from_u64(SEED);
    let (own, other) = (TENANTS[0], TENANTS[1]);
    let (trespassing, pages) = (false, Vec::new());
    let mut maker = Maker { contract: &contract, rng, own, other, trespassing, pages };
    let mut methods = contract.methods();
    for _ in 0..ROUNDS {
        methods.shuffle(&mut maker.rng);
        // What ends something comes last: the others need it.
        let ends = ["/Delete", "/ArchivePortfolio"];
        methods.sort_by_key(|method| ends.iter().any(|name| method.path.contains(name)));
        let turns = methods.iter().flat_map(|method| [(method, 0), (method, 1)]);
        for (turn, (method, by)) in turns.flat_map(|turn| (0..TRIES).map(move |n| (n, turn))) {
            if turn > 0 && stage.done.contains(&method.path) {
                continue;
            }
            (maker.own, maker.other) = (TENANTS[by], TENANTS[1 - by]);
            maker.trespassing = maker.rng.random_ratio(1, 2);
            let (message, actor) = (maker.message(&method.request), maker.actor());
            let call = Call { method, message, actor };
            if call.is_about_the_account_that_both_know(maker.own) {
                continue;
            }
            maker.pages.extend(stage.perform(by, &call).await);
        }
    }
    // What is for callers that reach all; and what is for one actor alone, who seldom comes by.
    let rare = ["CreateOrganization", "RegisterPermission", "CancelPrivacyRequest"];
    let mut idle: BTreeSet<_> = methods.iter().map(|method| method.path.clone()).collect();
    idle.retain(|path| !rare.iter().any(|name| path.ends_with(name)));
    idle.retain(|path| !stage.done.contains(path));
    let findings: Vec<_> =
        stage.findings.iter().map(|(call, what)| format!("{call} {what}")).collect();
    assert!(findings.is_empty(), "seed {SEED}:\n\n{}", findings.join("\n\n"));
    // A few need luck: the right member of the right portfolio. What is refused is compared all the
    // same.
    assert!(idle.len() * 10 <= methods.len(), "seed {SEED}: too many never done: {idle:?}");
}
