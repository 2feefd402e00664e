//! Organizations (DIR-6).

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::facts::parse;
use super::schema::organization_administrators;
use super::schema::organizations::{self, dsl};
use super::users::administrator;
use super::{Change, Error, Failure, Scope, Transaction, Write, timestamps};
use crate::domain::access_settings::Visibility;
use crate::domain::directory::{ExternalsJoin, Organization, SiteRole};
use crate::domain::fact::FactKey;
use crate::domain::revision::Shard;
use crate::domain::role::{Preset, Role};
use crate::domain::{OrganizationId, Subject, UserId};

/// Every way in which an organization knows a subject: at home, by a site role or as an
/// administrator, as a member of one of its groups (directly is enough: a group's groups are the
/// same organization's), or by a grant.
const KNOWING: &str = "
    SELECT id FROM organizations WHERE id IN (
        SELECT home_organization FROM users WHERE $1 = 'user' AND id = $2
      UNION ALL
        SELECT organization FROM site_roles WHERE $1 = 'user' AND user_id = $2
      UNION ALL
        SELECT organization FROM organization_administrators WHERE $1 = 'user' AND user_id = $2
      UNION ALL
        SELECT organization FROM groups WHERE $1 = 'group' AND id = $2
      UNION ALL
        SELECT organization FROM service_accounts WHERE $1 = 'service_account' AND id = $2
      UNION ALL
        SELECT g.organization FROM group_members AS m JOIN groups AS g ON g.id = m.group_id
        WHERE m.member_kind = $1 AND m.member_id = $2
      UNION ALL
        SELECT organization FROM grants
        WHERE subject_kind = $1 AND subject_id = $2 AND revoke_time IS NULL
          AND coalesce(expire_time > now(), true)
    ) ORDER BY id";

#[derive(QueryableByName)]
struct Knowing {
    #[diesel(sql_type = Text)]
    id: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = organizations, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: String,
    display_name: String,
    domains: Vec<String>,
    preset: String,
    default_visibility: String,
    create_time: OffsetDateTime,
    outsider_site_role: String,
    partner_organizations: Vec<String>,
    externals_join: String,
    version: i64,
    privacy_approval: bool,
}

impl Transaction {
    /// An organization; none if there is none of this id.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn organization(
        &mut self,
        id: &OrganizationId,
    ) -> Result<Option<Organization>, Error> {
        let row: Option<Row> = dsl::organizations
            .find(id.as_str())
            .select(Row::as_select())
            .first(self.connection())
            .await
            .optional()?;
        let Some(row) = row else { return Ok(None) };
        let administrators = self.administrators_of(id).await?;
        organization(row, administrators).map(Some)
    }

    /// The organizations that know a subject in any way, sorted: beyond them it can do nothing.
    ///
    /// # Errors
    /// As [`Transaction::organization`].
    pub async fn organizations_knowing(
        &mut self,
        subject: &Subject,
    ) -> Result<Vec<OrganizationId>, Error> {
        let rows: Vec<Knowing> = diesel::sql_query(KNOWING)
            .bind::<Text, _>(subject.kind())
            .bind::<Text, _>(subject.id())
            .load(self.connection())
            .await?;
        rows.iter().map(|row| parse("organizations", &row.id)).collect()
    }

    /// The users who administer an organization, sorted.
    async fn administrators_of(&mut self, id: &OrganizationId) -> Result<Vec<UserId>, Error> {
        let ids: Vec<String> = organization_administrators::table
            .filter(organization_administrators::organization.eq(id.as_str()))
            .select(organization_administrators::user_id)
            .load(self.connection())
            .await?;
        let parsed = ids.iter().map(|id| parse("organization_administrators", id));
        let mut administrators = parsed.collect::<Result<Vec<UserId>, Error>>()?;
        administrators.sort_unstable();
        Ok(administrators)
    }
}

fn organization(row: Row, administrators: Vec<UserId>) -> Result<Organization, Error> {
    let corrupt = |what| Error::corrupt("organizations", &row.id, what);
    let partners = row.partner_organizations.iter().map(|id| parse("organizations", id));
    Ok(Organization {
        preset: Preset::parse(&row.preset).ok_or_else(|| corrupt("unknown preset"))?,
        default_visibility: Visibility::parse(&row.default_visibility)
            .ok_or_else(|| corrupt("unknown visibility"))?,
        create_time: timestamps::from_sql(row.create_time),
        administrators,
        outsider_site_role: SiteRole::parse(&row.outsider_site_role)
            .ok_or_else(|| corrupt("unknown site role"))?,
        partner_organizations: partners.collect::<Result<_, _>>()?,
        externals_join: ExternalsJoin::parse(&row.externals_join)
            .ok_or_else(|| corrupt("unknown way to join"))?,
        privacy_approval: row.privacy_approval,
        version: row.version,
        id: parse("organizations", &row.id)?,
        display_name: row.display_name,
        domains: row.domains,
    })
}

impl Write {
    /// Creates an organization with its roles; false if the id is taken. Needs the global scope.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn insert_organization(
        &mut self,
        organization: &Organization,
        roles: &[Role],
    ) -> Result<bool, Failure> {
        self.require(&Scope::Global)?;
        let shard = Shard::assign(&organization.id);
        let partners = organization.partner_organizations.iter();
        let partners: Vec<&str> = partners.map(OrganizationId::as_str).collect();
        let inserted = diesel::insert_into(dsl::organizations)
            .values((
                organizations::id.eq(organization.id.as_str()),
                organizations::shard.eq(shard.number()),
                organizations::display_name.eq(&organization.display_name),
                organizations::domains.eq(&organization.domains),
                organizations::preset.eq(organization.preset.as_str()),
                organizations::default_visibility.eq(organization.default_visibility.as_str()),
                organizations::create_time.eq(timestamps::to_sql(organization.create_time)),
                organizations::outsider_site_role.eq(organization.outsider_site_role.as_str()),
                organizations::partner_organizations.eq(partners),
                organizations::externals_join.eq(organization.externals_join.as_str()),
                organizations::privacy_approval.eq(organization.privacy_approval),
                organizations::version.eq(organization.version),
            ))
            .on_conflict_do_nothing()
            .execute(self.connection())
            .await?;
        if inserted == 0 {
            return Ok(false);
        }
        self.own_new_organization(organization.id.clone(), shard);
        let mut keys = vec![FactKey::Organization];
        for role in roles {
            self.insert_role(&organization.id, role).await?;
            keys.push(FactKey::Role(role.key.clone()));
        }
        self.record(Change {
            scope: Scope::Organization(organization.id.clone()),
            what: "organization.created",
            object: organization.id.to_string(),
            portfolio: None,
            subject: None,
            keys,
            before: Value::Null,
            after: json!({ "organization": organization, "roles": roles }),
        });
        Ok(true)
    }

    /// Changes an organization and its administrators: one audit event for each of them who comes
    /// or goes, and one for the rest. Needs its scope.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn update_organization(
        &mut self,
        before: &Organization,
        after: &Organization,
    ) -> Result<(), Failure> {
        let scope = Scope::Organization(after.id.clone());
        self.require(&scope)?;
        let partners = after.partner_organizations.iter();
        let partners: Vec<&str> = partners.map(OrganizationId::as_str).collect();
        diesel::update(dsl::organizations.find(after.id.as_str()))
            .set((
                organizations::display_name.eq(&after.display_name),
                organizations::domains.eq(&after.domains),
                organizations::default_visibility.eq(after.default_visibility.as_str()),
                organizations::outsider_site_role.eq(after.outsider_site_role.as_str()),
                organizations::partner_organizations.eq(partners),
                organizations::externals_join.eq(after.externals_join.as_str()),
                organizations::privacy_approval.eq(after.privacy_approval),
                organizations::version.eq(after.version),
            ))
            .execute(self.connection())
            .await?;
        self.change_administrators(before, after).await?;
        let settings = |of: &Organization| Organization {
            administrators: Vec::new(),
            version: after.version,
            ..of.clone()
        };
        if settings(before) != settings(after) {
            self.record(Change {
                scope,
                what: "organization.updated",
                object: after.id.to_string(),
                portfolio: None,
                subject: None,
                keys: vec![FactKey::Organization],
                before: json!(before),
                after: json!(after),
            });
        }
        Ok(())
    }

    async fn change_administrators(
        &mut self,
        before: &Organization,
        after: &Organization,
    ) -> Result<(), Failure> {
        use organization_administrators::{organization, table, user_id};
        let lacks = |of: &Organization, who: &UserId| !of.administrators.contains(who);
        let gone: Vec<&UserId> =
            before.administrators.iter().filter(|who| lacks(after, who)).collect();
        let come: Vec<&UserId> =
            after.administrators.iter().filter(|who| lacks(before, who)).collect();
        diesel::delete(table)
            .filter(organization.eq(after.id.as_str()))
            .filter(user_id.eq_any(gone.iter().map(|who| who.as_str())))
            .execute(self.connection())
            .await?;
        self.hold_users(come.iter().copied()).await?;
        let row = |who: &&UserId| {
            (organization.eq(after.id.as_str().to_owned()), user_id.eq(who.as_str().to_owned()))
        };
        let rows: Vec<_> = come.iter().map(row).collect();
        diesel::insert_into(table).values(rows).execute(self.connection()).await?;
        for who in gone {
            self.record(administrator(&after.id, who, false));
        }
        for who in come {
            self.record(administrator(&after.id, who, true));
        }
        Ok(())
    }
}
