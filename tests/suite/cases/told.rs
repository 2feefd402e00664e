//! What comes of a call, in words, and whether it is what a step says.

use portcullis::proto::v1;
use tonic::Status;

use super::language::Expected;
use crate::harness::reason;

/// What a call told.
#[derive(Debug)]
pub enum Told {
    /// One thing, in words: those of the step have to be among them.
    One(Vec<String>),
    /// A list: it has to be just that of the step, in whatever order.
    All(Vec<String>),
    /// An outcome, in words, for each entry of a batch: the step says one for each of them, or one
    /// for all, and at least the words that matter.
    Each(Vec<Vec<String>>),
}

/// What came in place of what a step says; none if it came. A verdict is the word that the outcome
/// of each entry has to have.
pub fn instead(
    answer: Result<Told, Status>,
    expected: &Expected,
    verdict: Option<&str>,
) -> Option<String> {
    let told = match answer {
        Ok(told) => told,
        Err(status) => {
            let is_it = matches!(expected, Expected::Refused(wanted) if *wanted == reason(&status));
            let told = format!("refused {}: {}", reason(&status), status.message());
            return (!is_it).then_some(told);
        }
    };
    let is_it = match (&told, expected) {
        (_, Expected::Refused(_)) => false,
        (Told::Each(entries), expected) => each(entries, expected, verdict),
        (_, Expected::Done) => true,
        (Told::One(all), Expected::Told(some)) => some.iter().all(|word| all.contains(word)),
        (Told::All(found), Expected::Told(wanted)) => same(found, wanted),
    };
    (!is_it).then(|| told.text())
}

fn each(entries: &[Vec<String>], expected: &Expected, verdict: Option<&str>) -> bool {
    let has = |entry: &[String], wanted: &str| {
        wanted.split(' ').all(|word| entry.iter().any(|found| found == word))
    };
    let is_fine = |entry: &Vec<String>| match verdict {
        Some(verdict) => has(entry, verdict),
        None => true,
    };
    let said = match expected {
        Expected::Told(wanted) if wanted.len() == 1 => {
            entries.iter().all(|entry| wanted.iter().all(|wanted| has(entry, wanted)))
        }
        Expected::Told(wanted) => {
            let pairs = entries.iter().zip(wanted);
            wanted.len() == entries.len() && { pairs }.all(|(entry, wanted)| has(entry, wanted))
        }
        _ => !entries.iter().any(|entry| has(entry, "REFUSED")),
    };
    said && entries.iter().all(is_fine)
}

fn same(found: &[String], wanted: &[String]) -> bool {
    let sorted = |words: &[String]| {
        let mut words = words.to_vec();
        words.sort_unstable();
        words
    };
    match wanted {
        [none] if none == "nobody" || none == "nothing" => found.is_empty(),
        wanted => sorted(found) == sorted(wanted),
    }
}

impl Told {
    fn text(&self) -> String {
        match self {
            Self::All(words) if words.is_empty() => "nothing".to_owned(),
            Self::One(words) | Self::All(words) => words.join(", "),
            Self::Each(entries) => {
                entries.iter().map(|words| words.join(" ")).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

/// `user:ann` as `ann`, others with their kind.
pub fn name(subject: Option<&v1::Subject>) -> String {
    use v1::subject::Kind;
    match subject.and_then(|subject| subject.kind.as_ref()) {
        Some(Kind::User(id)) => id.clone(),
        Some(Kind::Group(id)) => format!("group:{id}"),
        Some(Kind::ServiceAccount(id)) => format!("service_account:{id}"),
        None => "nobody".to_owned(),
    }
}

/// `OPEN` of `VISIBILITY_OPEN`, as people write it.
pub fn lower(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

fn wanted(words: &[&str]) -> Expected {
    Expected::Told(words.iter().map(|&word| word.to_owned()).collect())
}

#[test]
fn lists_are_compared_as_a_whole_and_things_by_what_is_said_of_them() {
    let of = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let list = || Ok(Told::All(of(&["b", "a"])));
    assert_eq!(instead(list(), &wanted(&["a", "b"]), None), None);
    assert_eq!(instead(list(), &wanted(&["a"]), None).unwrap(), "b, a");
    assert_eq!(instead(list(), &wanted(&["nobody"]), None).unwrap(), "b, a");
    assert_eq!(instead(Ok(Told::All(Vec::new())), &wanted(&["nobody"]), None), None);
    let thing = || Ok(Told::One(of(&["open", "owner ann"])));
    assert_eq!(instead(thing(), &wanted(&["owner ann"]), None), None);
    assert_eq!(instead(thing(), &wanted(&["private"]), None).unwrap(), "open, owner ann");
    let refused = Expected::Refused("OWNER".to_owned());
    assert_eq!(instead(thing(), &refused, None).unwrap(), "open, owner ann");
}

#[test]
fn outcomes_are_compared_one_by_one_or_all_with_one() {
    let entry = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let two = || Ok(Told::Each(vec![entry("ADDED"), entry("REFUSED USER_NOT_FOUND")]));
    assert_eq!(instead(two(), &wanted(&["ADDED", "REFUSED USER_NOT_FOUND"]), None), None);
    for wrong in [&["ADDED"][..], &["ADDED", "REFUSED OWNER"], &["ADDED", "REFUSED", "ADDED"]] {
        assert!(instead(two(), &wanted(wrong), None).is_some(), "{wrong:?}");
    }
    assert!(instead(two(), &Expected::Done, None).is_some(), "a refused entry goes unmentioned");
    let yes = || Ok(Told::Each(vec![entry("allowed DIRECT_GRANT"), entry("allowed GROUP_GRANT")]));
    assert_eq!(instead(yes(), &Expected::Done, Some("allowed")), None);
    assert!(instead(yes(), &Expected::Done, Some("denied")).is_some());
    assert!(instead(yes(), &wanted(&["DIRECT_GRANT"]), Some("allowed")).is_some());
}
