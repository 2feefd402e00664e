//! What an item starts with that is created from a portfolio (ACC-7).

use std::collections::BTreeSet;

use crate::domain::fact::{FactKey, GrantFact, PortfolioFact};
use crate::domain::item::{ItemGrant, MAX_ITEM_GRANTS, OwnSettings};
use crate::domain::portfolio::MOST_LINKS;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::role::MANAGER;
use crate::domain::{OrganizationId, PortfolioId, Subject, UserId};
use crate::storage::{Failure, Write};

/// A copy of the settings in force on a portfolio: those of the root of its chain, and the owners
/// along the way there. What has ended is left out; the item's owner has the ownership.
pub(super) async fn copied(
    write: &mut Write,
    organization: &OrganizationId,
    portfolio: &PortfolioId,
    owner: Option<&UserId>,
) -> Result<OwnSettings, Failure> {
    let now = write.now();
    let mut at = portfolio.clone();
    let mut given: Vec<GrantFact> = Vec::new();
    for _ in 0..=MOST_LINKS {
        let keys = [FactKey::Portfolio(at.clone())];
        let found = write.organization_facts_of(organization, &keys).await?.portfolios.pop();
        let Some((_, Some(fact))) = found else { break };
        let PortfolioFact { link, visibility, organization_access_role, grants, .. } = fact;
        given.extend(grants);
        let Some(link) = link else {
            let has_ended = |grant: &GrantFact| grant.expire_time.is_some_and(|end| end <= now);
            let lasting = given.into_iter().filter(|grant| !has_ended(grant)).map(item_grant);
            let of_owner = |grant: &ItemGrant| {
                owner.is_some_and(|owner| grant.subject == Subject::User(owner.clone()))
                    && grant.role.as_str() == MANAGER
            };
            let grants: BTreeSet<ItemGrant> = lasting.filter(|grant| !of_owner(grant)).collect();
            if grants.len() > MAX_ITEM_GRANTS {
                return Err(too_many(portfolio, grants.len()).into());
            }
            let grants = grants.into_iter().collect();
            return Ok(OwnSettings { visibility, organization_access_role, grants });
        };
        at = link;
    }
    Err(Refusal::portfolio_not_found(portfolio).into())
}

fn item_grant(GrantFact { subject, role, start_time, expire_time }: GrantFact) -> ItemGrant {
    ItemGrant { subject, role, start_time, expire_time }
}

fn too_many(portfolio: &PortfolioId, actual: usize) -> Refusal {
    let message = format!(
        "portfolio `{portfolio}` has {actual} grants; an item takes at most {MAX_ITEM_GRANTS}: \
         give groups instead"
    );
    Refusal::new(Reason::TooManyItemGrants, message)
        .with("portfolio", portfolio)
        .with("limit", MAX_ITEM_GRANTS)
}
