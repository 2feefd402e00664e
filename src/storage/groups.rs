//! Groups and their direct members (DIR-4).

use std::collections::BTreeSet;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use super::facts::parse;
use super::schema::{group_members, groups};
use super::{Change, Error, Failure, Scope, Transaction, Write, timestamps};
use crate::domain::directory::Group;
use crate::domain::fact::FactKey;
use crate::domain::page::Page;
use crate::domain::{GroupId, OrganizationId, Subject};

/// Members are listed users first, then groups, then service accounts, each by id.
pub(super) fn rank(kind: &str) -> i32 {
    match kind {
        "user" => 0,
        "group" => 1,
        _ => 2,
    }
}

#[derive(diesel::QueryableByName)]
struct MemberRow {
    #[diesel(sql_type = Text)]
    member_kind: String,
    #[diesel(sql_type = Text)]
    member_id: String,
}

const MEMBERS: &str = r#"
    SELECT member_kind, member_id FROM (
        SELECT member_kind, member_id,
               CASE member_kind WHEN 'user' THEN 0 WHEN 'group' THEN 1 ELSE 2 END AS rank
        FROM group_members WHERE group_id = $1) AS m
    WHERE (rank, member_id COLLATE "C") > ($2, $3)
    ORDER BY rank, member_id COLLATE "C" LIMIT $4"#;

impl Transaction {
    /// A group; none if there is none of this id.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn group(&mut self, id: &GroupId) -> Result<Option<Group>, Error> {
        let row: Option<(String, String)> = groups::table
            .find(id.as_str())
            .select((groups::organization, groups::display_name))
            .first(self.connection())
            .await
            .optional()?;
        row.map(|(organization, display_name)| {
            let organization = parse("groups", &organization)?;
            Ok(Group { id: id.clone(), organization, display_name })
        })
        .transpose()
    }

    /// A page of an organization's groups, by id in byte order.
    ///
    /// # Errors
    /// As [`Transaction::group`].
    pub async fn groups_of(
        &mut self,
        organization: &OrganizationId,
        page: &Page<GroupId>,
    ) -> Result<Vec<Group>, Error> {
        let after = page.after.as_ref().map_or("", GroupId::as_str);
        let rows: Vec<(String, String)> = groups::table
            .filter(groups::organization.eq(organization.as_str()))
            .filter(sql::<Bool>(r#"id COLLATE "C" > "#).bind::<Text, _>(after))
            .order(sql::<Text>(r#"id COLLATE "C""#))
            .limit(page.limit())
            .select((groups::id, groups::display_name))
            .load(self.connection())
            .await?;
        let group = |(id, display_name): (String, String)| {
            let organization = organization.clone();
            Ok(Group { id: parse("groups", &id)?, organization, display_name })
        };
        rows.into_iter().map(group).collect()
    }

    /// Those of the groups that exist in an organization.
    ///
    /// # Errors
    /// As [`Transaction::group`].
    pub async fn groups_in(
        &mut self,
        organization: &OrganizationId,
        ids: &[GroupId],
    ) -> Result<BTreeSet<GroupId>, Error> {
        let found: Vec<String> = groups::table
            .filter(groups::organization.eq(organization.as_str()))
            .filter(groups::id.eq_any(ids.iter().map(GroupId::as_str)))
            .select(groups::id)
            .load(self.connection())
            .await?;
        found.iter().map(|id| parse("groups", id)).collect()
    }

    /// A page of a group's direct members.
    ///
    /// # Errors
    /// As [`Transaction::group`].
    pub async fn group_members(
        &mut self,
        id: &GroupId,
        page: &Page<Subject>,
    ) -> Result<Vec<Subject>, Error> {
        let (after_rank, after_id) = match &page.after {
            Some(subject) => (rank(subject.kind()), subject.id()),
            None => (-1, ""),
        };
        let rows: Vec<MemberRow> = diesel::sql_query(MEMBERS)
            .bind::<Text, _>(id.as_str())
            .bind::<Integer, _>(after_rank)
            .bind::<Text, _>(after_id)
            .bind::<BigInt, _>(page.limit())
            .load(self.connection())
            .await?;
        let subject = |row: MemberRow| {
            Subject::from_parts(&row.member_kind, &row.member_id)
                .map_err(|error| Error::corrupt("group_members", &row.member_id, error))
        };
        rows.into_iter().map(subject).collect()
    }

    /// Which of the subjects are directly in the group.
    ///
    /// # Errors
    /// As [`Transaction::group`].
    pub async fn members_among(
        &mut self,
        id: &GroupId,
        subjects: &[Subject],
    ) -> Result<BTreeSet<Subject>, Error> {
        let rows: Vec<(String, String)> = group_members::table
            .filter(group_members::group_id.eq(id.as_str()))
            .filter(group_members::member_id.eq_any(subjects.iter().map(Subject::id)))
            .select((group_members::member_kind, group_members::member_id))
            .load(self.connection())
            .await?;
        let subject = |(kind, id): (String, String)| {
            Subject::from_parts(&kind, &id)
                .map_err(|error| Error::corrupt("group_members", &id, error))
        };
        rows.into_iter().map(subject).collect()
    }

    /// All (group, group within it) pairs of an organization.
    ///
    /// # Errors
    /// As [`Transaction::group`].
    pub async fn group_nesting(
        &mut self,
        organization: &OrganizationId,
    ) -> Result<Vec<(GroupId, GroupId)>, Error> {
        let rows: Vec<(String, String)> = group_members::table
            .inner_join(groups::table.on(groups::id.eq(group_members::group_id)))
            .filter(groups::organization.eq(organization.as_str()))
            .filter(group_members::member_kind.eq("group"))
            .select((group_members::group_id, group_members::member_id))
            .load(self.connection())
            .await?;
        let pair = |(outer, inner): (String, String)| {
            Ok((parse("group_members", &outer)?, parse("group_members", &inner)?))
        };
        rows.into_iter().map(pair).collect()
    }
}

impl Write {
    /// Creates a group or changes its name; false if the id was taken meanwhile.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn put_group(
        &mut self,
        before: Option<&Group>,
        after: &Group,
    ) -> Result<bool, Failure> {
        let scope = Scope::Organization(after.organization.clone());
        self.require(&scope)?;
        let written = if before.is_some() {
            diesel::update(groups::table.find(after.id.as_str()))
                .set(groups::display_name.eq(&after.display_name))
                .execute(self.connection())
                .await?
        } else {
            let now = timestamps::to_sql(self.now());
            diesel::insert_into(groups::table)
                .values((
                    groups::id.eq(after.id.as_str()),
                    groups::organization.eq(after.organization.as_str()),
                    groups::display_name.eq(&after.display_name),
                    groups::create_time.eq(now),
                ))
                .on_conflict_do_nothing()
                .execute(self.connection())
                .await?
        };
        if written == 0 {
            return Ok(false);
        }
        self.record(Change {
            scope,
            what: if before.is_some() { "group.updated" } else { "group.created" },
            object: after.id.to_string(),
            portfolio: None,
            subject: Some(Subject::Group(after.id.clone())),
            keys: vec![FactKey::Subject(Subject::Group(after.id.clone()))],
            before: before.map_or(Value::Null, |group| json!(group)),
            after: json!(after),
        });
        Ok(true)
    }

    /// Puts subjects into a group that they are not in.
    ///
    /// # Errors
    /// As [`Write::put_group`].
    pub async fn insert_group_members(
        &mut self,
        group: &Group,
        members: &[Subject],
    ) -> Result<(), Failure> {
        self.require(&Scope::Organization(group.organization.clone()))?;
        self.hold_users(members.iter().filter_map(Subject::user)).await?;
        let row = |member: &Subject| {
            (
                group_members::group_id.eq(group.id.as_str().to_owned()),
                group_members::member_kind.eq(member.kind()),
                group_members::member_id.eq(member.id().to_owned()),
            )
        };
        // PostgreSQL takes 65,535 parameters a statement.
        for members in members.chunks(10_000) {
            let rows: Vec<_> = members.iter().map(row).collect();
            let insert = diesel::insert_into(group_members::table).values(rows);
            insert.execute(self.connection()).await?;
        }
        for member in members {
            self.record(membership(&group.organization, &group.id, member, true));
        }
        Ok(())
    }

    /// Takes subjects out of a group that they are in.
    ///
    /// # Errors
    /// As [`Write::put_group`].
    pub async fn delete_group_members(
        &mut self,
        group: &Group,
        members: &[Subject],
    ) -> Result<(), Failure> {
        self.require(&Scope::Organization(group.organization.clone()))?;
        for member in members {
            let key = (group.id.as_str(), member.kind(), member.id());
            diesel::delete(group_members::table.find(key)).execute(self.connection()).await?;
            self.record(membership(&group.organization, &group.id, member, false));
        }
        Ok(())
    }

    /// Deletes a group: its grants and its memberships end, those of others in it and its own in
    /// others. However many they are, each table takes one statement.
    ///
    /// # Errors
    /// As [`Write::put_group`].
    pub async fn delete_group(&mut self, group: &Group) -> Result<(), Failure> {
        let Group { id, organization, display_name: _ } = group;
        let scope = Scope::Organization(organization.clone());
        self.require(&scope)?;
        let subject = Subject::Group(id.clone());
        self.revoke_all(&subject).await?;
        let inner: Vec<(String, String)> = diesel::delete(group_members::table)
            .filter(group_members::group_id.eq(id.as_str()))
            .returning((group_members::member_kind, group_members::member_id))
            .get_results(self.connection())
            .await?;
        let outer: Vec<String> = diesel::delete(group_members::table)
            .filter(group_members::member_kind.eq(subject.kind()))
            .filter(group_members::member_id.eq(id.as_str()))
            .returning(group_members::group_id)
            .get_results(self.connection())
            .await?;
        diesel::delete(groups::table.find(id.as_str())).execute(self.connection()).await?;
        for (kind, member) in inner {
            let member = Subject::from_parts(&kind, &member)
                .map_err(|error| Error::corrupt("group_members", &member, error))?;
            self.record(membership(organization, id, &member, false));
        }
        for outer in outer {
            let outer = parse("group_members", &outer)?;
            self.record(membership(organization, &outer, &subject, false));
        }
        self.record(Change {
            scope,
            what: "group.deleted",
            object: id.to_string(),
            portfolio: None,
            subject: Some(subject.clone()),
            keys: vec![FactKey::Subject(subject)],
            before: json!(group),
            after: Value::Null,
        });
        Ok(())
    }
}

/// What is logged of a member who comes or goes.
pub(super) fn membership(
    organization: &OrganizationId,
    group: &GroupId,
    member: &Subject,
    added: bool,
) -> Change {
    let value = json!({ "member": member });
    Change {
        scope: Scope::Organization(organization.clone()),
        what: if added { "group_member.added" } else { "group_member.removed" },
        object: group.to_string(),
        portfolio: None,
        subject: Some(member.clone()),
        keys: vec![FactKey::Subject(member.clone())],
        before: if added { Value::Null } else { value.clone() },
        after: if added { value } else { Value::Null },
    }
}
