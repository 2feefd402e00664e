use super::authorize::require_organization;
use super::reach::require_administrator;
use super::roles::require_role;
use super::{Answer, App, Context, Error};
use crate::domain::function::{FunctionCeiling, FunctionCeilingFilter};
use crate::domain::page::{Listed, Page};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{FunctionKey, OrganizationId};
use crate::storage::{Scope, WriteContext};

/// What is the same for one ceiling at most.
pub type FunctionCeilingKey = (FunctionKey, String);

/// The ceilings of an organization, as far as a filter lets them.
#[derive(Clone, Debug)]
pub struct ListFunctionCeilings {
    /// Whose ceilings.
    pub organization: OrganizationId,
    /// Which of them.
    pub filter: FunctionCeilingFilter,
    /// Which page of them, by function and type in byte order.
    pub page: Page<FunctionCeilingKey>,
}

impl App {
    /// Sets the role that a function gets on portfolios of a type (MEM-10), in place of the one
    /// before; for administrators of the organization. Nothing is written if it is so already.
    ///
    /// # Errors
    /// No such organization or role; an actor who does not administer the organization.
    pub async fn set_function_ceiling(
        &self,
        context: &WriteContext,
        ceiling: &FunctionCeiling,
    ) -> Result<Answer<FunctionCeiling>, Error> {
        let FunctionCeiling { organization, function, portfolio_type, role } = ceiling;
        self.require_sight(context, organization).await?;
        let scope = Scope::Organization(organization.clone());
        self.write(context, [scope], async |write| {
            require_administrator(write, organization).await?;
            require_role(write, organization, role).await?;
            let before = write.function_ceiling(organization, function, portfolio_type).await?;
            if before.as_ref() != Some(role) {
                write.set_function_ceiling(before, ceiling).await?;
            }
            Ok(ceiling.clone())
        })
        .await
    }

    /// A page of an organization's ceilings, by function and type in byte order.
    ///
    /// # Errors
    /// No such organization, as far as the caller may know.
    pub async fn list_function_ceilings(
        &self,
        context: &Context,
        request: &ListFunctionCeilings,
    ) -> Result<Answer<Listed<FunctionCeiling, FunctionCeilingKey>>, Error> {
        let ListFunctionCeilings { organization, filter, page } = request;
        self.read_directory(context, async |read| {
            require_organization(read, &context.principal, organization).await?;
            let rows = read.function_ceilings_of(organization, filter, &page.wider()).await?;
            let key = |ceiling: &FunctionCeiling| {
                (ceiling.function.clone(), ceiling.portfolio_type.clone())
            };
            Ok(page.listed(rows, key))
        })
        .await
    }

    /// Deletes a ceiling; for administrators of the organization. Returns it as it was.
    ///
    /// # Errors
    /// No such organization or ceiling; an actor who does not administer the organization.
    pub async fn delete_function_ceiling(
        &self,
        context: &WriteContext,
        organization: &OrganizationId,
        key: &FunctionCeilingKey,
    ) -> Result<Answer<FunctionCeiling>, Error> {
        let (function, portfolio_type) = key;
        self.require_sight(context, organization).await?;
        let scope = Scope::Organization(organization.clone());
        self.write(context, [scope], async |write| {
            require_administrator(write, organization).await?;
            let role = write.function_ceiling(organization, function, portfolio_type).await?;
            let old = FunctionCeiling {
                role: role.ok_or_else(|| not_found(organization, key))?,
                organization: organization.clone(),
                function: function.clone(),
                portfolio_type: portfolio_type.clone(),
            };
            write.delete_function_ceiling(&old).await?;
            Ok(old)
        })
        .await
    }
}

fn not_found(
    organization: &OrganizationId,
    (function, portfolio_type): &FunctionCeilingKey,
) -> Refusal {
    let which = match portfolio_type.as_str() {
        "" => "without a type".to_owned(),
        portfolio_type => format!("of type `{portfolio_type}`"),
    };
    let message = format!(
        "organization `{organization}` has no ceiling for the function `{function}` on portfolios \
         {which}"
    );
    Refusal::new(Reason::FunctionCeilingNotFound, message)
        .with("function", function)
        .with("portfolio_type", portfolio_type)
        .with("organization", organization)
}
