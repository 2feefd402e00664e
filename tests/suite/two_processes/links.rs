//! Links between portfolios, and who owns them.

use portcullis::proto::v1::*;
use tonic::Code;

use super::Stage;
use crate::oracle::{Operation, ownership};

/// The most links in a row (INH-1).
const MOST_LINKS: usize = 16;

impl Stage {
    /// Moves the portfolio below the other and links it there, wherever it was before; or, without
    /// another, gives it back what is its own.
    pub(super) async fn set_link(&mut self, id: &str, link: Option<&str>) -> bool {
        match link {
            Some(parent) => self.link_below(id, parent).await,
            None => self.restore_own(id).await,
        }
    }

    async fn link_below(&mut self, id: &str, parent: &str) -> bool {
        let refusal = self.refusal_of_links(id, parent);
        let (portfolio, above) = (id.to_owned(), parent.to_owned());
        let request =
            MovePortfolioRequest { portfolio, parent: above, link: true, ..Default::default() };
        match self.writer().portfolios.move_portfolio(request).await {
            Ok(response) => {
                assert_eq!(refusal, None, "{id} below {parent}");
                self.token = response.into_inner().consistency_token;
                self.parents.insert(id.to_owned(), parent.to_owned());
            }
            Err(status) => assert_eq!(Some(status.code()), refusal, "{status:?}"),
        }
        refusal.is_none()
    }

    fn refusal_of_links(&self, id: &str, parent: &str) -> Option<Code> {
        let known = self.model.portfolio(id);
        if known.is_none() || (!self.is_archived(id) && !self.has(parent)) {
            return Some(Code::NotFound);
        }
        let above = |id: &String| self.parents.get(id).cloned();
        let mut ancestors = std::iter::successors(Some(parent.to_owned()), above);
        let linked_already = known.is_some_and(|known| known.link.as_deref() == Some(parent));
        let refused = self.is_archived(id)
            || (!linked_already && self.makes_a_long_chain(id, parent))
            || ancestors.any(|ancestor| ancestor == id);
        refused.then_some(Code::FailedPrecondition)
    }

    fn makes_a_long_chain(&self, id: &str, parent: &str) -> bool {
        let place = |of: &str| self.model.chain(of).iter().position(|known| known.id == id);
        let below = self.model.portfolios.iter().filter_map(|known| place(&known.id)).max();
        let above = self.model.chain(parent).len() - 1;
        below.unwrap_or_default() + 1 + above > MOST_LINKS
    }

    async fn restore_own(&mut self, id: &str) -> bool {
        let linked = self.is_linked(id);
        let refusal = match self.has(id) {
            false => Some(Code::NotFound),
            true => (self.is_archived(id) || !linked).then_some(Code::FailedPrecondition),
        };
        self.unlink_settings(id, true, refusal).await
    }

    /// Leaves the portfolio a copy: by unlinking it, or by moving it to the top.
    pub(super) async fn unlink(&mut self, id: &str) -> bool {
        let archived = self.is_archived(id).then_some(Code::FailedPrecondition);
        let refusal = if self.has(id) { archived } else { Some(Code::NotFound) };
        if self.turn.is_multiple_of(3) {
            let portfolio = id.to_owned();
            let request = MovePortfolioRequest { portfolio, ..Default::default() };
            match self.writer().portfolios.move_portfolio(request).await {
                Ok(response) => {
                    assert_eq!(refusal, None, "{id} to the top");
                    self.token = response.into_inner().consistency_token;
                    self.parents.remove(id);
                }
                Err(status) => assert_eq!(Some(status.code()), refusal, "{status:?}"),
            }
            return refusal.is_none();
        }
        let not_linked = (!self.is_linked(id)).then_some(Code::FailedPrecondition);
        self.unlink_settings(id, false, refusal.or(not_linked)).await
    }

    async fn unlink_settings(&mut self, id: &str, restore: bool, refusal: Option<Code>) -> bool {
        let portfolio = id.to_owned();
        let request = UnlinkAccessSettingsRequest { portfolio, restore, ..Default::default() };
        match self.writer().settings.unlink_access_settings(request).await {
            Ok(response) => {
                assert_eq!(refusal, None, "unlinking {id}");
                self.token = response.into_inner().consistency_token;
            }
            Err(status) => assert_eq!(Some(status.code()), refusal, "{status:?}"),
        }
        refusal.is_none()
    }

    /// Hands the portfolio over: to somebody of the world, or back to whom it began with. The
    /// former owner goes on managing it, by the portfolio's own grants.
    pub(super) async fn set_owner(&mut self, id: &str, owner: Option<&str>) {
        let may_own = self.model.users.iter().any(|user| {
            let subject = ownership(&user.id).subject;
            owner == Some(&user.id) && !user.deactivated && self.model.is_internal(&subject)
        });
        let refusal = match self.model.portfolio(id) {
            None => Some(Code::NotFound),
            Some(known) => (known.archived || (owner.is_some() && !may_own))
                .then_some(Code::FailedPrecondition),
        };
        let new_owner = owner.unwrap_or(super::OWNER).to_owned();
        let portfolio = id.to_owned();
        let request = TransferOwnershipRequest { portfolio, new_owner, ..Default::default() };
        match self.writer().portfolios.transfer_ownership(request).await {
            Ok(response) => {
                assert_eq!(refusal, None, "{id} to {owner:?}");
                self.token = response.into_inner().consistency_token;
            }
            Err(status) => {
                assert_eq!(Some(status.code()), refusal, "{id} to {owner:?}: {status:?}");
                return;
            }
        }
        let former = self.model.portfolio(id).and_then(|known| known.owner.clone());
        let (portfolio, owner) = (id.to_owned(), owner.map(str::to_owned));
        if let Some(former) = former.filter(|former| Some(former) != owner.as_ref()) {
            let (portfolio, grant) = (portfolio.clone(), ownership(&former));
            self.model.perform(&Operation::AddGrant { portfolio, grant });
        }
        self.model.perform(&Operation::SetOwner { portfolio, owner });
    }

    pub(super) fn is_linked(&self, id: &str) -> bool {
        self.model.portfolio(id).is_some_and(|known| known.link.is_some())
    }
}
