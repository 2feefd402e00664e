//! Who may import whom.

use crate::source::{Source, is_word};

/// Each room and what it may import; `room::part` allows just that part. `ARCHITECTURE.md` says
/// why.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("policy", &["domain"]),
    ("clock", &["domain"]),
    ("authn", &["clock", "domain", "reload"]),
    ("reload", &[]),
    ("tls", &["clock", "domain", "reload"]),
    ("storage", &["domain"]),
    ("cache", &["clock", "domain", "policy", "storage"]),
    ("app", &["cache", "domain", "policy", "storage"]),
    ("proto", &[]),
    ("config", &["domain"]),
    ("grpc", &["app", "authn", "config", "domain", "proto"]),
    ("embedded_postgres", &[]),
    ("telemetry", &["config"]),
    (
        "server",
        &[
            "app",
            "authn",
            "cache",
            "clock",
            "config",
            "domain",
            "embedded_postgres",
            "grpc",
            "storage",
            "telemetry",
            "tls",
        ],
    ),
    // A client like any other, apart from `serve` and `migrate`.
    (
        "cli",
        &[
            "authn::signing",
            "clock",
            "config",
            "domain",
            "embedded_postgres",
            "grpc::client",
            "proto",
            "server",
            "storage::migrate",
            "telemetry",
        ],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// A library that only some rooms may use.
struct Guarded {
    what: &'static str,
    libraries: &'static [&'static str],
    rooms: &'static [&'static str],
}

const GUARDED: &[Guarded] = &[
    Guarded {
        what: "SQL",
        libraries: &["diesel", "diesel_async", "diesel_migrations", "bb8"],
        rooms: &["storage"],
    },
    Guarded {
        what: "gRPC",
        libraries: &["tonic", "tonic_health", "tonic_prost", "tonic_reflection", "tonic_types"],
        rooms: &["grpc", "proto", "server"],
    },
];

/// Pure and synchronous.
const PURE: &[&str] = &["domain", "policy"];

/// What no pure room may name: clocks, waiting, input and output.
const IMPURE: &[&str] = &[
    "async",
    "await",
    "Instant",
    "SystemTime",
    "futures",
    "tokio",
    "OffsetDateTime",
    "now_v7",
    "rand",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "println",
];

pub fn complaints(sources: &[Source]) -> Vec<String> {
    sources.iter().flat_map(of_one).collect()
}

fn of_one(source: &Source) -> Vec<String> {
    let (room, program) = (source.room(), source.program());
    let path = &source.path;
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
        return vec![format!(
            "{path}: say in tests/architecture/imports.rs what `{room}` may import"
        )];
    };
    let mut complaints = Vec::new();
    for import in imports(source, &program) {
        let inner =
            |part: &&str| import.starts_with(part) && !import[part.len()..].starts_with(is_word);
        if !inner(&room) && !allowed.iter().any(inner) {
            complaints.push(format!("{path}: `{room}` may not import `{import}`"));
        }
    }
    for Guarded { what, libraries, rooms } in GUARDED {
        let used = libraries.iter().find(|library| uses(&program, library));
        if let Some(library) = used.filter(|_| !rooms.contains(&room)) {
            let rooms = rooms.join(", ");
            complaints.push(format!("{path}: uses `{library}`; {what} is spoken in {rooms} only"));
        }
    }
    let impure = IMPURE.iter().filter(|word| PURE.contains(&room) && names(&program, word));
    complaints.extend(impure.map(|word| format!("{path}: `{room}` is pure, and names `{word}`")));
    complaints
}

/// Whether the code has the word, or the path, as a whole; a path that ends in `::` goes on.
fn names(code: &str, word: &str) -> bool {
    let goes_on = word.ends_with(':');
    code.match_indices(word).any(|(at, _)| {
        let after = &code[at + word.len()..];
        !code[..at].ends_with(is_word) && (goes_on || !after.starts_with(is_word))
    })
}

/// Whether the code names the library, and not just something of that name.
fn uses(code: &str, library: &str) -> bool {
    names(code, &format!("{library}::")) || names(code, &format!("use {library}"))
}

/// The paths into our own crate, from its root on.
fn imports(source: &Source, program: &str) -> Vec<String> {
    let mut found = Vec::new();
    let climb = "super::".repeat(depth(&source.path));
    for root in ["crate::", "portcullis::", climb.as_str()] {
        for (at, _) in program.match_indices(root) {
            let before = program[..at].trim_end_matches("super::").chars().next_back();
            let further = program[..at].ends_with("super::") || before.is_some_and(is_word);
            if !root.is_empty() && !further && before != Some(':') {
                tree(&program[at + root.len()..], "", &mut found);
            }
        }
    }
    found
}

/// How many `super` lead from a file's module to the root of the crate.
fn depth(path: &str) -> usize {
    let inner = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    match inner {
        "lib" | "main" => 0,
        _ => inner.trim_end_matches("/mod").split('/').count(),
    }
}

/// Reads `a::b`, `{a::{b, c}, d}` and so on; returns what follows.
fn tree<'a>(text: &'a str, prefix: &str, found: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(rest) = rest.strip_prefix('}') {
                return rest;
            }
            let after = tree(rest, prefix, found);
            if after.len() == rest.len() {
                return after;
            }
            rest = after;
        }
    }
    let end =
        text.find(|c| !is_word(c)).unwrap_or(text.len()).max(usize::from(text.starts_with('*')));
    let (name, rest) = text.split_at(end);
    let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}::{name}") };
    match rest.strip_prefix("::") {
        Some(deeper) => tree(deeper, &path, found),
        None => {
            found.push(path);
            rest
        }
    }
}

#[cfg(test)]
fn about(path: &str, text: &str) -> String {
    complaints(&[Source::of(path, text)]).join("; ")
}

#[test]
fn an_arrow_that_must_not_be_is_seen_however_it_is_written() {
    let forbidden = "`policy` may not import `storage";
    for text in [
        "use crate::storage::Read;",
        "use crate::{domain::Timestamp, storage::{Read, Write}};",
        "fn f() { crate::storage::migrate() }",
        "use super::super::storage;",
        "pub(super) use super::super::{domain, storage};",
        "use crate::domain::{Timestamp};\nuse crate::storage as database;",
    ] {
        assert!(about("src/policy/check.rs", text).contains(forbidden), "{text}");
    }
    assert!(about("src/policy/mod.rs", "use super::storage;").contains(forbidden));
    assert!(about("src/policy.rs", "use super::storage;").contains(forbidden));
}

#[test]
fn what_is_allowed_is_not_complained_about() {
    for (path, text) in [
        (
            "src/policy/check.rs",
            "use super::snapshot::Snapshot; use crate::domain::{Subject, role};",
        ),
        ("src/policy/a/b.rs", "use super::super::storage;"),
        ("src/policy/check.rs", "//! Unlike crate::storage.\nconst X: &str = \"crate::storage\";"),
        ("src/policy/check.rs", "#[cfg(test)]\nmod tests {\n use crate::storage;\n}"),
        ("src/cli/check.rs", "use crate::grpc::client::Client;"),
        ("src/main.rs", "fn main() { portcullis::cli::main() }"),
        ("src/domain/page.rs", "struct Page { diesel: bool, asynchronous: u8 }"),
    ] {
        assert_eq!(about(path, text), "", "{text}");
    }
}

#[test]
fn a_part_of_a_room_is_not_the_room() {
    assert!(about("src/cli/check.rs", "use crate::grpc::status;").contains("may not import"));
    assert!(about("src/cli/check.rs", "use crate::grpc::clients;").contains("may not import"));
    assert!(
        about("src/cli/check.rs", "use crate::grpc::{client, status};").contains("`grpc::status`")
    );
}

#[test]
fn libraries_stay_in_their_rooms_and_pure_rooms_pure() {
    assert!(about("src/app/check.rs", "use diesel::prelude::*;").contains("SQL"));
    assert!(about("src/cli/check.rs", "fn f() -> tonic::Status { todo() }").contains("gRPC"));
    assert_eq!(about("src/storage/users.rs", "use diesel::prelude::*;"), "");
    for text in
        ["async fn f() {}", "use std::time::Instant;", "use tokio::sync::watch;", "use std::fs;"]
    {
        assert!(about("src/domain/page.rs", text).contains("is pure"), "{text}");
    }
}

#[test]
fn a_new_room_has_to_say_whom_it_imports() {
    assert!(about("src/outbox/mod.rs", "").contains("say in"));
}
