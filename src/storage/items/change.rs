//! What is written of items: registered, changed, deleted, no more shown.

use std::collections::BTreeSet;
use std::slice;

use diesel::prelude::*;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::fact::FactKey;
use crate::domain::item::{Item, ItemGrant};
use crate::domain::page::Page;
use crate::domain::portfolio::Portfolio;
use crate::domain::role::MANAGER;
use crate::domain::{OrganizationId, PortfolioId, Subject, UserId};
use crate::storage::schema::{item_grants, item_portfolios, items};
use crate::storage::{Change, Failure, Scope, Write, timestamps};

const REVOKE: &str = "
    UPDATE item_grants AS g SET revoke_time = $4
    FROM unnest($5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[])
         AS r (kind, id, role, start_time, expire_time)
    WHERE g.organization = $1 AND g.item_type = $2 AND g.item_id = $3
      AND g.subject_kind = r.kind AND g.subject_id = r.id AND g.role = r.role
      AND g.start_time IS NOT DISTINCT FROM r.start_time
      AND g.expire_time IS NOT DISTINCT FROM r.expire_time
      AND NOT g.ownership AND g.revoke_time IS NULL";

/// Of nothing that is gone is anybody the owner or the author. $1: organization, $2 and $3: types
/// and ids, $4: now.
const DELETE: &str = "
    WITH gone AS (
        UPDATE items AS i
        SET deleted = true, owner = NULL, author_kind = NULL, author_id = NULL, update_time = $4,
            version = version + 1
        FROM unnest($2::text[], $3::text[]) AS k (item_type, id)
        WHERE i.organization = $1 AND i.item_type = k.item_type AND i.id = k.id
        RETURNING i.organization, i.item_type, i.id
    ), hidden AS (
        DELETE FROM item_portfolios AS s USING gone AS g
        WHERE s.organization = g.organization AND s.item_type = g.item_type AND s.item_id = g.id
    )
    UPDATE item_grants AS r SET revoke_time = $4 FROM gone AS g
    WHERE r.organization = g.organization AND r.item_type = g.item_type AND r.item_id = g.id
      AND r.revoke_time IS NULL";

/// $1: portfolio, $2: now.
const HIDE: &str = "
    WITH hidden AS (
        DELETE FROM item_portfolios WHERE portfolio = $1 RETURNING organization, item_type, item_id
    )
    UPDATE items AS i SET update_time = $2, version = version + 1 FROM hidden AS h
    WHERE i.organization = h.organization AND i.item_type = h.item_type AND i.id = h.item_id";

impl Write {
    /// Registers an item; false if the id is or ever was taken. Needs the organization's scope.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn insert_item(&mut self, item: &Item) -> Result<bool, Failure> {
        self.require(&Scope::Organization(item.organization.clone()))?;
        self.hold_users(named(item)).await?;
        let settings = item.settings.as_ref();
        let author = item.author.as_ref();
        let role = settings.map(|settings| settings.organization_access_role.as_str());
        let inserted = diesel::insert_into(items::table)
            .values((
                items::organization.eq(item.organization.as_str()),
                items::item_type.eq(item.key.item_type.as_str()),
                items::id.eq(item.key.id.as_str()),
                items::display_name.eq(&item.display_name),
                items::author_kind.eq(author.map(Subject::kind)),
                items::author_id.eq(author.map(Subject::id)),
                items::owner.eq(item.owner.as_ref().map(UserId::as_str)),
                items::independent.eq(settings.is_some()),
                items::visibility.eq(settings.map(|settings| settings.visibility.as_str())),
                items::organization_access_role.eq(role),
                items::archived.eq(item.archived),
                items::create_time.eq(timestamps::to_sql(item.create_time)),
                items::update_time.eq(timestamps::to_sql(item.update_time)),
                items::version.eq(item.version),
            ))
            .on_conflict_do_nothing()
            .execute(self.connection())
            .await?;
        if inserted == 0 {
            return Ok(false);
        }
        self.show(item, &item.portfolios).await?;
        if let Some(settings) = settings {
            self.give_on(item, settings.grants.iter()).await?;
            self.give_ownership(item).await?;
        }
        self.record(change("item.registered", item, Value::Null, json!(item)));
        Ok(true)
    }

    /// Makes an item what it is after a change; writes just what differs. Needs the organization's
    /// scope.
    ///
    /// # Errors
    /// As [`Write::insert_item`].
    pub async fn update_item(&mut self, before: &Item, after: &Item) -> Result<(), Failure> {
        self.require(&Scope::Organization(before.organization.clone()))?;
        self.hold_users(named(after)).await?;
        let settings = after.settings.as_ref();
        let role = settings.map(|settings| settings.organization_access_role.as_str());
        diesel::update(items::table.find((
            after.organization.as_str(),
            after.key.item_type.as_str(),
            after.key.id.as_str(),
        )))
        .set((
            items::display_name.eq(&after.display_name),
            items::owner.eq(after.owner.as_ref().map(UserId::as_str)),
            items::visibility.eq(settings.map(|settings| settings.visibility.as_str())),
            items::organization_access_role.eq(role),
            items::archived.eq(after.archived),
            items::update_time.eq(timestamps::to_sql(after.update_time)),
            items::version.eq(after.version),
        ))
        .execute(self.connection())
        .await?;
        let gone = |id: &&PortfolioId| !after.portfolios.contains(id);
        let gone: Vec<&str> =
            before.portfolios.iter().filter(gone).map(PortfolioId::as_str).collect();
        if !gone.is_empty() {
            let places = item_portfolios::table
                .filter(item_portfolios::organization.eq(after.organization.as_str()))
                .filter(item_portfolios::item_type.eq(after.key.item_type.as_str()))
                .filter(item_portfolios::item_id.eq(after.key.id.as_str()))
                .filter(item_portfolios::portfolio.eq_any(gone));
            diesel::delete(places).execute(self.connection()).await?;
        }
        let new = after.portfolios.iter().filter(|id| !before.portfolios.contains(id));
        let new: Vec<PortfolioId> = new.cloned().collect();
        self.show(after, &new).await?;
        if let (Some(was), Some(is)) = (&before.settings, settings) {
            let (old, new): (BTreeSet<&ItemGrant>, BTreeSet<&ItemGrant>) =
                (was.grants.iter().collect(), is.grants.iter().collect());
            self.revoke_on(after, old.difference(&new).copied()).await?;
            self.give_on(after, new.difference(&old).copied()).await?;
            if before.owner != after.owner {
                self.end_ownership(after).await?;
                self.give_ownership(after).await?;
            }
        }
        self.record(change("item.updated", after, json!(before), json!(after)));
        Ok(())
    }

    /// Deletes an item for good: its grants end, no portfolio shows it any more; the row and the
    /// audit trail stay. Needs the organization's scope.
    ///
    /// # Errors
    /// As [`Write::insert_item`].
    pub async fn delete_item(&mut self, before: &Item) -> Result<Item, Failure> {
        self.delete_items(&before.organization, slice::from_ref(before)).await?;
        let (version, update_time) = (before.version + 1, self.now());
        Ok(Item { update_time, version, ..before.clone() })
    }

    /// Takes its place from everything that a portfolio shows, and deletes what only it shows
    /// (VIS-9).
    pub(in crate::storage) async fn hide_items_of(
        &mut self,
        portfolio: &Portfolio,
    ) -> Result<(), Failure> {
        let page = Page { after: None, size: usize::MAX };
        let keys = self.items_shown(&portfolio.id, None, &page).await?;
        let shown = self.items(&portfolio.organization, &keys).await?;
        let (hidden, elsewhere): (Vec<Item>, Vec<Item>) =
            shown.into_iter().partition(|item| item.portfolios.len() == 1);
        self.delete_items(&portfolio.organization, &hidden).await?;
        diesel::sql_query(HIDE)
            .bind::<Text, _>(portfolio.id.as_str())
            .bind::<Timestamptz, _>(timestamps::to_sql(self.now()))
            .execute(self.connection())
            .await?;
        for before in elsewhere {
            let mut after = before.clone();
            after.portfolios.retain(|id| *id != portfolio.id);
            after.version += 1;
            after.update_time = self.now();
            self.record(change("item.updated", &after, json!(before), json!(after)));
        }
        Ok(())
    }

    async fn delete_items(
        &mut self,
        organization: &OrganizationId,
        items: &[Item],
    ) -> Result<(), Failure> {
        self.require(&Scope::Organization(organization.clone()))?;
        let types: Vec<&str> = items.iter().map(|item| item.key.item_type.as_str()).collect();
        let ids: Vec<&str> = items.iter().map(|item| item.key.id.as_str()).collect();
        diesel::sql_query(DELETE)
            .bind::<Text, _>(organization.as_str())
            .bind::<Array<Text>, _>(types)
            .bind::<Array<Text>, _>(ids)
            .bind::<Timestamptz, _>(timestamps::to_sql(self.now()))
            .execute(self.connection())
            .await?;
        for before in items {
            self.record(change("item.deleted", before, json!(before), Value::Null));
        }
        Ok(())
    }

    async fn show(&mut self, item: &Item, portfolios: &[PortfolioId]) -> Result<(), Failure> {
        let row = |id: &PortfolioId| {
            (
                item_portfolios::organization.eq(item.organization.as_str().to_owned()),
                item_portfolios::item_type.eq(item.key.item_type.as_str().to_owned()),
                item_portfolios::item_id.eq(item.key.id.as_str().to_owned()),
                item_portfolios::portfolio.eq(id.as_str().to_owned()),
            )
        };
        let rows: Vec<_> = portfolios.iter().map(row).collect();
        if !rows.is_empty() {
            let insert = diesel::insert_into(item_portfolios::table).values(rows);
            insert.execute(self.connection()).await?;
        }
        Ok(())
    }

    async fn give_on<'a>(
        &mut self,
        item: &Item,
        given: impl Iterator<Item = &'a ItemGrant>,
    ) -> Result<(), Failure> {
        let now = timestamps::to_sql(self.now());
        let row = |grant: &ItemGrant| {
            (
                item_grants::id.eq(Uuid::now_v7()),
                item_grants::organization.eq(item.organization.as_str().to_owned()),
                item_grants::item_type.eq(item.key.item_type.as_str().to_owned()),
                item_grants::item_id.eq(item.key.id.as_str().to_owned()),
                item_grants::subject_kind.eq(grant.subject.kind()),
                item_grants::subject_id.eq(grant.subject.id().to_owned()),
                item_grants::role.eq(grant.role.as_str().to_owned()),
                item_grants::ownership.eq(false),
                item_grants::start_time.eq(grant.start_time.map(timestamps::to_sql)),
                item_grants::expire_time.eq(grant.expire_time.map(timestamps::to_sql)),
                item_grants::create_time.eq(now),
            )
        };
        let rows: Vec<_> = given.map(row).collect();
        if !rows.is_empty() {
            let insert = diesel::insert_into(item_grants::table).values(rows);
            insert.execute(self.connection()).await?;
        }
        Ok(())
    }

    async fn revoke_on<'a>(
        &mut self,
        item: &Item,
        revoked: impl Iterator<Item = &'a ItemGrant>,
    ) -> Result<(), Failure> {
        let revoked: Vec<&ItemGrant> = revoked.collect();
        if revoked.is_empty() {
            return Ok(());
        }
        let now = timestamps::to_sql(self.now());
        let each = |text: fn(&ItemGrant) -> &str| -> Vec<String> {
            revoked.iter().map(|grant| text(grant).to_owned()).collect()
        };
        let starts: Vec<_> =
            revoked.iter().map(|grant| grant.start_time.map(timestamps::to_sql)).collect();
        let ends: Vec<_> =
            revoked.iter().map(|grant| grant.expire_time.map(timestamps::to_sql)).collect();
        diesel::sql_query(REVOKE)
            .bind::<Text, _>(item.organization.as_str())
            .bind::<Text, _>(item.key.item_type.as_str())
            .bind::<Text, _>(item.key.id.as_str())
            .bind::<Timestamptz, _>(now)
            .bind::<Array<Text>, _>(each(|grant| grant.subject.kind()))
            .bind::<Array<Text>, _>(each(|grant| grant.subject.id()))
            .bind::<Array<Text>, _>(each(|grant| grant.role.as_str()))
            .bind::<Array<Nullable<Timestamptz>>, _>(starts)
            .bind::<Array<Nullable<Timestamptz>>, _>(ends)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// What the owner of an independent item holds on it.
    async fn give_ownership(&mut self, item: &Item) -> Result<(), Failure> {
        let Some(owner) = &item.owner else { return Ok(()) };
        let now = timestamps::to_sql(self.now());
        diesel::insert_into(item_grants::table)
            .values((
                item_grants::id.eq(Uuid::now_v7()),
                item_grants::organization.eq(item.organization.as_str()),
                item_grants::item_type.eq(item.key.item_type.as_str()),
                item_grants::item_id.eq(item.key.id.as_str()),
                item_grants::subject_kind.eq("user"),
                item_grants::subject_id.eq(owner.as_str()),
                item_grants::role.eq(MANAGER),
                item_grants::ownership.eq(true),
                item_grants::create_time.eq(now),
            ))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn end_ownership(&mut self, item: &Item) -> Result<(), Failure> {
        let now = timestamps::to_sql(self.now());
        let owned = item_grants::table
            .filter(item_grants::organization.eq(item.organization.as_str()))
            .filter(item_grants::item_type.eq(item.key.item_type.as_str()))
            .filter(item_grants::item_id.eq(item.key.id.as_str()))
            .filter(item_grants::ownership)
            .filter(item_grants::revoke_time.is_null());
        diesel::update(owned)
            .set(item_grants::revoke_time.eq(now))
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

/// The users whom an item gives something, or who made it.
pub(super) fn named(item: &Item) -> impl Iterator<Item = &UserId> {
    let granted = item.settings.iter().flat_map(|settings| &settings.grants);
    let subjects = granted.map(|grant| &grant.subject).chain(&item.author);
    item.owner.iter().chain(subjects.filter_map(Subject::user))
}

pub(super) fn change(what: &'static str, item: &Item, before: Value, after: Value) -> Change {
    // Of several portfolios none is *the* one: the organization's trail has it.
    let portfolio = match item.portfolios.as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    };
    Change {
        scope: Scope::Organization(item.organization.clone()),
        what,
        object: item.key.to_string(),
        portfolio,
        subject: None,
        keys: vec![FactKey::Item(item.key.clone())],
        before,
        after,
    }
}
