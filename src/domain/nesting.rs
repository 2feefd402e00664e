//! Portfolios below portfolios: never below themselves, not too deep, not too many links in a row
//! (INH-1).

use super::ids::PortfolioId;
use super::portfolio::MOST_LINKS;

/// How many portfolios are one below the other, at most.
pub const MOST_NESTED: usize = 64;

/// A portfolio above another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Which.
    pub id: PortfolioId,
    /// Whether its settings are those of the next above it.
    pub linked: bool,
}

/// How far it goes down below a portfolio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Below {
    /// Portfolios one below the other.
    pub nested: usize,
    /// Links in a row that lead to it.
    pub linked: usize,
}

/// Why a portfolio cannot be where it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// It would be below itself: the portfolios on the cycle, each below the next.
    Cycle(Vec<PortfolioId>),
    /// So many portfolios would be one below the other.
    TooDeep(usize),
    /// So many links would be in a row: the portfolios from it to the one whose settings would be
    /// in effect.
    TooManyLinks(usize, Vec<PortfolioId>),
}

/// Whether a portfolio may be below another. `above` is the new parent and all that it is below,
/// in this order.
///
/// # Errors
/// Why it may not.
pub fn admit(id: &PortfolioId, below: Below, above: &[Ancestor]) -> Result<(), Misplaced> {
    let ids = above.iter().map(|ancestor| &ancestor.id);
    if let Some(place) = above.iter().position(|ancestor| ancestor.id == *id) {
        let cycle = std::iter::once(id).chain(ids.take(place + 1));
        return Err(Misplaced::Cycle(cycle.cloned().collect()));
    }
    let depth = above.len() + 1 + below.nested;
    if depth > MOST_NESTED { Err(Misplaced::TooDeep(depth)) } else { Ok(()) }
}

/// Whether a portfolio may be linked to another, with `below` and `above` as for [`admit`].
///
/// # Errors
/// Why it may not.
pub fn admit_link(id: &PortfolioId, below: Below, above: &[Ancestor]) -> Result<(), Misplaced> {
    let above_linked = above.iter().take_while(|ancestor| ancestor.linked).count();
    let links = below.linked + 1 + above_linked;
    if links <= MOST_LINKS {
        return Ok(());
    }
    let chain = above.iter().take(above_linked + 1).map(|ancestor| &ancestor.id);
    Err(Misplaced::TooManyLinks(links, std::iter::once(id).chain(chain).cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PortfolioId {
        text.parse().unwrap()
    }

    fn above(count: usize, linked: usize) -> Vec<Ancestor> {
        (0..count).map(|n| Ancestor { id: id(&format!("p{n}")), linked: n < linked }).collect()
    }

    #[test]
    fn inh_1_a_cycle_is_named() {
        let ids = |found: &[&str]| Misplaced::Cycle(found.iter().map(|text| id(text)).collect());
        let above = above(3, 0);
        assert_eq!(admit(&id("p1"), Below::default(), &above), Err(ids(&["p1", "p0", "p1"])));
        assert_eq!(admit(&id("p0"), Below::default(), &above), Err(ids(&["p0", "p0"])));
        assert_eq!(admit(&id("a"), Below::default(), &above), Ok(()));
    }

    #[test]
    fn inh_1_what_is_above_and_below_counts_together() {
        let below = |nested, linked| Below { nested, linked };
        assert_eq!(admit(&id("a"), below(0, 0), &above(63, 0)), Ok(()));
        assert_eq!(admit(&id("a"), below(0, 0), &above(64, 0)), Err(Misplaced::TooDeep(65)));
        assert_eq!(admit(&id("a"), below(33, 0), &above(31, 0)), Err(Misplaced::TooDeep(65)));
        assert_eq!(admit_link(&id("a"), below(9, 0), &above(20, 15)), Ok(()));
        assert_eq!(admit_link(&id("a"), below(9, 7), &above(20, 8)), Ok(()));
        let refused = admit_link(&id("a"), below(9, 8), &above(20, 8));
        let Err(Misplaced::TooManyLinks(17, chain)) = refused else { panic!("{refused:?}") };
        assert_eq!((chain.len(), chain[0].as_str(), chain[9].as_str()), (10, "a", "p8"));
    }
}
