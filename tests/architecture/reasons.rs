//! Which reasons of errors are ever given.

use crate::source::{Source, is_word};

/// A value of the enum in `error_reason.proto`.
#[derive(Debug, PartialEq, Eq)]
pub struct Reason {
    /// As Rust names it: `PortfolioNotFound`.
    pub variant: String,
    /// Documented as given by no version yet.
    pub reserved: bool,
}

/// The values that the proto declares, apart from the unspecified one.
pub fn declared(proto: &str) -> Vec<Reason> {
    let mut comment = String::new();
    let mut reasons = Vec::new();
    for line in proto.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("//") {
            comment.push_str(text);
            continue;
        }
        let name = line.strip_prefix("ERROR_REASON_").and_then(|line| line.split_once(" ="));
        if let Some((name, _)) = name.filter(|(name, _)| *name != "UNSPECIFIED") {
            let reserved = comment.to_lowercase().contains("reserved");
            reasons.push(Reason { variant: camel(name), reserved });
        }
        comment.clear();
    }
    reasons
}

fn camel(name: &str) -> String {
    let word = |word: &str| word[..1].to_owned() + &word[1..].to_lowercase();
    name.split('_').map(word).collect()
}

/// The domain has a `Reason` of most names; translating that is not yet giving it.
pub fn never_given(reasons: &[Reason], sources: &[Source]) -> Vec<String> {
    let programs: Vec<(&str, String)> =
        sources.iter().map(|source| (source.path.as_str(), source.program())).collect();
    let mut complaints = Vec::new();
    for Reason { variant, reserved } in reasons {
        let somewhere = |what: &str, but: &[&str]| {
            // The decider has reasons of its own.
            let other = |path: &str| but.contains(&path) || path.starts_with("src/policy/");
            let mut programs = programs.iter().filter(|(path, _)| !other(path));
            programs.any(|(_, program)| has(program, what, variant))
        };
        let told = somewhere("ErrorReason", &[]);
        let translated = programs
            .iter()
            .any(|(path, program)| *path == TRANSLATOR && has(program, "Reason", variant));
        let given = !translated || somewhere("Reason", &[TRANSLATOR]);
        let heard_of = told && given;
        if !reserved && !heard_of {
            complaints
                .push(format!("nobody gives `{variant}`: give it, or document it as reserved"));
        }
    }
    complaints
}

/// Makes wire errors of the domain's refusals.
const TRANSLATOR: &str = "src/grpc/status.rs";

fn has(program: &str, kind: &str, variant: &str) -> bool {
    spellings(program, kind).iter().any(|name| {
        let path = format!("{name}::{variant}");
        program.match_indices(&path).any(|(at, _)| {
            !program[..at].ends_with(is_word) && !program[at + path.len()..].starts_with(is_word)
        })
    })
}

/// The enum's name, and what it is imported as.
fn spellings(program: &str, kind: &str) -> Vec<String> {
    let mark = format!("{kind} as ");
    let aliases = program.match_indices(&mark).filter(|(at, _)| !program[..*at].ends_with(is_word));
    let alias = |(at, _)| program[at + mark.len()..].chars().take_while(|c| is_word(*c)).collect();
    aliases.map(alias).chain([kind.to_owned()]).collect()
}

#[test]
fn the_values_are_read_with_their_comments() {
    let proto = "enum ErrorReason {\n  // None.\n  ERROR_REASON_UNSPECIFIED = 0;\n\n  \
                 // Taken.\n  \
                 ERROR_REASON_ID_TAKEN = 301;\n  \
                 // Reserved for\n  // later.\n  ERROR_REASON_OWNER = 3;\n}";
    let expected = [("IdTaken", false), ("Owner", true)]
        .map(|(variant, reserved)| Reason { variant: variant.to_owned(), reserved });
    assert_eq!(declared(proto), expected);
}

#[test]
fn a_reason_that_is_only_translated_is_never_given() {
    let reason = |reserved| [Reason { variant: "Owner".to_owned(), reserved }];
    let translate =
        || Source::of(TRANSLATOR, "match r { Reason::Owner => ErrorReason::Owner, _ => f() }");
    let give = |text| Source::of("src/app/members.rs", text);
    assert_eq!(never_given(&reason(false), &[translate()]).len(), 1);
    assert_eq!(never_given(&reason(true), &[translate()]).len(), 0);
    let similar = "Refusal::new(Reason::OwnerGone); Route::Owner";
    assert_eq!(never_given(&reason(false), &[translate(), give(similar)]).len(), 1);
    let given = "Refusal::new(Reason::Owner)";
    assert_eq!(never_given(&reason(false), &[translate(), give(given)]).len(), 0);
    assert_eq!(never_given(&reason(false), &[give(given)]).len(), 1, "clients never hear of it");
    let renamed = give("use r::Reason as Why; Refusal::new(Why::Owner)");
    assert_eq!(never_given(&reason(false), &[translate(), renamed]).len(), 0);
    let straight = Source::of(TRANSLATOR, "fn f() { ErrorReason::Owner }");
    assert_eq!(never_given(&reason(false), &[straight]).len(), 0);
}
