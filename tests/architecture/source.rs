//! Sources, and what of them is code.

use std::fs;
use std::path::Path;

/// A file of the package.
pub struct Source {
    /// Below the package's root, with `/`.
    pub path: String,
    pub text: String,
}

impl Source {
    #[cfg(test)]
    pub fn of(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The files at or below these places of the package that end so, sorted.
    pub fn all(places: &[&str], endings: &[&str]) -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = Vec::new();
        for place in places {
            collect(root, &root.join(place), endings, &mut sources);
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        sources
    }

    /// The folder or file below `src` that this is part of, without `.rs`.
    pub fn room(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let room = inner.split('/').next().unwrap_or(inner);
        room.strip_suffix(".rs").unwrap_or(room)
    }

    /// Whether all of the file is tests.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("/tests.rs")
    }

    /// The code, without comments, texts and what only tests compile; the same lines.
    pub fn program(&self) -> String {
        if self.is_test() { String::new() } else { without_tests(&code(&self.text)) }
    }

    /// The names of the tests in it.
    pub fn tests(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut is_test = false;
        for line in code(&self.text).lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                names.push(rest.chars().take_while(|c| is_word(*c)).collect());
                is_test = false;
            }
        }
        names
    }
}

fn collect(root: &Path, place: &Path, endings: &[&str], sources: &mut Vec<Source>) {
    if place.is_dir() {
        for entry in fs::read_dir(place).expect("a folder of the package is read") {
            collect(root, &entry.expect("an entry is read").path(), endings, sources);
        }
        return;
    }
    let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ending = name.rsplit('.').next().unwrap_or(name);
    let asked_for = place.strip_prefix(root).is_ok_and(|path| path.iter().count() == 1);
    if place.is_file() && (asked_for || endings.contains(&ending)) {
        let text = fs::read_to_string(place).expect("a source is read");
        let path = place.strip_prefix(root).expect("is of the package");
        let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        sources.push(Source { path: parts.join("/"), text });
    }
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanks comments and the contents of texts and characters out; lines stay lines.
pub fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let length = if is_word(before) { 0 } else { raw_text(rest) };
        let length = match first {
            _ if length > 0 => length,
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest, '"'),
            '\'' => character(rest),
            _ => 0,
        };
        if length == 0 {
            out.push(first);
            before = first;
            rest = &rest[first.len_utf8()..];
        } else {
            let (blank, after) = rest.split_at(length);
            out.extend(blank.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            before = ' ';
            rest = after;
        }
    }
    out
}

/// The length of `r"..."`, `br#"..."#` and their kin; 0 if the text does not begin with one.
fn raw_text(text: &str) -> usize {
    let inner = text.strip_prefix('b').unwrap_or(text);
    let Some(inner) = inner.strip_prefix('r') else { return 0 };
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    if !inner[hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = text.len() - inner.len() + hashes + 1;
    text[begin..].find(&end).map_or(text.len(), |at| begin + at + end.len())
}

fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == mark => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character; 0 for the mark of a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 0,
    }
}

fn block_comment(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if text[at..].starts_with("*/") {
            (at, depth) = (at + 2, depth - 1);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Where the brace at `open` is closed.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return open + at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Blanks out what stands under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = code.to_owned();
    while let Some(begin) = out.find(MARK) {
        let after = begin + MARK.len();
        let next = out[after..].find(['{', ';']).map_or(out.len(), |at| after + at);
        let end = if out[next..].starts_with('{') { closing(&out, next) } else { next };
        let end = (end + 1).min(out.len());
        let blank = out[begin..end].chars().filter(|c| *c == '\n').collect::<String>();
        out.replace_range(begin..end, &blank);
    }
    out
}

#[test]
fn texts_and_comments_are_no_code() {
    let text = r##"
let a = "todo!() \" // {"; // dbg!()
let b = r#"{ " "#; /* { /* nested */ { */ let c = '{'; let d = '\''; let e = '"';
fn f<'a>(x: &'a str) -> &'a str { x }
"##;
    let code = code(text);
    assert_eq!(code.lines().count(), text.lines().count());
    for word in ["todo", "dbg", "nested", "\""] {
        assert!(!code.contains(word), "{word} is left in {code}");
    }
    for word in ["let c =", "let d =", "let e =", "fn f<'a>(x: &'a str) -> &'a str { x }"] {
        assert!(code.contains(word), "{word} is gone from {code}");
    }
    assert_eq!(code.matches('{').count(), 1);
}

#[test]
fn what_only_tests_compile_is_not_the_program() {
    let tests = "#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod more {\n fn b() { {} }\n}";
    let text = format!("fn a() {{}}\n{tests}\nfn c() {{}}");
    let program = Source::of("src/app/x.rs", &text).program();
    assert_eq!(program, format!("fn a() {{}}\n{}\nfn c() {{}}", "\n".repeat(5)));
    assert_eq!(Source::of("src/policy/tests.rs", &text).program(), "");
}

#[test]
fn tests_are_found_by_their_attribute() {
    let text = "#[test]\n#[cfg(unix)]\nfn one() {}\n\
                #[tokio::test(flavor = \"x\")]\nasync fn two() {}\nfn three() {}\n\
                proptest! {\n    #[test]\n    fn four(x in 0..3) {}\n}\n// #[test]\nfn five() {}";
    assert_eq!(Source::of("src/a.rs", text).tests(), ["one", "two", "four"]);
}

#[test]
fn a_file_belongs_to_its_room() {
    let rooms = ["src/app/x/y.rs", "src/clock.rs", "src/main.rs"].map(|path| Source::of(path, ""));
    assert_eq!(rooms.each_ref().map(Source::room), ["app", "clock", "main"]);
}
