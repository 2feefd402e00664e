//! The language of `tests/cases/*.txt`, line by line:
//!
//! ```text
//! demo NAME        the organization it happens in: demo/NAME.yaml, applied to a new server
//! # ...            a heading
//! > ...            what the document says, in our own words; what follows shows it
//!   ann adds ...   a step: who, and what they do (`steps`); deeper lines continue it
//! later: ...       what the service does not do yet: named, not run
//! screen: ...      what only a screen does: named, nothing to run
//! ```
//!
//! A step may end in `: ` and what comes of it: `refused REASON`, or what is told, separated by
//! commas. Without that, whatever is not refused is fine.

/// A file, ready to be played.
#[derive(Debug)]
pub struct Script {
    pub demo: String,
    pub steps: Vec<Step>,
}

/// One call, and what is to come of it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where it stands, from 1.
    pub line: usize,
    pub text: String,
    pub words: Vec<String>,
    pub expected: Expected,
}

/// What is to come of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything but a refusal.
    Done,
    /// A refusal for this reason.
    Refused(String),
    /// This is told.
    Told(Vec<String>),
}

/// A line that is more than a step.
enum Line<'a> {
    Demo(&'a str),
    Statement,
    /// A heading, or what is named and not run.
    Named(&'static str),
    Step(&'a str),
}

/// Reads a file.
///
/// # Errors
/// Everything that is no line of the language, and every statement that nothing shows: `line: why`.
pub fn parse(text: &str) -> Result<Script, Vec<String>> {
    let mut demo = None;
    let mut steps: Vec<Step> = Vec::new();
    let mut mistakes = Vec::new();
    // The statement that nothing has shown yet.
    let mut bare: Option<usize> = None;
    let lines = joined(text);
    for (number, line) in &lines {
        let line = match read(line) {
            Ok(line) => line,
            Err(mistake) => {
                mistakes.push(format!("{number}: {mistake}: `{}`", line.trim()));
                continue;
            }
        };
        if !matches!(line, Line::Step(_) | Line::Named("later" | "screen"))
            && let Some(statement) = bare.take()
        {
            mistakes.push(format!("{statement}: nothing below it shows that"));
        }
        match line {
            Line::Demo(name) if demo.is_none() && steps.is_empty() => demo = Some(name.to_owned()),
            Line::Demo(_) => mistakes.push(format!("{number}: a file has one `demo`, on its top")),
            Line::Statement => bare = Some(*number),
            Line::Named("heading") => {}
            Line::Named(_) => bare = None,
            Line::Step(text) => {
                bare = None;
                match step(*number, text) {
                    Ok(step) => steps.push(step),
                    Err(mistake) => mistakes.push(format!("{number}: {mistake}: `{text}`")),
                }
            }
        }
    }
    mistakes.extend(bare.map(|statement| format!("{statement}: nothing below it shows that")));
    match demo {
        Some(demo) if mistakes.is_empty() => Ok(Script { demo, steps }),
        Some(_) => Err(mistakes),
        None => Err([vec!["1: the first line says `demo NAME`".to_owned()], mistakes].concat()),
    }
}

/// The lines with their numbers; those that continue another are joined to it, unless there is an
/// empty one between.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut after_empty = false;
    for (number, line) in (1..).zip(text.lines()) {
        let continues = |open: &str| {
            let deeper = line.starts_with("      ");
            !after_empty && (deeper || (line.starts_with('>') && open.starts_with('>')))
        };
        match lines.last_mut() {
            _ if line.trim().is_empty() => {}
            Some((_, open)) if continues(open) => {
                open.push(' ');
                open.push_str(line.trim_start_matches('>').trim());
            }
            _ => lines.push((number, line.trim_end().to_owned())),
        }
        after_empty = line.trim().is_empty();
    }
    lines
}

fn read(line: &str) -> Result<Line<'_>, &'static str> {
    let named = |rest: &str, kind| match rest.trim().is_empty() {
        true => Err("says nothing"),
        false => Ok(Line::Named(kind)),
    };
    if let Some(name) = line.strip_prefix("demo ") {
        Ok(Line::Demo(name.trim()))
    } else if let Some(rest) = line.strip_prefix('#') {
        named(rest, "heading")
    } else if let Some(rest) = line.strip_prefix('>') {
        named(rest, "statement").map(|_| Line::Statement)
    } else if let Some(rest) = line.strip_prefix("later:") {
        named(rest, "later")
    } else if let Some(rest) = line.strip_prefix("screen:") {
        named(rest, "screen")
    } else if let Some(text) = line.strip_prefix("  ") {
        Ok(Line::Step(text))
    } else {
        Err("no line of the language")
    }
}

fn step(line: usize, text: &str) -> Result<Step, &'static str> {
    let (call, told) = match outside_quotes(text, ": ") {
        Some(at) => (&text[..at], Some(text[at + 2..].trim())),
        None => (text, None),
    };
    let expected = match told {
        None => Expected::Done,
        Some(told) => match told.strip_prefix("refused ") {
            Some(reason) => Expected::Refused(reason.trim().to_owned()),
            None => Expected::Told(told.split(',').map(|word| word.trim().to_owned()).collect()),
        },
    };
    let (text, words) = (text.to_owned(), words(call)?);
    Ok(Step { line, text, words, expected })
}

/// Where a text stands outside quotation marks.
fn outside_quotes(text: &str, wanted: &str) -> Option<usize> {
    let is_outside = |at: usize| text[..at].matches('"').count().is_multiple_of(2);
    text.match_indices(wanted).map(|(at, _)| at).find(|at| is_outside(*at))
}

/// The words; what stands in quotation marks is one, and so is a list with commas.
fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words: Vec<String> = Vec::new();
    for (index, part) in text.split('"').enumerate() {
        if index.is_multiple_of(2) {
            for word in part.split_whitespace() {
                match words.last_mut() {
                    Some(list) if list.ends_with(',') => list.push_str(word),
                    _ => words.push(word.to_owned()),
                }
            }
        } else {
            words.push(part.to_owned());
        }
    }
    let whole = text.matches('"').count().is_multiple_of(2);
    if whole { Ok(words) } else { Err("a quotation mark is missing") }
}

#[test]
fn a_file_is_read_line_by_line() {
    let text = "demo acme\n# Top\n> A long\n> sentence.\n  ann adds a, b to p as viewer:\n      \
                ADDED, REFUSED X\n  ann renames p to \"a: b\"\n> Two.\nlater: Mail.\n> Three.\n\
                screen: Click.\n  bob sees p: refused PORTFOLIO_NOT_FOUND\n";
    let script = parse(text).unwrap();
    assert_eq!(script.demo, "acme");
    let told = |words: &[&str]| Expected::Told(words.iter().map(|&word| word.into()).collect());
    let expected = [
        (5, "ann|adds|a,b|to|p|as|viewer", told(&["ADDED", "REFUSED X"])),
        (7, "ann|renames|p|to|a: b", Expected::Done),
        (12, "bob|sees|p", Expected::Refused("PORTFOLIO_NOT_FOUND".to_owned())),
    ];
    let steps =
        script.steps.into_iter().map(|step| (step.line, step.words.join("|"), step.expected));
    let expected = expected.map(|(line, words, expected)| (line, words.to_owned(), expected));
    assert_eq!(steps.collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_no_line_of_the_language_is_told_with_its_number() {
    let cases = [
        ("# a\n", "1: the first line says `demo NAME`"),
        ("demo a\nann sees p\n", "2: no line of the language: `ann sees p`"),
        ("demo a\n\nLater: x\n", "3: no line of the language: `Later: x`"),
        ("demo a\nlater:\n", "2: says nothing: `later:`"),
        ("demo a\n> \n", "2: says nothing: `>`"),
        ("demo a\n  ann renames p to \"b\n", "2: a quotation mark is missing: `ann renames"),
        ("demo a\n  ann sees p\ndemo b\n", "3: a file has one `demo`, on its top"),
        ("demo a\n> Unshown.\n\n> Shown.\n  ann sees p\n", "2: nothing below it shows that"),
        ("demo a\n> Unshown.\n", "2: nothing below it shows that"),
    ];
    for (text, mistake) in cases {
        let mistakes = parse(text).unwrap_err();
        assert!(mistakes[0].starts_with(mistake), "{text:?}: {mistakes:?}");
    }
}
