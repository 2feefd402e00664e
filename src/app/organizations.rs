use super::authorize::require_organization;
use super::reach::{require_administrator, require_user_for};
use super::{Answer, App, Context, Error, generated};
use crate::domain::access_settings::Visibility;
use crate::domain::directory::{ExternalsJoin, Organization, SiteRole, User};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::role::Preset;
use crate::domain::{OrganizationId, UserId};
use crate::storage::{Failure, Scope, Write, WriteContext};

/// An organization to create.
#[derive(Clone, Debug)]
pub struct NewOrganization {
    /// Generated if not given.
    pub id: Option<OrganizationId>,
    /// What people call it.
    pub display_name: String,
    /// Verified e-mail domains, ASCII.
    pub domains: Vec<String>,
    /// What it starts with (ROL-4).
    pub preset: Preset,
    /// The preset's default if not given.
    pub default_visibility: Option<Visibility>,
    /// Of outsiders who join by invitation (DIR-8).
    pub outsider_site_role: SiteRole,
    /// Partners (MEM-3), sorted.
    pub partner_organizations: Vec<OrganizationId>,
    /// How externals who are added become members (MEM-2).
    pub externals_join: ExternalsJoin,
    /// Whether changes of visibility wait for an administrator's approval (VIS-7).
    pub privacy_approval: bool,
}

/// What to change of an organization; what is not given stays.
#[derive(Clone, Debug)]
pub struct UpdateOrganization {
    /// Which organization.
    pub id: OrganizationId,
    /// What people call it.
    pub display_name: Option<String>,
    /// Verified e-mail domains, ASCII lower case, sorted.
    pub domains: Option<Vec<String>>,
    /// Its administrators, sorted.
    pub administrators: Option<Vec<UserId>>,
    /// Of new portfolios.
    pub default_visibility: Option<Visibility>,
    /// Of outsiders who join by invitation (DIR-8).
    pub outsider_site_role: Option<SiteRole>,
    /// Partners (MEM-3), sorted.
    pub partner_organizations: Option<Vec<OrganizationId>>,
    /// How externals who are added become members (MEM-2).
    pub externals_join: Option<ExternalsJoin>,
    /// Whether changes of visibility wait for an administrator's approval (VIS-7).
    pub privacy_approval: Option<bool>,
    /// Only if it is still in this state.
    pub etag: Option<String>,
}

impl App {
    /// Creates an organization with the roles of its preset.
    ///
    /// # Errors
    /// An id that the caller would not reach; a taken one.
    pub async fn create_organization(
        &self,
        context: &WriteContext,
        request: &NewOrganization,
    ) -> Result<Answer<Organization>, Error> {
        let id = request.id.clone().map_or_else(generated::<OrganizationId>, Ok)?;
        // Nobody makes what they then could not reach, nor learns by it which ids are taken.
        if !context.principal.caller.reaches(&id) {
            let message = "the credential does not reach this organization; creating it needs the \
                           scope `operator` for it, or for all";
            let missing = Refusal::scope_missing(crate::domain::caller::Scope::Operator);
            return Err(Refusal { message: message.to_owned(), ..missing }.into());
        }
        self.write(context, [Scope::Global], async |write| {
            let default = request.preset.default_visibility();
            let organization = Organization {
                id: id.clone(),
                display_name: request.display_name.clone(),
                domains: request.domains.iter().map(|d| d.to_ascii_lowercase()).collect(),
                preset: request.preset,
                default_visibility: request.default_visibility.unwrap_or(default),
                create_time: write.now(),
                administrators: Vec::new(),
                outsider_site_role: request.outsider_site_role,
                partner_organizations: request.partner_organizations.clone(),
                externals_join: request.externals_join,
                privacy_approval: request.privacy_approval,
                version: 1,
            };
            if write.insert_organization(&organization, &request.preset.roles()).await? {
                return Ok(organization);
            }
            let message = format!("the organization id `{id}` is taken; choose another");
            Err(Refusal::new(Reason::IdTaken, message).with("organization", &id).into())
        })
        .await
    }

    /// An organization.
    ///
    /// # Errors
    /// No such organization.
    pub async fn get_organization(
        &self,
        context: &Context,
        id: &OrganizationId,
    ) -> Result<Answer<Organization>, Error> {
        self.read_directory(context, async |read| {
            require_organization(read, &context.principal, id).await
        })
        .await
    }

    /// Changes an organization (DIR-6); for its administrators. Nothing is written, and the version
    /// stays, if it is already as asked for.
    ///
    /// # Errors
    /// No such organization; an actor who does not administer it; another state than the etag's;
    /// an administrator who does not exist, is at home elsewhere or deactivated; no administrator
    /// left.
    pub async fn update_organization(
        &self,
        context: &WriteContext,
        request: &UpdateOrganization,
    ) -> Result<Answer<Organization>, Error> {
        self.require_sight(context, &request.id).await?;
        let scope = Scope::Organization(request.id.clone());
        self.write(context, [scope], async |write| update(write, request).await).await
    }
}

async fn update(write: &mut Write, request: &UpdateOrganization) -> Result<Organization, Failure> {
    let principal = write.principal().clone();
    require_administrator(write, &request.id).await?;
    // For a person who administers it, it is known to exist.
    let before = write.organization(&request.id).await?;
    let before = before.ok_or_else(|| Refusal::organization_not_found(&request.id))?;
    if request.etag.as_ref().is_some_and(|etag| *etag != before.etag()) {
        return Err(Refusal::etag_mismatch("organization").into());
    }
    let mut after = changed(&before, request);
    for who in after.administrators.iter().filter(|who| !before.administrators.contains(who)) {
        let user = require_user_for(write, &principal, &request.id, who).await?;
        require_eligible(&request.id, &user)?;
    }
    if before.administrators.iter().any(|who| !after.administrators.contains(who)) {
        let left = write.users_of(&after.administrators, &[]).await?;
        if left.iter().all(|user| user.deactivated) {
            return Err(last_administrator(&request.id).into());
        }
    }
    if after != before {
        after.version += 1;
        write.update_organization(&before, &after).await?;
    }
    Ok(after)
}

fn changed(before: &Organization, request: &UpdateOrganization) -> Organization {
    let UpdateOrganization {
        id: _,
        display_name,
        domains,
        administrators,
        default_visibility,
        outsider_site_role,
        partner_organizations,
        externals_join,
        privacy_approval,
        etag: _,
    } = request.clone();
    Organization {
        display_name: display_name.unwrap_or_else(|| before.display_name.clone()),
        domains: domains.unwrap_or_else(|| before.domains.clone()),
        administrators: administrators.unwrap_or_else(|| before.administrators.clone()),
        default_visibility: default_visibility.unwrap_or(before.default_visibility),
        outsider_site_role: outsider_site_role.unwrap_or(before.outsider_site_role),
        partner_organizations: partner_organizations
            .unwrap_or_else(|| before.partner_organizations.clone()),
        externals_join: externals_join.unwrap_or(before.externals_join),
        privacy_approval: privacy_approval.unwrap_or(before.privacy_approval),
        ..before.clone()
    }
}

/// New administrators are active, and at home in the organization (DIR-7).
fn require_eligible(organization: &OrganizationId, user: &User) -> Result<(), Refusal> {
    let id = &user.id;
    if user.home_organization.as_ref() != Some(organization) {
        let message = format!(
            "`user:{id}` is not at home in organization `{organization}`; only such users \
             administer it"
        );
        let subject = format!("user:{id}");
        return Err(Refusal::new(Reason::NotEligible, message).with("subject", subject));
    }
    if user.deactivated {
        let message = format!("`user:{id}` is deactivated; reactivate them first");
        return Err(Refusal::new(Reason::UserDeactivated, message).with("user", id));
    }
    Ok(())
}

fn last_administrator(organization: &OrganizationId) -> Refusal {
    let message = format!(
        "organization `{organization}` would be left without an active administrator; name another \
         one first"
    );
    Refusal::new(Reason::LastAdministrator, message).with("organization", organization)
}
