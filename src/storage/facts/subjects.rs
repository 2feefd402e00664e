use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{Array, Text};
use diesel_async::RunQueryDsl;

use super::parse;
use crate::domain::directory::{SiteRole, Standing};
use crate::domain::fact::SubjectFact;
use crate::domain::{OrganizationId, Subject};
use crate::storage::schema::{
    groups, organization_administrators, service_accounts, site_roles, users,
};
use crate::storage::{Error, Transaction};

/// Subjects as they are found, table by table.
#[derive(Default)]
pub(super) struct Subjects(BTreeMap<Subject, SubjectFact>);

impl Subjects {
    pub(super) fn entry(&mut self, subject: Subject) -> &mut SubjectFact {
        self.0.entry(subject.clone()).or_insert_with(|| SubjectFact {
            subject,
            standing: Standing::default(),
            active: true,
            groups: Vec::new(),
        })
    }

    pub(super) fn home(&mut self, kind: &str, id: &str) -> Result<&mut SubjectFact, Error> {
        let fact = self.entry(subject(kind, id)?);
        fact.standing.home = true;
        Ok(fact)
    }

    pub(super) fn edge(&mut self, edge: &Edge) -> Result<(), Error> {
        let group = parse("groups", &edge.group_id)?;
        self.entry(subject(&edge.member_kind, &edge.member_id)?).groups.push(group);
        Ok(())
    }

    pub(super) fn site_role(&mut self, id: &str, role: &str) -> Result<(), Error> {
        let known = SiteRole::parse(role);
        let role = known.ok_or_else(|| Error::corrupt("site_roles", id, "unknown role"))?;
        self.entry(subject("user", id)?).standing.site_role = Some(role);
        Ok(())
    }

    pub(super) fn into_facts(self) -> Vec<SubjectFact> {
        self.0.into_values().collect()
    }
}

/// Who is directly in which group.
#[derive(Debug, diesel::QueryableByName, Queryable)]
pub(super) struct Edge {
    #[diesel(sql_type = Text)]
    pub member_kind: String,
    #[diesel(sql_type = Text)]
    pub member_id: String,
    #[diesel(sql_type = Text)]
    pub group_id: String,
}

pub(super) fn subject(kind: &str, id: &str) -> Result<Subject, Error> {
    Subject::from_parts(kind, id).map_err(|error| Error::corrupt("subjects", id, error))
}

/// The kinds and the ids of subjects, as two arrays that SQL unnests side by side.
pub(super) fn arrays<'a>(
    subjects: impl IntoIterator<Item = &'a Subject>,
) -> (Vec<&'a str>, Vec<&'a str>) {
    subjects.into_iter().map(|subject| (subject.kind(), subject.id())).unzip()
}

const EDGES_OF: &str = "
    SELECT m.member_kind, m.member_id, m.group_id
    FROM unnest($2, $3) AS s (kind, id)
    JOIN group_members AS m ON m.member_kind = s.kind AND m.member_id = s.id
    JOIN groups AS g ON g.id = m.group_id
    WHERE g.organization = $1";

impl Transaction {
    /// What an organization knows of these subjects; no fact for those it knows nothing of.
    pub(super) async fn subject_facts_of(
        &mut self,
        organization: &OrganizationId,
        wanted: &[Subject],
    ) -> Result<Vec<SubjectFact>, Error> {
        let mut subjects = Subjects::default();
        self.standings(organization, wanted, &mut subjects).await?;
        let (kinds, ids) = arrays(wanted);
        let edges: Vec<Edge> = diesel::sql_query(EDGES_OF)
            .bind::<Text, _>(organization.as_str())
            .bind::<Array<Text>, _>(kinds)
            .bind::<Array<Text>, _>(ids)
            .load(self.connection())
            .await?;
        edges.iter().try_for_each(|edge| subjects.edge(edge))?;
        Ok(subjects.into_facts())
    }

    async fn standings(
        &mut self,
        organization: &OrganizationId,
        wanted: &[Subject],
        subjects: &mut Subjects,
    ) -> Result<(), Error> {
        let organization = organization.as_str();
        let ids = |kind: &str| -> Vec<&str> {
            wanted.iter().filter(|subject| subject.kind() == kind).map(Subject::id).collect()
        };
        let users_wanted = ids("user");
        let home = users::table
            .filter(users::home_organization.eq(organization))
            .filter(users::id.eq_any(&users_wanted))
            .select(users::id);
        for id in home.load::<String>(self.connection()).await? {
            subjects.home("user", &id)?;
        }
        let roles = site_roles::table
            .filter(site_roles::organization.eq(organization))
            .filter(site_roles::user_id.eq_any(&users_wanted))
            .select((site_roles::user_id, site_roles::role));
        for (id, role) in roles.load::<(String, String)>(self.connection()).await? {
            subjects.site_role(&id, &role)?;
        }
        let administrators = organization_administrators::table
            .filter(organization_administrators::organization.eq(organization))
            .filter(organization_administrators::user_id.eq_any(&users_wanted))
            .select(organization_administrators::user_id);
        for id in administrators.load::<String>(self.connection()).await? {
            subjects.entry(subject("user", &id)?).standing.administrator = true;
        }
        let of_organization = groups::table
            .filter(groups::organization.eq(organization))
            .filter(groups::id.eq_any(ids("group")))
            .select(groups::id);
        for id in of_organization.load::<String>(self.connection()).await? {
            subjects.home("group", &id)?;
        }
        let accounts = service_accounts::table
            .filter(service_accounts::organization.eq(organization))
            .filter(service_accounts::id.eq_any(ids("service_account")))
            .select((service_accounts::id, service_accounts::deactivated));
        for (id, deactivated) in accounts.load::<(String, bool)>(self.connection()).await? {
            subjects.home("service_account", &id)?.active = !deactivated;
        }
        Ok(())
    }
}
