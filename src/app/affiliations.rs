use super::reach::{require_administrator, require_user_for};
use super::{Answer, App, Error};
use crate::domain::function::{Affiliation, MAX_AFFILIATIONS};
use crate::domain::refusal::{Reason, Refusal};
use crate::storage::{Failure, Scope, Transaction, WriteContext};

impl App {
    /// Makes a user something in an organization (DIR-3); for its administrators. Nothing is
    /// written if they are that already.
    ///
    /// # Errors
    /// No such organization or user; an actor who does not administer the organization; a user who
    /// has as many functions there as one may have.
    pub async fn set_affiliation(
        &self,
        context: &WriteContext,
        wanted: &Affiliation,
    ) -> Result<Answer<Affiliation>, Error> {
        let Affiliation { user, organization, .. } = wanted;
        self.require_sight(context, organization).await?;
        let scope = Scope::Organization(organization.clone());
        self.write(context, [scope], async |write| {
            require_administrator(write, organization).await?;
            require_user_for(write, &context.principal, organization, user).await?;
            let held = held_beside(write, wanted).await?;
            if !held.contains(wanted) {
                if held.len() >= MAX_AFFILIATIONS {
                    return Err(too_many(wanted).into());
                }
                write.add_affiliation(wanted).await?;
            }
            Ok(wanted.clone())
        })
        .await
    }

    /// Ends what a user is in an organization (DIR-5); for its administrators. Grants made by hand
    /// stay.
    ///
    /// # Errors
    /// No such organization or user; an actor who does not administer the organization; a user who
    /// does not have the function there.
    pub async fn remove_affiliation(
        &self,
        context: &WriteContext,
        unwanted: &Affiliation,
    ) -> Result<Answer<Affiliation>, Error> {
        let Affiliation { user, organization, .. } = unwanted;
        self.require_sight(context, organization).await?;
        let scope = Scope::Organization(organization.clone());
        self.write(context, [scope], async |write| {
            require_administrator(write, organization).await?;
            require_user_for(write, &context.principal, organization, user).await?;
            if !held_beside(write, unwanted).await?.contains(unwanted) {
                return Err(not_found(unwanted).into());
            }
            write.remove_affiliation(unwanted).await?;
            Ok(unwanted.clone())
        })
        .await
    }
}

/// All that the user is in the organization.
async fn held_beside(
    transaction: &mut Transaction,
    one: &Affiliation,
) -> Result<Vec<Affiliation>, Failure> {
    let mut held = transaction.affiliations_of(std::slice::from_ref(&one.user)).await?;
    held.retain(|affiliation| affiliation.organization == one.organization);
    Ok(held)
}

fn not_found(affiliation: &Affiliation) -> Refusal {
    let Affiliation { user, organization, function } = affiliation;
    let message = format!("`user:{user}` is no `{function}` in organization `{organization}`");
    Refusal::new(Reason::AffiliationNotFound, message)
        .with("function", function)
        .with("user", user)
        .with("organization", organization)
}

fn too_many(affiliation: &Affiliation) -> Refusal {
    let Affiliation { user, organization, .. } = affiliation;
    let message = format!(
        "`user:{user}` has {MAX_AFFILIATIONS} functions in organization `{organization}`, the most \
         that are accepted; remove one first"
    );
    Refusal::new(Reason::TooManyAffiliations, message)
        .with("user", user)
        .with("organization", organization)
        .with("limit", MAX_AFFILIATIONS)
}
