//! Which dependencies nobody uses.

use crate::source::{Source, code, is_word};

/// Named by generated code alone.
const BY_GENERATED_CODE: &[&str] = &["tonic-prost"];

/// The names of all dependencies in the manifest.
pub fn declared(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| in_dependencies) {
            names.push(name.trim_matches(['#', ' ']).to_owned());
        }
    }
    names
}

pub fn unused(declared: &[String], sources: &[Source]) -> Vec<String> {
    let codes: Vec<String> = sources.iter().map(|source| code(&source.text)).collect();
    let is_used = |name: &String| {
        let library = name.replace('-', "_");
        let names = |code: &String| {
            let mut places = code.match_indices(&library);
            places.any(|(at, _)| {
                let after = &code[at + library.len()..];
                let path = after.starts_with("::") || after.starts_with(" as ");
                path && !code[..at].ends_with(is_word)
            })
        };
        codes.iter().any(names) || BY_GENERATED_CODE.contains(&name.as_str())
    };
    let unused = declared.iter().filter(|name| !is_used(name));
    unused.map(|name| format!("nobody uses `{name}`: take it out of Cargo.toml")).collect()
}

#[test]
fn an_unused_dependency_is_found() {
    let manifest = "[package]\nname = \"x\"\n\n[dependencies]\n# of time\nfoo-bar = \"1\"\n\
                    baz = { version = \"1\" } # why\n\n[dev-dependencies]\nqux = \"1\"\n\n\
                    [profile.dev]\ndebug = 1\n";
    let declared = declared(manifest);
    assert_eq!(declared, ["foo-bar", "baz", "qux"]);
    let source = Source::of("src/a.rs", "use foo_bar::A;\n// use baz::B;\nfn f() { ab::qux::c() }");
    let source = [source, Source::of("tests/b.rs", "use some_qux::D; let baz = 1;")];
    assert_eq!(unused(&declared, &source), ["nobody uses `baz`: take it out of Cargo.toml"]);
}
