//! docs/grpcurl.md, run as it stands: every command, in order, against a server with TLS and
//! tokens; and what each prints, compared with what the document shows below it.
//!
//! What the document shows of an output is matched line by line, without looking at indentation.
//! `…` stands for any part of a line, and alone on a line for any lines. A command that is shown
//! with an output that begins with `ERROR:` must fail, and every other must not.

use std::path::Path;
use std::process::Command;

use crate::cluster::database;
use crate::program::{Serving, told};
use crate::raw::Contract;
use crate::tools::{JWT, installed, operator};

/// A fenced block of the document.
struct Block {
    /// Where its first line is in the document, from 1.
    line: usize,
    language: String,
    text: String,
}

/// A command, and what is shown of its output, if anything.
struct Example {
    line: usize,
    command: String,
    shown: Option<String>,
}

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grpcurl.md");
    std::fs::read_to_string(path).unwrap()
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, text) in (1..).zip(document.lines()) {
        match (text.strip_prefix("```"), open.take()) {
            (Some(language), None) => {
                let language = language.to_owned();
                open = Some(Block { line: line + 1, language, text: String::new() });
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text.push_str(text);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "the last block has no end");
    blocks
}

/// The `sh` blocks; the `json` or `text` block behind one is its output.
fn examples(document: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for Block { line, language, text } in blocks(document) {
        match language.as_str() {
            "sh" => examples.push(Example { line, command: text, shown: None }),
            "json" | "text" => {
                let last = examples.last_mut().filter(|example| example.shown.is_none());
                last.unwrap_or_else(|| panic!("line {line}: of which command?")).shown = Some(text);
            }
            "console" => assert!(!text.contains("grpcurl "), "line {line}: would not be run"),
            _ => panic!("line {line}: a block of `{language}`"),
        }
    }
    examples
}

/// Whether a text is what a pattern says, in which some elements stand for anything.
fn is_like<T>(
    pattern: &[T],
    text: &[T],
    anything: fn(&T) -> bool,
    same: fn(&T, &T) -> bool,
) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, first) => first.is_none(),
        (Some((element, rest)), _) if anything(element) => {
            (0..=text.len()).any(|skipped| is_like(rest, &text[skipped..], anything, same))
        }
        (Some((element, rest)), Some((first, others))) => {
            same(element, first) && is_like(rest, others, anything, same)
        }
        (Some(_), None) => false,
    }
}

fn line_is_like(shown: &[char], printed: &[char]) -> bool {
    is_like(shown, printed, |shown| *shown == '…', |a, b| a == b)
}

fn output_is_like(shown: &str, printed: &str) -> bool {
    let lines = |text: &str| -> Vec<Vec<char>> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(|line| words(line).chars().collect()).collect()
    };
    is_like(&lines(shown), &lines(printed), |line| line == &['…'], |a, b| line_is_like(a, b))
}

/// Runs one example after another, each with the variables that the ones before have set.
struct Shell {
    folder: tempfile::TempDir,
    path: String,
}

impl Shell {
    fn run(&self, command: &str, set: &[(&str, &str)]) -> (bool, String) {
        let script = format!(
            "exec 2>&1\nset -a\nif [ -e variables ]; then . ./variables; fi\n\
             {command}\nexport -p >variables\n"
        );
        let output = Command::new("bash")
            .args(["--norc", "--noprofile", "-e", "-c", &script])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", &self.path)
            .envs(set.iter().copied())
            .output()
            .unwrap();
        let (status, printed, _) = told(output);
        (status == 0, printed)
    }

    fn complaint(&self, example: &Example, set: &[(&str, &str)]) -> Option<String> {
        let Example { line, command, shown } = example;
        let (succeeded, printed) = self.run(command, set);
        let shown = shown.as_deref().unwrap_or("…");
        let fails = shown.starts_with("ERROR:");
        let is_right = succeeded != fails && output_is_like(shown, &printed);
        let complaint = format!(
            "docs/grpcurl.md:{line}:\n{command}\nsucceeded: {succeeded}, and printed\n{printed}\n\
             and not what is shown:\n{shown}"
        );
        (!is_right).then_some(complaint)
    }
}

/// Where the document's programs are found: ours, grpcurl, and the system's.
fn search_path(grpcurl: &Path) -> String {
    let ours = Path::new(env!("CARGO_BIN_EXE_portcullis")).parent().unwrap();
    let system = std::env::var("PATH").unwrap();
    format!("{}:{}:{system}", grpcurl.parent().unwrap().display(), ours.display())
}

#[tokio::test]
async fn the_document_of_grpcurl_is_true() {
    let Some(grpcurl) = installed("grpcurl") else { return };
    let (own, other) = (database().await, database().await);
    let (folder, _) = operator();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(path("ca.pem"), certificate.cert.pem()).unwrap();
    std::fs::write(path("server.key"), certificate.signing_key.serialize_pem()).unwrap();
    let (keys, cert, key) = (path("dev.pem.jwks.json"), path("ca.pem"), path("server.key"));
    let tls = ["--jwt-keys", &keys, "--tls-cert", &cert, "--tls-key", &key];
    let server = Serving::start(&own.url, &[&JWT[..], &tls].concat());
    let (_, port) = server.uri.rsplit_once(':').unwrap();
    let plain = Serving::start(&other.url, &[]);

    let server = format!("localhost:{port}");
    let (_, plain) = plain.uri.rsplit_once('/').unwrap();
    let set = [("SERVER", server.as_str()), ("PLAIN", plain), ("CA", "ca.pem")];
    let shell = Shell { folder, path: search_path(&grpcurl) };
    // Later examples build on earlier ones: the first complaint is the one that matters.
    let wrong = examples(&document()).iter().find_map(|example| shell.complaint(example, &set));
    assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
}

#[test]
fn every_method_of_the_contract_is_in_the_document_of_grpcurl() {
    let examples = examples(&document());
    let is_shown = |method: &str| {
        let words = examples.iter().flat_map(|example| example.command.split_whitespace());
        words.into_iter().any(|word| word == method)
    };
    let methods = Contract::load().methods();
    let paths = methods.iter().map(|method| method.path.trim_start_matches('/'));
    let missing: Vec<&str> = paths.filter(|path| !is_shown(path)).collect();
    assert!(missing.is_empty(), "docs/grpcurl.md does not show {missing:?}");
}

#[test]
fn an_output_that_is_not_what_is_shown_is_found() {
    let printed = "{\n  \"allowed\": true,\n  \"token\": \"Aa==\"\n}\n";
    for shown in [
        "{\n\"allowed\": true,\n\"token\": \"…\"\n}\n",
        "{\n…\n\"token\": \"A…\"\n}\n",
        "…\n\"allowed\": true,\n…\n",
        "{\n…\n}\n…\n",
    ] {
        assert!(output_is_like(shown, printed), "{shown}");
    }
    for shown in [
        "{\n\"allowed\": false,\n…\n",
        "{\n\"token\": \"…\"\n}\n",
        "…\n\"token\": \"…\"\n",
        "…\n\"token\": \"…\"\n…\n\"allowed\": true,\n…\n",
        "",
    ] {
        assert!(!output_is_like(shown, printed), "{shown}");
    }
}

#[test]
fn the_blocks_of_a_document_are_commands_and_what_they_print() {
    let document =
        "text\n```sh\na\nb\n```\n\n```json\n{}\n```\n```sh\nc\n```\n```console\n$ d\n```\n";
    let examples = examples(document);
    let read =
        |at: usize| (examples[at].line, &*examples[at].command, examples[at].shown.as_deref());
    assert_eq!(read(0), (3, "a\nb\n", Some("{}\n")));
    assert_eq!(read(1), (11, "c\n", None));
    assert_eq!(examples.len(), 2);
}
