use super::authorize::require_organization;
use super::{Answer, App, Context, Error, generated};
use crate::domain::OrganizationId;
use crate::domain::access_settings::Visibility;
use crate::domain::directory::{ExternalsJoin, Organization, SiteRole};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::role::Preset;
use crate::storage::{Scope, WriteContext};

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
}

impl App {
    /// Creates an organization with the roles of its preset.
    ///
    /// # Errors
    /// A taken id.
    pub async fn create_organization(
        &self,
        context: &WriteContext,
        request: &NewOrganization,
    ) -> Result<Answer<Organization>, Error> {
        let id = request.id.clone().map_or_else(generated::<OrganizationId>, Ok)?;
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
        self.read(context, async |read| require_organization(read, &context.principal, id).await)
            .await
    }
}
