//! Arbitrary messages over every RPC: nothing panics, nothing is a defect, every refusal has its
//! reason (BAD-1). The messages are made from the contract itself, so that a new RPC or field is
//! covered without being named here.

use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis::proto::v1::ErrorReason;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use prost::encoding::WireType;
use prost::encoding::{encode_key, encode_varint};
use prost_types::field_descriptor_proto::Type;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::TestServer;
use crate::raw::{Contract, Field, Method, call};

/// Arbitrary messages for each RPC.
const CASES: u32 = 48;

/// Texts of all sorts: what fits a field of this name, what exists elsewhere, what does not, what
/// is none.
fn text(field: &str) -> BoxedStrategy<Vec<u8>> {
    let fitting: &[&str] = match field {
        "user" | "owner" | "confirm_user" | "administrators" => &["ann", "ben", "eve"],
        "group" => &["core", "all"],
        "portfolio" | "confirm_portfolio" | "parent" => &["roadmap", "plaza"],
        "organization" | "home_organization" => &["acme"],
        "function" => &["tutor", "assessor"],
        "role" | "organization_access_role" | "key" | "replacement" => {
            &["manager", "viewer", "contributor"]
        }
        "permission" => &["portfolio.view", "initiative.edit", "comment.edit"],
        "paths" => &["role", "expire_time", "visibility", "organization_access_role", "domains"],
        "preset" => &["initiative_planning", "tracker"],
        "picture_uri" => &["https://acme.example/ann"],
        "domains" => &["acme.example", "example.org"],
        "request_id" | "etag" | "page_token" | "at_least_as_fresh" => &[""],
        _ => &["ann", "core", "roadmap", "acme", "v1"],
    };
    let known: Vec<&str> =
        vec!["acme", "ann", "core", "roadmap", "manager", "portfolio.view", "v1"];
    let fitting = match field {
        "email" => "[a-c]{1,3}@(acme[.]example|example[.]org)".prop_map(String::into_bytes).boxed(),
        _ => select(fitting.to_vec()).prop_map(|text| text.as_bytes().to_vec()).boxed(),
    };
    prop_oneof![
        32 => fitting,
        2 => select(known).prop_map(|text| text.as_bytes().to_vec()),
        1 => Just(Vec::new()),
        1 => "[a-z0-9-]{1,12}".prop_map(String::into_bytes),
        1 => any::<String>().prop_map(String::into_bytes),
        2 => Just(b"nul\0byte".to_vec()),
        1 => (100_usize..6_000).prop_map(|length| "ä".repeat(length).into_bytes()),
        // No UTF-8.
        1 => vec(any::<u8>(), 0..8),
    ]
    .boxed()
}

fn number() -> BoxedStrategy<u64> {
    let extremes = select(vec![u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 31, 253_402_300_800]);
    let negative = (1_u64..5).prop_map(u64::wrapping_neg);
    prop_oneof![4 => 0_u64..5, 1 => extremes, 1 => negative, 1 => any::<u64>()].boxed()
}

/// The bytes of one field of any value, present or not, once or often.
fn field(contract: &Contract, field: Field, depth: u32) -> BoxedStrategy<Vec<u8>> {
    let Field { tag, name, kind, message, repeated } = field;
    let one: BoxedStrategy<Vec<u8>> = match kind {
        Type::String | Type::Bytes => {
            text(&name).prop_map(move |text| delimited(tag, &text)).boxed()
        }
        // Nothing in the contract is deeper; the bound is for one that would be.
        Type::Message if depth == 6 => Just(Vec::new()).boxed(),
        Type::Message => message_of(contract, &message, depth + 1)
            .prop_map(move |message| delimited(tag, &message))
            .boxed(),
        Type::Int32 | Type::Int64 | Type::Uint32 | Type::Uint64 | Type::Bool | Type::Enum => {
            let varint = move |number| {
                let mut bytes = Vec::new();
                encode_key(tag, WireType::Varint, &mut bytes);
                encode_varint(number, &mut bytes);
                bytes
            };
            number().prop_map(varint).boxed()
        }
        other => panic!("teach this test to make {other:?}"),
    };
    let most = if repeated { 4 } else { 2 };
    let several = vec(one.clone(), 0..most).prop_map(|several| several.concat());
    prop_oneof![6 => one, 1 => several].boxed()
}

fn message_of(contract: &Contract, message: &str, depth: u32) -> BoxedStrategy<Vec<u8>> {
    let fields: Vec<_> =
        contract.fields(message).into_iter().map(|each| field(contract, each, depth)).collect();
    fields.prop_map(|fields| fields.concat()).boxed()
}

fn delimited(tag: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(tag, WireType::LengthDelimited, &mut bytes);
    encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

fn actor() -> BoxedStrategy<Option<&'static str>> {
    let named = select(vec![
        "user:ann",
        "user:ben",
        "user:eve",
        "user:nobody",
        "service_account:ci",
        "group:core",
        "ann",
        "user:",
        ":",
    ]);
    prop_oneof![2 => Just(None), 1 => named.prop_map(Some)].boxed()
}

#[test]
fn bad_1_no_message_to_any_rpc_is_more_than_a_refusal() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(async {
        let server = TestServer::start().await;
        server
            .given()
            .organization("acme")
            .user("ann")
            .user("ben")
            .external("eve")
            .group("core", &["user:ben"])
            .group("all", &["group:core"])
            .portfolio("roadmap")
            .owned_by("ann")
            .with("group:all", "contributor")
            .portfolio("plaza")
            .open()
            .await;
        server
    });
    let contract = Contract::load();
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let accepted = AtomicUsize::new(0);
    for Method { path, request, .. } in contract.methods() {
        let damage = prop_oneof![6 => Just(None), 1 => any::<(u16, u8)>().prop_map(Some)];
        let strategy = (message_of(&contract, &request, 0), damage, actor());
        let mut runner = TestRunner::new(config.clone());
        let outcome = runner.run(&strategy, |(mut message, damage, actor)| {
            if let Some((at, byte)) = damage
                && !message.is_empty()
            {
                let at = usize::from(at) % message.len();
                message[at] = byte;
            }
            match runtime.block_on(call(&server.channel, &path, message, actor)) {
                Ok(_) => {
                    accepted.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
                Err(status) => is_a_refusal(&status),
            }
        });
        outcome.unwrap_or_else(|failure| panic!("{path}: {failure}"));
    }
    // They do not all fail at the door: about a quarter is accepted.
    let accepted = accepted.into_inner();
    assert!(accepted > 50, "only {accepted} messages were accepted");
    assert!(runtime.block_on(server.is_healthy("")));
    runtime.block_on(server.running.stop());
}

fn is_a_refusal(status: &Status) -> Result<(), TestCaseError> {
    let refused = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::AlreadyExists,
        Code::FailedPrecondition,
        Code::PermissionDenied,
        Code::Aborted,
    ];
    prop_assert!(refused.contains(&status.code()), "{status:?}");
    let details = status.get_error_details();
    let Some(info) = details.error_info() else {
        return Err(TestCaseError::fail(format!("{status:?} has no ErrorInfo")));
    };
    prop_assert_eq!(&info.domain, "portcullis");
    let public = ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason));
    prop_assert!(public.is_some(), "{} is no public reason", info.reason);
    prop_assert!(!status.message().is_empty());
    Ok(())
}
