//! Decisions on portfolios at the end of the longest chains of links, and the same on their roots.

use portcullis::domain::fact::{GrantFact, OrganizationChanges, PortfolioFact};
use portcullis::domain::portfolio::MOST_LINKS;
use portcullis::domain::{PortfolioId, RoleKey};
use portcullis::policy::{Global, Snapshot};

use super::{Figures, Question, Questions, SAMPLE, per_call};
use crate::report::quantile;
use crate::world::{self, World};

/// How many questions of either kind: each has a chain of its own.
const DRAWN: usize = 1 << 10;

pub fn decisions(world: World, global: &Global, snapshot: &Snapshot, figures: &mut Figures) {
    let mut questions = Questions { world, global, snapshot, drawn: 0 };
    let on_roots: Vec<Question> =
        (0..2 * DRAWN).map(|n| questions.draw((n / SAMPLE).is_multiple_of(2))).collect();
    let mut portfolios = Vec::new();
    let mut on_leaves = Vec::new();
    for (number, question) in on_roots.iter().enumerate() {
        let mut above = question.portfolio.clone();
        for link in 0..MOST_LINKS {
            let fact = linked(world, number, link, above);
            above = fact.id.clone();
            portfolios.push((fact.id.clone(), Some(fact)));
        }
        on_leaves.push(Question { subject: question.subject.clone(), portfolio: above });
    }
    let changes = OrganizationChanges { portfolios, ..OrganizationChanges::default() };
    let snapshot = snapshot.apply(changes, global);
    let ask = |it: &Question| it.ask(global, &snapshot);
    assert!(on_roots.iter().zip(&on_leaves).all(|(root, leaf)| ask(root) == ask(leaf)));
    let (mut roots, mut leaves) = (Vec::new(), Vec::new());
    for _ in 0..64 {
        for (root, leaf) in on_roots.chunks(SAMPLE).zip(on_leaves.chunks(SAMPLE)) {
            roots.push(per_call(root, ask));
            leaves.push(per_call(leaf, ask));
        }
    }
    let (roots, leaves) = (quantile(&roots, 0.5), quantile(&leaves, 0.5));
    figures.add("decide_ns_linked_0", roots);
    figures.add("decide_ns_linked_16", leaves);
    figures.add("decide_linked_16_over_0", leaves / roots);
}

/// The next of a chain, with an owner of its own: nobody who is asked about.
fn linked(world: World, chain: usize, link: usize, above: PortfolioId) -> PortfolioFact {
    let owner = GrantFact {
        subject: format!("user:owner-{chain}-{link}").parse().expect("a subject"),
        role: RoleKey::manager(),
        start_time: None,
        expire_time: None,
    };
    PortfolioFact {
        id: format!("linked-{chain}-{link}").parse().expect("an id"),
        link: Some(above),
        grants: vec![owner],
        ..world.portfolio(world::pick(13, chain, link, world.portfolios))
    }
}
