//! Which rules of `docs/semantics.md` have a test that names them.

/// The rules that hold now, as names of tests write them: `mem_6_...`.
const RULES: &[(&str, &[u8])] = &[
    ("dir", &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ("rol", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ("aut", &[1, 2, 3]),
    ("vis", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ("acc", &[1, 2, 3, 4, 8, 9, 10]),
    ("mem", &[1, 2, 4, 5, 6, 9, 12]),
    ("inh", &[1, 2, 3, 4, 5, 6]),
    ("evt", &[1, 4]),
    ("rev", &[1, 2, 3, 4]),
    ("bad", &[1, 2, 3]),
];

pub fn unnamed(tests: &[String]) -> Vec<String> {
    let rules = RULES
        .iter()
        .flat_map(|(group, numbers)| numbers.iter().map(move |number| format!("{group}_{number}")));
    rules
        .filter(|rule| !tests.iter().any(|test| names(test, rule)))
        .map(|rule| format!("no test is named `{rule}_...`"))
        .collect()
}

fn names(test: &str, rule: &str) -> bool {
    format!("_{test}_").contains(&format!("_{rule}_"))
}

#[test]
fn a_rule_is_named_as_a_whole() {
    assert!(names("mem_6_the_last_manager_stays", "mem_6"));
    assert!(names("vis_2_vis_3_openness", "vis_3"));
    assert!(!names("acc_10_an_answer_holds", "acc_1"));
    assert!(!names("item_6", "mem_6"));
}

#[test]
fn a_rule_without_a_test_is_complained_about() {
    let every: usize = RULES.iter().map(|(_, numbers)| numbers.len()).sum();
    assert_eq!(unnamed(&[]).len(), every);
    assert!(!unnamed(&["rev_4_x".to_owned()]).iter().any(|complaint| complaint.contains("rev_4")));
}
