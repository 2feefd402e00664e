use std::collections::BTreeMap;

use super::authorize::Acting;
use super::{Answer, App, Context, Error};
use crate::domain::membership::{Grant, Member, MemberFilter};
use crate::domain::page::{Listed, Page};
use crate::domain::permission::MEMBERS_VIEW;
use crate::domain::{PortfolioId, Subject};
use crate::policy;
use crate::storage::members::MemberProfile;

impl App {
    /// A page of a portfolio's members: users, then groups, then service accounts, each by id in
    /// byte order (MEM-4).
    ///
    /// # Errors
    /// No such portfolio, `members.view` missing.
    pub async fn list_members(
        &self,
        context: &Context,
        portfolio: &PortfolioId,
        filter: &MemberFilter,
        page: &Page<Subject>,
    ) -> Result<Answer<Listed<Member, Subject>>, Error> {
        self.read(context, async |read| {
            let now = read.heads().now;
            let acting =
                Acting::with(read, &context.principal, now, portfolio, &[], MEMBERS_VIEW).await?;
            let links = policy::links(&acting.scene.snapshot, portfolio.as_str());
            let rows = read.members(portfolio, &links, filter, &page.wider(), now).await?;
            let Listed { rows, next } = page.listed(rows, |profile| profile.subject.clone());
            let subjects: Vec<Subject> = rows.iter().map(|row| row.subject.clone()).collect();
            let mut grants: BTreeMap<Subject, Vec<Grant>> = BTreeMap::new();
            for grant in read.grants_in_effect(portfolio, &links, &subjects).await? {
                grants.entry(grant.subject.clone()).or_default().push(grant);
            }
            let member = |profile: MemberProfile| {
                let MemberProfile { subject, display_name, email, company, deactivated } = profile;
                let grants = grants.remove(&subject).unwrap_or_default();
                let (portfolio, as_of) = (portfolio.clone(), now);
                Member {
                    portfolio,
                    subject,
                    display_name,
                    email,
                    company,
                    deactivated,
                    grants,
                    as_of,
                }
            };
            Ok(Listed { rows: rows.into_iter().map(member).collect(), next })
        })
        .await
    }
}
