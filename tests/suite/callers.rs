//! Who may call what (AUT) as a table: every RPC of the contract, every kind of caller, called with
//! its credential, printed, and compared with the file that people read. `UPDATE_GOLDEN=1` writes
//! the file anew. What each actor may do: `authorization`.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis::authn::signing::{NewToken, SigningKey};
use portcullis::clock::Clock;
use portcullis::domain::Timestamp;
use portcullis::domain::caller::Scope;
use portcullis::proto::v1;
use prost::Message as _;
use tonic::{Code, Status};

use crate::authorization::{
    about_a_portfolio, compare, furnish_portfolio, furnish_victim, listed, message,
};
use crate::harness::{TestServer, reason, subject};
use crate::raw::{self, Contract, Value};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "portcullis";
const HOUR: i64 = 3_600_000;

/// A kind of caller, and the token it calls with.
struct Caller {
    name: &'static str,
    token: Option<String>,
}

struct Table {
    /// Asks nobody who they are: what the table is about is set up through it.
    open: TestServer,
    /// Asks everybody, on the same database.
    closed: TestServer,
    contract: Contract,
    callers: Vec<Caller>,
    operator: String,
    made: usize,
    /// A portfolio that no call has changed yet.
    untouched: Option<String>,
}

fn callers(key: &SigningKey) -> Vec<Caller> {
    let now = Clock::system().read().wall;
    let sign = |subject: &str, scopes: &[Scope], organizations: Option<&[&str]>| NewToken {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        subject: subject.to_owned(),
        scopes: scopes.to_vec(),
        organizations: organizations.map(|all| all.iter().map(|&id| id.to_owned()).collect()),
        ttl: Duration::from_secs(3_600),
    };
    let signed = |token: NewToken, at| Some(key.sign(&token, at).expect("signs"));
    let service = |scopes: &[Scope], organization: &str| {
        signed(sign("service", scopes, Some(&[organization])), now)
    };
    let person = |id: &str| signed(sign(id, &[], None), now);
    let operator = sign("service", &[Scope::Operator], Some(&["*"]));
    let elsewhere = NewToken { audience: "elsewhere".to_owned(), ..operator.clone() };
    let caller = |name, token| Caller { name, token };
    vec![
        caller("nobody", None),
        caller("wrong audience", signed(elsewhere, now)),
        caller("expired", signed(operator.clone(), Timestamp(now.0 - 2 * HOUR))),
        caller("service without a scope", service(&[], "acme")),
        caller("service: policy.read", service(&[Scope::PolicyRead], "acme")),
        caller("service: access.write", service(&[Scope::AccessWrite], "acme")),
        caller("service: directory.write", service(&[Scope::DirectoryWrite], "acme")),
        caller("operator of another organization", service(&[Scope::Operator], "other")),
        caller("stranger", person("stranger")),
        caller("viewer", person("viewer")),
        caller("contributor", person("contributor")),
        caller("manager", person("manager")),
        caller("administrator", person("administrator")),
        caller("operator of the organization", service(&[Scope::Operator], "acme")),
        caller("operator", signed(operator, now)),
    ]
}

impl Table {
    async fn set(keys: &Path) -> Self {
        let (key, _) = SigningKey::generate().expect("a key");
        std::fs::write(keys, key.key_set()).expect("writes");
        let callers = callers(&key);
        let operator = callers.last().and_then(|last| last.token.clone()).expect("the operator");
        let open = TestServer::start().await;
        open.given()
            .organization("other")
            .organization("acme")
            .group("core", &[])
            .user("owner")
            .user("manager")
            .user("contributor")
            .user("viewer")
            .user("target")
            .user("fresh")
            .user("idle")
            .user("deactivated")
            .user("administrator")
            .administrator("administrator")
            .await;
        let closed = TestServer::on(Arc::clone(&open.database), Clock::system(), |config| {
            config.jwt.jwt_issuer = Some(ISSUER.to_owned());
            config.jwt.jwt_audience = Some(AUDIENCE.to_owned());
            config.jwt.jwt_keys = Some(keys.display().to_string().parse().expect("a path"));
        })
        .await;
        let contract = Contract::load();
        Self { open, closed, contract, callers, operator, made: 0, untouched: None }
    }

    fn name(&mut self) -> String {
        self.made += 1;
        format!("p{}", self.made)
    }

    async fn portfolio(&mut self) -> String {
        if let Some(id) = &self.untouched {
            return id.clone();
        }
        let id = self.name();
        furnish_portfolio(&self.open, &id, v1::Visibility::Private).await;
        // What the other server has in memory is from now on no older than this.
        let question = v1::CheckPermissionRequest {
            subject: Some(subject("user:owner")),
            permission: "portfolio.view".to_owned(),
            portfolio: id.clone(),
            consistency: Some(v1::Consistency {
                requirement: Some(v1::consistency::Requirement::FullyConsistent(true)),
            }),
            ..Default::default()
        };
        let check = "/portcullis.v1.PolicyService/CheckPermission";
        let answer = self.call(check, question.encode_to_vec(), Some(&self.operator)).await;
        answer.expect("an answer");
        self.untouched = Some(id.clone());
        id
    }

    async fn call(
        &self,
        method: &str,
        message: Vec<u8>,
        token: Option<&str>,
    ) -> Result<Vec<u8>, Status> {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let metadata = bearer.as_deref().map(|bearer| ("authorization", bearer));
        raw::call_with(&self.closed.channel, method, message, metadata.as_slice()).await
    }

    /// The outcomes of an RPC, and to whom each happens.
    async fn row(&mut self, method: &raw::Method) -> Vec<(String, Vec<&'static str>)> {
        let mut row: Vec<(String, Vec<&str>)> = Vec::new();
        let on_one = about_a_portfolio().contains(&method.path);
        let reads = ["/Get", "/List", "/Check", "/BatchCheck", "/Explain"];
        let reads = reads.iter().any(|verb| method.path.contains(verb));
        for at in 0..self.callers.len() {
            let id = match on_one || reads {
                true => self.portfolio().await,
                false => self.name(),
            };
            let Caller { name, token } = &self.callers[at];
            let (name, token) = (*name, token.clone());
            let message = message(&method.path, &id, "user:target");
            furnish_victim(&self.open, &method.path, &id).await;
            let outcome = match self.call(&method.path, message, token.as_deref()).await {
                Err(status) => format!("{} {}", code(status.code()), reason(&status)),
                Ok(bytes) => format!("OK{}", self.told(method, &bytes)),
            };
            if on_one && !reads && outcome.starts_with("OK") {
                self.untouched = None;
            }
            match row.iter_mut().find(|(known, _)| *known == outcome) {
                Some((_, names)) => names.push(name),
                None => row.push((outcome, vec![name])),
            }
        }
        row
    }

    /// What a response tells that makes a difference: a decision, whether a list has rows, and why
    /// the entry of a batch was refused.
    fn told(&self, method: &raw::Method, bytes: &[u8]) -> String {
        let fields = self.contract.fields(&method.response);
        let found = raw::read(bytes);
        let mut told = String::new();
        let lists = method.path.contains("/List") && !method.path.contains("Effective");
        if lists && let Some(rows) = fields.iter().find(|field| field.repeated) {
            let any = found.iter().any(|(tag, _)| *tag == rows.tag);
            told.push_str(if any { ", with rows" } else { ", without rows" });
        }
        if let Some(reason) = fields.iter().find(|field| field.name == "reason") {
            told.push_str(&decision(&found, reason.tag));
        }
        for outcomes in fields.iter().filter(|field| field.name == "outcomes") {
            let inner = self.contract.fields(&outcomes.message);
            for (_, value) in found.iter().filter(|(tag, _)| *tag == outcomes.tag) {
                let Value::Bytes(entry) = value else { panic!("an outcome is a message") };
                let entry = raw::read(entry);
                let refusal = inner.iter().find(|field| field.name == "refusal");
                let refused = refusal.and_then(|field| {
                    entry.iter().find(|(tag, _)| *tag == field.tag).map(|(_, value)| value.clone())
                });
                if let Some(Value::Bytes(refusal)) = refused {
                    let refusal = v1::Refusal::decode(&*refusal).expect("a refusal");
                    let name = refusal.reason().as_str_name().replace("ERROR_REASON_", "");
                    write!(told, ", refused {name}").unwrap();
                } else if let Some(reason) = inner.iter().find(|field| field.name == "reason") {
                    told.push_str(&decision(&entry, reason.tag));
                }
            }
        }
        told
    }
}

fn decision(fields: &[(u32, Value)], tag: u32) -> String {
    let reason = fields.iter().find(|(number, _)| *number == tag).map(|(_, value)| value);
    let Some(Value::Number(number)) = reason else { return String::new() };
    let reason = i32::try_from(*number).expect("a reason");
    let reason = v1::DecisionReason::try_from(reason).expect("a reason");
    format!(", {}", reason.as_str_name().replace("DECISION_REASON_", ""))
}

fn code(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::NotFound => "NOT_FOUND",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        other => panic!("{other:?} says nothing about who may"),
    }
}

async fn table(keys: &Path) -> String {
    let mut table = Table::set(keys).await;
    let mut text = String::from(
        "# Who gets what from each call, by credential. The portfolio is private; the viewer,\n\
         # contributor and manager are its members, with credentials of their own; services name\n\
         # no actor. What is asked about another member is about a viewer.\n",
    );
    for method in Contract::load().methods() {
        writeln!(text, "\n{}", method.path.trim_start_matches("/portcullis.v1.")).unwrap();
        let everybody = table.callers.len();
        for (outcome, names) in table.row(&method).await {
            writeln!(text, "  {outcome}\n{}", listed(&names, everybody)).unwrap();
        }
    }
    text
}

#[tokio::test]
async fn aut_1_aut_2_aut_3_each_caller_gets_from_each_call_what_the_golden_table_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = table(&folder.path().join("keys.json")).await;
    compare("tests/golden/callers.txt", &table);
}
