//! The four documents that the product comes from, sentence by sentence, as a product owner reads
//! them: `tests/cases/*.txt`, played over gRPC against a server that holds an organization of the
//! demo. What the lines are is in `language`, what people do in them in `steps`.

mod directory;
mod items;
mod language;
mod links;
mod members;
mod portfolios;
mod roles;
mod steps;
mod told;

use std::path::{Path, PathBuf};

use self::language::Script;
use self::steps::Stage;
use crate::harness::TestServer;
use crate::program::{portcullis, told as output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[tokio::test]
async fn initiative_every_sentence_is_kept_or_named() {
    every_sentence_of("initiative").await;
}

#[tokio::test]
async fn board_every_sentence_is_kept_or_named() {
    every_sentence_of("board").await;
}

#[tokio::test]
async fn tracker_every_sentence_is_kept_or_named() {
    every_sentence_of("tracker").await;
}

#[tokio::test]
async fn learner_every_sentence_is_kept_or_named() {
    every_sentence_of("learner").await;
}

async fn every_sentence_of(document: &str) {
    let file = format!("tests/cases/{document}.txt");
    let text = std::fs::read_to_string(path(&file)).expect("the file is there");
    let mistakes = played(&text).await;
    let mistakes: String = mistakes.iter().map(|it| format!("\n{file}:{it}")).collect();
    assert!(mistakes.is_empty(), "{mistakes}");
}

fn path(file: &str) -> PathBuf {
    Path::new(ROOT).join(file)
}

/// Plays a file, and returns what is wrong with it or with the service: `line: what`.
async fn played(text: &str) -> Vec<String> {
    match language::parse(text) {
        Ok(script) => play(script).await,
        Err(mistakes) => mistakes,
    }
}

async fn play(script: Script) -> Vec<String> {
    let server = TestServer::start().await;
    apply(&server, &script.demo).await;
    let stage = Stage { server: &server, organization: &script.demo };
    let mut mistakes = Vec::new();
    let mut calls = Vec::new();
    for step in &script.steps {
        match stage.call(&step.words) {
            // Nothing is sent before it is awaited.
            Some(call) => calls.push((step, call)),
            None => mistakes.push(format!("{}: nobody does that: `{}`", step.line, step.text)),
        }
    }
    if !mistakes.is_empty() {
        return mistakes;
    }
    for (step, call) in calls {
        let verdict = steps::verdict(&step.words);
        if let Some(instead) = told::instead(call.await, &step.expected, verdict) {
            mistakes.push(format!("{}: `{}`: came {instead}", step.line, step.text));
        }
    }
    mistakes
}

/// Makes the server hold an organization of the demo, by the command that is there for it.
async fn apply(server: &TestServer, demo: &str) {
    let address = format!("http://{}", server.running.address());
    let file = path(&format!("demo/{demo}.yaml"));
    let file = file.to_str().expect("a path in UTF-8");
    let mut command = portcullis(&["apply", file, "--server", &address]);
    // The server is in this process, and has to answer meanwhile.
    let run = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let (status, out, error) = output(run.expect("the program runs"));
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
}

#[tokio::test]
async fn a_step_of_which_something_else_comes_is_told_with_line_and_what_came() {
    let text = "demo northwind-maps\n\
        # Wrong on purpose.\n\
        \x20 ben may initiative.edit on winter-edition: GROUP_GRANT\n\
        \x20 ben may not initiative.edit on winter-edition\n\
        \x20 ben sees hiring\n\
        \x20 ann sees hiring: refused PORTFOLIO_NOT_FOUND\n\
        \x20 ann sees hiring: open\n\
        \x20 ann adds ben, hugo, nobody to hiring as viewer: ADDED\n\
        \x20 ann adds carla to hiring as viewer\n";
    let mistakes = played(text).await;
    let expected = [
        "3: `ben may initiative.edit on winter-edition: GROUP_GRANT`: came initiative.edit allowed \
         DIRECT_GRANT",
        "4: `ben may not initiative.edit on winter-edition`: came initiative.edit allowed",
        "5: `ben sees hiring`: came refused PORTFOLIO_NOT_FOUND: ",
        "6: `ann sees hiring: refused PORTFOLIO_NOT_FOUND`: came name Hiring, private",
        "7: `ann sees hiring: open`: came name Hiring, private",
        "8: `ann adds ben, hugo, nobody to hiring as viewer: ADDED`: came ben ADDED, hugo \
         REFUSED NOT_SUPPORTED_YET, nobody REFUSED USER_NOT_FOUND",
    ];
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
    for (mistake, expected) in mistakes.iter().zip(expected) {
        assert!(mistake.starts_with(expected), "{mistake}");
    }
}

#[tokio::test]
async fn a_file_with_a_step_that_nobody_knows_is_not_played() {
    let text = "demo northwind-maps\n  ben sees hiring\n  ben waves at hiring\n  ben\n";
    let mistakes = played(text).await;
    let expected = ["3: nobody does that: `ben waves at hiring`", "4: nobody does that: `ben`"];
    assert_eq!(mistakes, expected);
}
