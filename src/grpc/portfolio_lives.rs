//! Archiving, restoring and handing over portfolios on the wire.

use super::parse::{self, Violations};
use crate::app::{ArchivePortfolio, RestorePortfolio, TransferOwnership};
use crate::domain::refusal::Refusal;
use crate::proto::v1;

pub(super) fn archive(request: v1::ArchivePortfolioRequest) -> Result<ArchivePortfolio, Refusal> {
    let v1::ArchivePortfolioRequest { request_id: _, portfolio, etag } = request;
    let mut violations = Violations::default();
    let id = violations.check(parse::id("portfolio", &portfolio));
    let etag = violations.check(parse::etag("etag", etag));
    violations.finish((|| Some(ArchivePortfolio { id: id?, etag: etag? }))())
}

pub(super) fn restore(request: v1::RestorePortfolioRequest) -> Result<RestorePortfolio, Refusal> {
    let v1::RestorePortfolioRequest { request_id: _, portfolio, etag } = request;
    let mut violations = Violations::default();
    let id = violations.check(parse::id("portfolio", &portfolio));
    let etag = violations.check(parse::etag("etag", etag));
    violations.finish((|| Some(RestorePortfolio { id: id?, etag: etag? }))())
}

pub(super) fn transfer(
    request: v1::TransferOwnershipRequest,
) -> Result<TransferOwnership, Refusal> {
    let v1::TransferOwnershipRequest { request_id: _, portfolio, new_owner, etag } = request;
    let mut violations = Violations::default();
    let portfolio = violations.check(parse::id("portfolio", &portfolio));
    let new_owner = violations.check(parse::id("new_owner", &new_owner));
    let etag = violations.check(parse::etag("etag", etag));
    violations.finish((|| {
        Some(TransferOwnership { portfolio: portfolio?, new_owner: new_owner?, etag: etag? })
    })())
}
