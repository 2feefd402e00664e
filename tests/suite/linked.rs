//! Portfolios below portfolios, for the tests of links, and who may do what on them.

use std::collections::{BTreeMap, BTreeSet};

use portcullis::proto::v1;
use portcullis::proto::v1::consistency::Requirement;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::harness::{TestServer, reason, subject};

/// Everybody in [`server`], and somebody whom nobody knows.
pub const EVERYBODY: &[&str] = &[
    "user:ann",
    "user:ben",
    "user:cid",
    "user:dan",
    "user:eve",
    "user:idle",
    "user:lea",
    "user:max",
    "user:nobody",
    "user:root",
    "user:sam",
    "user:vic",
    "group:core",
    "group:team",
    "service_account:ci",
];

/// `sam` owns `space`, where `max` manages, `ben` contributes and `core` (with `cid`) looks. `ann`
/// owns `child` below it, where `max` manages, `vic` looks and `team` (with `dan`) contributes.
/// `lea` owns `leaf` below that. All are private. `root` administers, `eve` is external, and `idle`
/// is at home and nothing else.
pub async fn server() -> TestServer {
    let server = TestServer::start().await;
    let mut given = server.given().organization("acme");
    for user in ["ann", "ben", "cid", "dan", "idle", "lea", "max", "root", "sam", "vic"] {
        given = given.user(user);
    }
    let given = given.administrator("root").external("eve").service_account("ci");
    let given = given.group("core", &["user:cid"]).group("team", &["user:dan"]);
    let given = given.portfolio("space").owned_by("sam").with_manager("max");
    let given = given.with("user:ben", "contributor").with("group:core", "viewer");
    let given = given.portfolio("child").owned_by("ann").below("space").with_manager("max");
    let given = given.with("user:vic", "viewer").with("group:team", "contributor");
    given.portfolio("leaf").owned_by("lea").below("child").await;
    server
}

/// What everybody may do on some portfolios: permission and reach, or why that is not told.
pub type Access = BTreeMap<(String, String), Result<BTreeSet<(String, i32)>, String>>;

pub async fn access(server: &TestServer, portfolios: &[&str], subjects: &[&str]) -> Access {
    let mut access = Access::new();
    for portfolio in portfolios {
        for who in subjects {
            let request = v1::ListEffectivePermissionsRequest {
                subject: Some(subject(who)),
                portfolio: (*portfolio).to_owned(),
                consistency: Some(v1::Consistency {
                    requirement: Some(Requirement::FullyConsistent(true)),
                }),
                ..Default::default()
            };
            let answer = server.system().policy().list_effective_permissions(request).await;
            let told = match answer {
                Err(status) => Err(reason(&status)),
                Ok(answer) => {
                    let answer = answer.into_inner();
                    let held = answer.permissions.into_iter();
                    Ok(held.map(|held| (held.permission.clone(), held.reach)).collect())
                }
            };
            access.insert(((*portfolio).to_owned(), (*who).to_owned()), told);
        }
    }
    access
}

/// The code's reason and the metadata of a refusal.
pub fn told<T: std::fmt::Debug>(answer: Result<T, Status>) -> (String, BTreeMap<String, String>) {
    let status = answer.expect_err("a refusal");
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    (info.reason.clone(), info.metadata.clone().into_iter().collect())
}

/// Metadata as [`told`] has it.
pub fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
