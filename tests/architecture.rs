//! What keeps the house in order, as far as reading the files can tell: who imports whom, how long
//! files and functions are, what must not stand anywhere, which rules have a test that names them,
//! which reasons of errors are ever given.
//!
//! Each check is a function from sources to complaints, and has tests of its own on bad examples:
//! a check that finds nothing because it sees nothing would be worse than none.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "as in the tests themselves: what helps them fails like them"
)]

#[path = "architecture/dependencies.rs"]
mod dependencies;
#[path = "architecture/imports.rs"]
mod imports;
#[path = "architecture/reasons.rs"]
mod reasons;
#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/sizes.rs"]
mod sizes;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/words.rs"]
mod words;

use source::Source;

/// Fails with all complaints at once.
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}

fn program() -> Vec<Source> {
    let sources = Source::all(&["src"], &["rs"]);
    // Moved or renamed, the checks would look at nothing and be content.
    assert!(sources.len() > 60, "only {} files in src", sources.len());
    sources
}

fn rust() -> Vec<Source> {
    Source::all(&["src", "tests", "benches", "build.rs"], &["rs"])
}

#[test]
fn nobody_imports_whom_they_must_not() {
    none(&imports::complaints(&program()));
}

#[test]
fn every_dependency_is_used() {
    let manifest = Source::all(&["Cargo.toml"], &["toml"]);
    let [manifest] = manifest.as_slice() else { panic!("Cargo.toml has moved") };
    let declared = dependencies::declared(&manifest.text);
    assert!(declared.len() > 30, "only {} dependencies found", declared.len());
    none(&dependencies::unused(&declared, &rust()));
}

#[test]
fn files_are_at_most_500_lines_without_tests() {
    none(&sizes::long_files(&program()));
}

#[test]
fn functions_are_at_most_70_lines() {
    none(&sizes::long_functions(&program()));
}

#[test]
fn lines_are_at_most_100_columns() {
    none(&sizes::long_lines(&rust()));
}

#[test]
fn nothing_is_unfinished_switched_off_or_slept_over() {
    let everything = ["rs", "proto", "sql", "sh", "toml", "yaml", "md"];
    let places = ["src", "tests", "benches", "build.rs", "proto", "migrations", "docs", "demo"];
    none(&words::notes(&Source::all(&places, &everything)));
    none(&words::in_code(&rust()));
    none(&words::sleeps(&Source::all(&["tests"], &["rs"])));
}

#[test]
fn no_text_knows_the_machine_it_was_written_on() {
    let texts =
        ["rs", "proto", "sql", "toml", "yaml", "md", "run", "lint", "postgres", "buf", "py"];
    let places = ["src", "tests", "benches", "proto", "migrations", "docs", "demo", "scripts"];
    let roots = ["build.rs", "Cargo.toml", "Makefile", "README.md", "ARCHITECTURE.md", ".ci"];
    let places: Vec<&str> = places.into_iter().chain(roots).collect();
    none(&words::paths(&Source::all(&places, &texts)));
}

#[test]
fn every_rule_has_a_test_that_names_it() {
    let tests = Source::all(&["src", "tests"], &["rs"]);
    let names: Vec<String> = tests.iter().flat_map(Source::tests).collect();
    assert!(names.len() > 60, "only {} tests found", names.len());
    none(&rules::unnamed(&names));
}

#[test]
fn every_reason_of_an_error_is_given_somewhere() {
    let protos = Source::all(&["proto/portcullis/v1/error_reason.proto"], &["proto"]);
    let [proto] = protos.as_slice() else { panic!("error_reason.proto has moved") };
    let reasons = reasons::declared(&proto.text);
    assert!(reasons.len() > 30, "only {} reasons found", reasons.len());
    none(&reasons::never_given(&reasons, &program()));
}
