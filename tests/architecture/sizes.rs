//! How long things are.

use crate::source::{Source, closing, is_word};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const COLUMNS: usize = 100;

/// Its comments are the database's, a line each.
const WIDE: &[&str] = &["src/storage/schema.rs"];

/// A line for each value of an enum, which the compiler counts: split, it could not.
const TABLES: &[(&str, &str)] = &[("src/grpc/status.rs", "classify")];

pub fn long_files(sources: &[Source]) -> Vec<String> {
    let lines = |source: &Source| {
        // Comments count, tests do not.
        let tests = source.text.find("\n#[cfg(test)]\nmod ").unwrap_or(source.text.len());
        if source.is_test() { 0 } else { source.text[..tests].lines().count() }
    };
    let long = sources.iter().map(|source| (source, lines(source)));
    long.filter(|(_, lines)| *lines > FILE_LINES)
        .map(|(source, lines)| {
            format!("{}: {lines} lines, more than {FILE_LINES}: split it", source.path)
        })
        .collect()
}

pub fn long_functions(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (name, line, lines) in functions(&source.program()) {
            let path = &source.path;
            let is_table = TABLES.contains(&(path.as_str(), name.as_str()));
            if lines > FUNCTION_LINES && !is_table {
                complaints.push(format!(
                    "{path}:{line}: `{name}` has {lines} lines, more than {FUNCTION_LINES}"
                ));
            }
        }
    }
    complaints
}

/// The functions with a body: name, first line, number of lines.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let name: String = code[at + 3..].chars().take_while(|c| is_word(*c)).collect();
        if name.is_empty() || code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        if let Some(open) = body(code, at) {
            let line = code[..at].matches('\n').count() + 1;
            let lines = code[at..closing(code, open)].matches('\n').count() + 1;
            found.push((name, line, lines));
        }
    }
    found
}

/// Where the body of the function at `at` opens; none for a declaration. Braces and semicolons in
/// parentheses and brackets belong to types.
fn body(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, c) in code[at..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at + offset),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

pub fn long_lines(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| !WIDE.contains(&source.path.as_str())) {
        for (number, line) in (1..).zip(source.text.lines()) {
            let columns = line.chars().count();
            if columns > COLUMNS {
                complaints.push(format!("{}:{number}: {columns} columns", source.path));
            }
        }
    }
    complaints
}

#[cfg(test)]
fn function(lines: usize) -> String {
    format!("fn long(a: [u8; 2]) -> u8 {{\n{}}}\n", "    step(); // }\n".repeat(lines - 2))
}

#[test]
fn a_long_function_is_found_and_one_at_the_limit_is_not() {
    let of = |lines| long_functions(&[Source::of("src/app/x.rs", &function(lines))]);
    assert_eq!(of(70), Vec::<String>::new());
    assert_eq!(of(71), ["src/app/x.rs:1: `long` has 71 lines, more than 70"]);
}

#[test]
fn functions_are_measured_one_by_one() {
    let code = "trait T { fn declared(&self) -> [u8; 3];\n}\n\
                fn one(f: fn(u8) -> u8)\nwhere\n    T: U,\n{\n    { }\n}\nfn two() {}\n";
    let expected = [("one".to_owned(), 3, 6), ("two".to_owned(), 9, 1)];
    assert_eq!(functions(code), expected);
}

#[test]
fn a_long_file_is_found_and_its_tests_do_not_count() {
    let lines = |n: usize| "// a line\n".repeat(n);
    let of = |text: String| long_files(&[Source::of("src/app/x.rs", &text)]).len();
    assert_eq!(of(lines(500)), 0);
    assert_eq!(of(lines(501)), 1);
    assert_eq!(of(format!("{}\n#[cfg(test)]\nmod tests {{\n{}}}\n", lines(400), lines(400))), 0);
}

#[test]
fn a_wide_line_is_found() {
    let of = |n: usize| long_lines(&[Source::of("src/app/x.rs", &"ä".repeat(n))]).len();
    assert_eq!((of(100), of(101)), (0, 1));
}
