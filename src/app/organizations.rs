use super::{Answer, App, Context, Error, generated};
use crate::domain::OrganizationId;
use crate::domain::access_settings::Visibility;
use crate::domain::directory::Organization;
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
        self.read(context, async |read| {
            let found = read.organization(id).await?;
            Ok(found.ok_or_else(|| Refusal::organization_not_found(id))?)
        })
        .await
    }
}
