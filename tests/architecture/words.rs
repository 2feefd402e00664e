//! What must not stand anywhere. The words are put together here, so that this file passes too.

use crate::source::{Source, code, is_word};

/// Notes to oneself: do it, or open an issue.
const NOTES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Code that is not there yet, that shouts, or that does not run.
const IN_CODE: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore", "should_panic"];

/// Tests wait for what they wait for: a token, a round of the feed, a turned clock.
const SLEEPS: &[&str] = &["thread::sleep", "time::sleep", "sleep("];

/// Absolute paths that are the same on every machine, and the home of the person in all examples.
const COMMON: &[&str] = &[
    "bin",
    "dev",
    "etc",
    "home/ann",
    "home/linuxbrew",
    "lib",
    "opt",
    "proc",
    "run",
    "sbin",
    "sys",
    "usr",
    "var",
];

pub fn notes(sources: &[Source]) -> Vec<String> {
    let is_there = |line: &str, word: &str| {
        line.match_indices(word).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + word.len()..]);
            !before.ends_with(is_word) && !after.starts_with(is_word)
        })
    };
    found(sources, NOTES, |source| source.text.clone(), is_there)
}

pub fn in_code(sources: &[Source]) -> Vec<String> {
    found(sources, IN_CODE, |source| code(&source.text), |line, word| line.contains(word))
}

pub fn sleeps(sources: &[Source]) -> Vec<String> {
    found(sources, SLEEPS, |source| code(&source.text), |line, word| line.contains(word))
}

fn found(
    sources: &[Source],
    words: &[&str],
    text: impl Fn(&Source) -> String,
    is_there: impl Fn(&str, &str) -> bool,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (number, line) in (1..).zip(text(source).lines()) {
            if let Some(word) = words.iter().find(|word| is_there(line, word)) {
                complaints.push(format!("{}:{number}: `{word}`", source.path));
            }
        }
    }
    complaints
}

/// Absolute paths that only some machine has.
pub fn paths(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (number, line) in (1..).zip(source.text.lines()) {
            for (at, _) in line.match_indices('/') {
                if let Some(path) = foreign(&line[..at], &line[at + 1..]) {
                    complaints.push(format!("{}:{number}: `/{path}`", source.path));
                }
            }
        }
    }
    complaints
}

/// What follows the slash, if it is an absolute path, of two folders at least, that is not common.
fn foreign<'a>(before: &str, after: &'a str) -> Option<&'a str> {
    // A quotation mark behind a word closes: what follows goes on from the word.
    let opens = |quote: &str| !quote.ends_with(is_word);
    let begins = match before.chars().next_back() {
        Some('"') => opens(&before[..before.len() - 1]),
        before => before.is_none_or(|c| c.is_whitespace() || "'`(=:".contains(c)),
    };
    let end = after.find(|c: char| !is_word(c) && !"/.-".contains(c)).unwrap_or(after.len());
    let path = &after[..end];
    let (first, second) = path.split_once('/')?;
    let is_folder = |name: &str| name.len() > 1 && name.chars().all(|c| c.is_ascii_lowercase());
    let second = second.split('/').next().unwrap_or(second);
    let common = COMMON.iter().any(|common| {
        path.strip_prefix(common).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    (begins && is_folder(first) && is_folder(second) && !common).then_some(path)
}

#[cfg(test)]
fn one(text: &str) -> Vec<Source> {
    vec![Source::of("tests/x.rs", text)]
}

#[test]
fn a_note_is_found_also_in_a_comment_but_not_inside_a_word() {
    for word in NOTES {
        assert_eq!(notes(&one(&format!("let a = 1;\n// {word}: more"))).len(), 1, "{word}");
    }
    assert_eq!(notes(&one(&format!("const MA{}S: u8 = 1;", NOTES[0]))), Vec::<String>::new());
}

#[test]
fn unfinished_code_is_found_and_a_text_about_it_is_not() {
    let marks = ["    todo!()", "#[ignore]", "#[ignore = \"slow\"]", "let x = dbg!(y);"];
    for text in marks {
        assert_eq!(in_code(&one(text)).len(), 1, "{text}");
    }
    assert_eq!(in_code(&one("assert!(text != \"todo!\"); // dbg!")), Vec::<String>::new());
}

#[test]
fn a_sleep_is_found() {
    for text in ["std::thread::sleep(MS);", "tokio::time::sleep(MS).await;", "sleep(MS).await;"] {
        assert_eq!(sleeps(&one(text)).len(), 1, "{text}");
    }
    assert_eq!(sleeps(&one("let s = \"sleep(1)\";")), Vec::<String>::new());
}

#[test]
fn a_path_of_some_machine_is_found_and_common_ones_are_not() {
    let path = |first: &str, second: &str| format!("// see /{first}/{second}/file.md");
    assert_eq!(paths(&one(&path("somewhere", "notes"))).len(), 1);
    assert_eq!(paths(&one(&path("home", "somebody"))).len(), 1);
    for (first, second) in [("usr", "lib"), ("home", "linuxbrew"), ("var", "lib")] {
        assert_eq!(paths(&one(&path(first, second))), Vec::<String>::new());
    }
    let quoted = format!("\"$d\"/{}/bin", "native");
    for text in ["read/write paths", "a path: `/d/cluster`", "https://host/a/b", &quoted] {
        assert_eq!(paths(&one(text)), Vec::<String>::new(), "{text}");
    }
}
