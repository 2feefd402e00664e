//! The members and the access settings of portfolios.

use portcullis::domain::Subject as DomainSubject;
use portcullis::domain::access_settings::Visibility as ModelVisibility;
use portcullis::proto::v1::*;

use super::{Stage, subject, visibility};
use tonic::Code;

use crate::oracle::{Grant as ModelGrant, Operation, Portfolio as ModelPortfolio, ownership};

fn owns(portfolio: &ModelPortfolio, who: &DomainSubject) -> bool {
    portfolio.owner.as_ref().is_some_and(|owner| ownership(owner).subject == *who)
}

impl Stage {
    pub(super) async fn add_grant(&mut self, portfolio: &str, grant: &ModelGrant) -> bool {
        let expire_time = grant.expire.map(|hour| self.hours.instant(hour));
        let id = grant.subject.id().to_owned();
        let request = AddMembersRequest {
            portfolio: portfolio.to_owned(),
            members: vec![MemberSpec {
                kind: Some(match &grant.subject {
                    DomainSubject::User(_) => member_spec::Kind::User(id),
                    DomainSubject::Group(_) => member_spec::Kind::Group(id),
                    DomainSubject::ServiceAccount(_) => member_spec::Kind::ServiceAccount(id),
                }),
            }],
            role: grant.role.clone(),
            start_time: grant.start.map(|hour| self.hours.instant(hour)),
            end: expire_time.map(add_members_request::End::ExpireTime),
            ..Default::default()
        };
        let backwards = matches!((grant.start, grant.expire), (Some(s), Some(e)) if e <= s);
        let expected = self.expected_addition(portfolio, grant);
        match self.writer().members.add_members(request).await {
            Err(status) if backwards || self.refusal_of_changes(portfolio).is_some() => {
                let code = self.refusal_of_changes(portfolio);
                let code = code.unwrap_or(tonic::Code::InvalidArgument);
                assert_eq!(status.code(), code, "{status:?}");
                false
            }
            response => {
                let response = response.unwrap().into_inner();
                self.token = response.consistency_token;
                assert_eq!(response.outcomes[0].status(), expected, "{grant:?}");
                expected == AddMemberStatus::Added
            }
        }
    }

    pub(super) fn expected_addition(&self, portfolio: &str, grant: &ModelGrant) -> AddMemberStatus {
        let member = self.is_member(portfolio, &grant.subject);
        let id = grant.subject.id();
        let active = !self.model.users.iter().any(|user| user.id == id && user.deactivated)
            && self.model.service_accounts.iter().all(|account| account.id != id || account.active);
        let internal = self.model.is_internal(&grant.subject);
        let account = matches!(grant.subject, DomainSubject::ServiceAccount(_));
        match (member, internal && active) {
            // A service account that was deactivated is refused before its grants are looked at.
            (true, false) if account => AddMemberStatus::Refused,
            (true, _) => AddMemberStatus::AlreadyMember,
            (false, true) => AddMemberStatus::Added,
            (false, false) => AddMemberStatus::Refused,
        }
    }

    /// By grants of the portfolio's own, or by owning it.
    fn is_member(&self, portfolio: &str, who: &DomainSubject) -> bool {
        let granted = |known: &ModelPortfolio| known.grants.iter().any(|g| g.subject == *who);
        let known = self.model.portfolio(portfolio);
        known.is_some_and(|known| granted(known) || owns(known, who))
    }

    pub(super) async fn remove_grants(&mut self, id: &str, member: &DomainSubject) -> bool {
        let owner = self.model.portfolio(id).is_some_and(|known| owns(known, member));
        let refused = self.is_linked(id) || (owner && !self.model.is_deactivated(member));
        let refusal = match refused {
            true => Some(Code::FailedPrecondition),
            false => (!self.is_member(id, member)).then_some(Code::NotFound),
        };
        let (portfolio, subject) = (id.to_owned(), Some(subject(member)));
        let request = RemoveMemberRequest { portfolio, subject, ..Default::default() };
        match self.writer().members.remove_member(request).await {
            Ok(response) => {
                assert_eq!(refusal, None, "{member} of {id}");
                self.token = response.into_inner().consistency_token;
            }
            Err(status) => assert_eq!(Some(status.code()), refusal, "{status:?}"),
        }
        if owner && refusal.is_none() {
            let (portfolio, owner) = (id.to_owned(), None);
            self.model.perform(&Operation::SetOwner { portfolio, owner });
        }
        refusal.is_none()
    }

    pub(super) async fn set_settings(
        &mut self,
        id: &str,
        wanted: ModelVisibility,
        role: &str,
    ) -> bool {
        let access_settings = AccessSettings {
            portfolio: id.to_owned(),
            visibility: visibility(wanted),
            organization_access_role: role.to_owned(),
            ..Default::default()
        };
        let paths = vec!["visibility".to_owned(), "organization_access_role".to_owned()];
        let request = UpdateAccessSettingsRequest {
            access_settings: Some(access_settings),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..Default::default()
        };
        let refusal = self.refusal_of_changes(id);
        match self.writer().settings.update_access_settings(request).await {
            Ok(response) => self.token = response.into_inner().consistency_token,
            Err(status) => assert_eq!(Some(status.code()), refusal, "{status:?}"),
        }
        refusal.is_none()
    }
}
