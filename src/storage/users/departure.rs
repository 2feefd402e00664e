//! What ends when a user moves to another home, or is deleted (DIR-9).

use diesel::prelude::*;
use diesel::sql_types::{Array, Text};
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use crate::domain::directory::{SiteRole, User};
use crate::domain::fact::FactKey;
use crate::domain::{OrganizationId, Subject, UserId};
use crate::storage::facts::parse;
use crate::storage::groups::membership;
use crate::storage::schema::{organizations, users};
use crate::storage::{Change, Error, Failure, Scope, Write};

const END_SITE_ROLES: &str = "
    DELETE FROM site_roles AS r USING unnest($1, $2) AS s (organization, user_id)
    WHERE r.organization = s.organization AND r.user_id = s.user_id
    RETURNING r.organization, r.user_id, r.role";

const END_ADMINISTRATION: &str = "
    DELETE FROM organization_administrators AS a USING unnest($1, $2) AS s (organization, user_id)
    WHERE a.organization = s.organization AND a.user_id = s.user_id
    RETURNING a.organization, a.user_id, '' AS role";

const END_MEMBERSHIPS: &str = "
    DELETE FROM group_members AS m USING groups AS g
    WHERE g.id = m.group_id AND m.member_kind = 'user' AND m.member_id = $1
    RETURNING g.id, g.organization";

/// In this order, so that no two who lock several rows wait for one another.
const HOLD: &str =
    r#"SELECT id FROM users WHERE id = ANY ($1) ORDER BY id COLLATE "C" FOR KEY SHARE"#;

#[derive(diesel::QueryableByName)]
struct Standing {
    #[diesel(sql_type = Text)]
    organization: String,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Text)]
    role: String,
}

#[derive(diesel::QueryableByName)]
struct GroupRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    organization: String,
}

#[derive(diesel::QueryableByName)]
struct Held {
    #[diesel(sql_type = Text)]
    #[allow(dead_code, reason = "only how many there are is of interest")]
    id: String,
}

impl Write {
    /// Sees to it that users who were found stay until the commit: what is given to one who is
    /// deleted meanwhile would be there for a later user of the same id.
    ///
    /// # Errors
    /// The database cannot be asked; one of them has gone, and the write is to be tried again.
    pub(in crate::storage) async fn hold_users<'a>(
        &mut self,
        ids: impl IntoIterator<Item = &'a UserId>,
    ) -> Result<(), Failure> {
        let mut ids: Vec<&str> = ids.into_iter().map(UserId::as_str).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(());
        }
        let wanted = ids.len();
        let held: Vec<Held> =
            diesel::sql_query(HOLD).bind::<Array<Text>, _>(ids).load(self.connection()).await?;
        if held.len() == wanted { Ok(()) } else { Err(Error::Overtaken.into()) }
    }

    /// Ends what those users who move were in their old home, and what they were in the new one
    /// before it became their home: the defaults begin anew. Grants stay.
    pub(super) async fn move_home(
        &mut self,
        users: &[(Option<User>, User)],
    ) -> Result<(), Failure> {
        let mut ended: Vec<(OrganizationId, UserId)> = Vec::new();
        for (before, after) in users {
            let Some(before) = before else { continue };
            if before.home_organization == after.home_organization {
                continue;
            }
            if let Some(old) = &before.home_organization {
                self.require(&Scope::Organization(old.clone()))?;
                self.record(left(old, before));
                ended.push((old.clone(), after.id.clone()));
            }
            ended.extend(after.home_organization.clone().map(|new| (new, after.id.clone())));
        }
        self.end_standings(&ended).await
    }

    /// Deletes a user, and everything of theirs in every organization but the audit trail. Needs
    /// the global scope, and that of every organization concerned.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn delete_user(&mut self, user: &User) -> Result<(), Failure> {
        self.require(&Scope::Global)?;
        // From here on nobody gives them anything; what was given before is seen below.
        let row = users::table.find(user.id.as_str()).select(users::id).for_update();
        row.first::<String>(self.connection()).await?;
        let organizations = self.organizations_of_user(&user.id).await?;
        for organization in &organizations {
            self.require(&Scope::Organization(organization.clone()))?;
        }
        let subject = Subject::User(user.id.clone());
        self.revoke_all(&subject).await?;
        self.end_memberships(&user.id).await?;
        self.end_affiliations(&user.id).await?;
        self.forget_requester(&subject).await?;
        let pairs: Vec<_> = organizations.into_iter().map(|id| (id, user.id.clone())).collect();
        self.end_standings(&pairs).await?;
        diesel::delete(users::table.find(user.id.as_str())).execute(self.connection()).await?;
        if let Some(home) = &user.home_organization {
            self.record(left(home, user));
        }
        self.record(Change {
            scope: Scope::Global,
            what: "user.deleted",
            object: user.id.to_string(),
            portfolio: None,
            subject: Some(subject),
            keys: vec![FactKey::UserStatus(user.id.clone())],
            before: remembered(user),
            after: Value::Null,
        });
        Ok(())
    }

    async fn end_memberships(&mut self, id: &UserId) -> Result<(), Failure> {
        let rows: Vec<GroupRow> = diesel::sql_query(END_MEMBERSHIPS)
            .bind::<Text, _>(id.as_str())
            .load(self.connection())
            .await?;
        let member = Subject::User(id.clone());
        for GroupRow { id, organization } in rows {
            let (organization, group) = (parse("groups", &organization)?, parse("groups", &id)?);
            self.record(membership(&organization, &group, &member, false));
        }
        Ok(())
    }

    /// Ends the site roles of users in organizations, and that they administer them.
    async fn end_standings(&mut self, ended: &[(OrganizationId, UserId)]) -> Result<(), Failure> {
        if ended.is_empty() {
            return Ok(());
        }
        let (at, who): (Vec<&str>, Vec<&str>) =
            ended.iter().map(|(at, who)| (at.as_str(), who.as_str())).unzip();
        let roles: Vec<Standing> = diesel::sql_query(END_SITE_ROLES)
            .bind::<Array<Text>, _>(at.clone())
            .bind::<Array<Text>, _>(who.clone())
            .load(self.connection())
            .await?;
        for Standing { organization, user_id, role } in roles {
            let known = SiteRole::parse(&role);
            let role =
                known.ok_or_else(|| Error::corrupt("site_roles", &user_id, "unknown role"))?;
            let (at, who) = (parse("site_roles", &organization)?, parse("site_roles", &user_id)?);
            let before = json!({ "site_role": role });
            self.record(standing("site_role.removed", &at, &who, before, Value::Null));
        }
        let administrators: Vec<Standing> = diesel::sql_query(END_ADMINISTRATION)
            .bind::<Array<Text>, _>(at)
            .bind::<Array<Text>, _>(who)
            .load(self.connection())
            .await?;
        let mut changed = Vec::new();
        for Standing { organization, user_id, .. } in administrators {
            let at: OrganizationId = parse("organization_administrators", &organization)?;
            let who: UserId = parse("organization_administrators", &user_id)?;
            self.record(administrator(&at, &who, false));
            changed.push(organization);
        }
        if !changed.is_empty() {
            diesel::update(organizations::table.filter(organizations::id.eq_any(changed)))
                .set(organizations::version.eq(organizations::version + 1))
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }
}

/// What is logged of an administrator who comes or goes.
pub(in crate::storage) fn administrator(
    organization: &OrganizationId,
    user: &UserId,
    added: bool,
) -> Change {
    let (what, value) = match added {
        true => ("administrator.added", json!({ "administrator": true })),
        false => ("administrator.removed", json!({ "administrator": true })),
    };
    let (before, after) = if added { (Value::Null, value) } else { (value, Value::Null) };
    standing(what, organization, user, before, after)
}

fn standing(
    what: &'static str,
    organization: &OrganizationId,
    user: &UserId,
    before: Value,
    after: Value,
) -> Change {
    let subject = Subject::User(user.clone());
    Change {
        scope: Scope::Organization(organization.clone()),
        what,
        object: user.to_string(),
        portfolio: None,
        subject: Some(subject.clone()),
        keys: vec![FactKey::Subject(subject)],
        before,
        after,
    }
}

/// What is logged in the home that a user leaves; where they go is no business of it.
fn left(home: &OrganizationId, user: &User) -> Change {
    standing("user.left", home, &user.id, remembered(user), Value::Null)
}

/// What the trail keeps of somebody who goes: who it was, not how to reach them.
fn remembered(user: &User) -> Value {
    let User { id, display_name, home_organization, .. } = user;
    json!({ "id": id, "display_name": display_name, "home_organization": home_organization })
}
