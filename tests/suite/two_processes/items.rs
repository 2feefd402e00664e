//! The items that portfolios show.

use portcullis::domain::{ItemKey, Subject as DomainSubject};
use portcullis::proto::v1::*;
use tonic::Code;

use super::{Stage, subject, visibility};
use crate::oracle::{Grant as ModelGrant, Item as ModelItem, Operation};

impl Stage {
    /// The id that the item has by now: one that was deleted is never registered again, so that the
    /// next one of that name has a number.
    pub(super) fn item_id(&self, key: &ItemKey) -> String {
        match self.registered.get(key) {
            None | Some(1) => key.id.to_string(),
            Some(count) => format!("{}-{count}", key.id),
        }
    }

    fn live(&self, key: &ItemKey) -> Option<ModelItem> {
        let mut items = self.model.items.iter();
        items.find(|item| item.key == *key && !item.portfolios.is_empty()).cloned()
    }

    /// Registers the item, or changes the one that is there, if just that is changed that can be.
    pub(super) async fn put_item(&mut self, item: &ModelItem) {
        let mut item = self.fitting(item);
        item.author = item.author.filter(|author| self.exists(author));
        match self.live(&item.key) {
            Some(before)
                if before.author == item.author
                    && before.settings.is_some() == item.settings.is_some() =>
            {
                self.update_item(&before, item).await;
            }
            Some(_) => {
                self.delete_item(&item.key).await;
                self.register_item(item).await;
            }
            None => self.register_item(item).await,
        }
    }

    /// The item without what is malformed, and without what nobody may be given.
    fn fitting(&self, item: &ModelItem) -> ModelItem {
        let mut item = item.clone();
        item.author = item.author.filter(|author| !matches!(author, DomainSubject::Group(_)));
        if let Some((_, _, grants)) = &mut item.settings {
            let mut kept: Vec<ModelGrant> = Vec::new();
            for grant in grants.drain(..) {
                let id = grant.subject.id();
                let away = self.model.users.iter().any(|user| user.id == id && user.deactivated);
                let backwards = grant.start.zip(grant.expire).is_some_and(|(s, e)| e <= s);
                if !away && !backwards && !kept.contains(&grant) {
                    kept.push(grant);
                }
            }
            *grants = kept;
        }
        item
    }

    fn on_the_wire(&self, item: &ModelItem) -> Item {
        let wire = Item {
            organization: self.model.organization.clone(),
            r#type: item.key.item_type.to_string(),
            id: self.item_id(&item.key),
            portfolios: item.portfolios.clone(),
            author: item.author.as_ref().map(subject),
            archived: item.archived,
            ..Default::default()
        };
        let Some((shown_to, role, grants)) = &item.settings else { return wire };
        let grant = |grant: &ModelGrant| ItemGrant {
            subject: Some(subject(&grant.subject)),
            role: grant.role.clone(),
            start_time: grant.start.map(|hour| self.hours.instant(hour)),
            expire_time: grant.expire.map(|hour| self.hours.instant(hour)),
        };
        Item {
            independent: true,
            visibility: visibility(*shown_to),
            organization_access_role: role.clone(),
            grants: grants.iter().map(grant).collect(),
            ..wire
        }
    }

    /// How showing an item is refused: by the first of the portfolios that is not there, or that is
    /// archived.
    fn refusal_of_places<'a>(&self, ids: impl IntoIterator<Item = &'a String>) -> Option<Code> {
        ids.into_iter().find_map(|id| match self.model.portfolio(id) {
            None => Some(Code::NotFound),
            Some(portfolio) => portfolio.archived.then_some(Code::FailedPrecondition),
        })
    }

    /// Whoever made an item is somebody.
    fn exists(&self, author: &DomainSubject) -> bool {
        let id = author.id();
        match author {
            DomainSubject::User(_) => self.model.users.iter().any(|user| user.id == id),
            DomainSubject::ServiceAccount(_) => {
                self.model.service_accounts.iter().any(|account| account.id == id)
            }
            DomainSubject::Group(_) => false,
        }
    }

    async fn register_item(&mut self, item: ModelItem) {
        let refusal = self.refusal_of_places(&item.portfolios);
        let before = self.registered.clone();
        *self.registered.entry(item.key.clone()).or_default() += 1;
        let wire = self.on_the_wire(&item);
        let request = RegisterItemRequest { item: Some(wire), ..Default::default() };
        match self.writer().items.register_item(request).await {
            Ok(response) => {
                assert_eq!(refusal, None, "{item:?}");
                self.token = response.into_inner().consistency_token;
                self.model.perform(&Operation::PutItem { item });
            }
            Err(status) => {
                assert_eq!(Some(status.code()), refusal, "{item:?}: {status:?}");
                self.registered = before;
            }
        }
    }

    async fn update_item(&mut self, before: &ModelItem, item: ModelItem) {
        let new = item.portfolios.iter().filter(|id| !before.portfolios.contains(id));
        let archived = (before.archived && item.archived)
            || before
                .portfolios
                .iter()
                .all(|id| self.model.portfolio(id).is_some_and(|it| it.archived));
        let halted = archived && !only_takes_away(before, &item);
        let refusal = self.refusal_of_places(new);
        let refusal = refusal.or_else(|| halted.then_some(Code::FailedPrecondition));
        let paths: &[&str] = match item.settings {
            None => &["portfolios", "archived"],
            Some(_) => {
                &["portfolios", "archived", "visibility", "organization_access_role", "grants"]
            }
        };
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        let request = UpdateItemRequest {
            item: Some(self.on_the_wire(&item)),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..Default::default()
        };
        match self.writer().items.update_item(request).await {
            Ok(response) => {
                assert_eq!(refusal, None, "{before:?} to {item:?}");
                self.token = response.into_inner().consistency_token;
                self.model.perform(&Operation::PutItem { item });
            }
            Err(status) => {
                assert_eq!(Some(status.code()), refusal, "{before:?} to {item:?}: {status:?}");
            }
        }
    }

    /// A deleted item is one that nothing shows: what it kept from people is not theirs.
    pub(super) async fn delete_item(&mut self, key: &ItemKey) {
        let request = DeleteItemRequest {
            organization: self.model.organization.clone(),
            r#type: key.item_type.to_string(),
            id: self.item_id(key),
            ..Default::default()
        };
        let live = self.live(key);
        match (self.writer().items.delete_item(request).await, live) {
            (Ok(response), Some(item)) => {
                self.token = response.into_inner().consistency_token;
                let item = ModelItem { portfolios: Vec::new(), ..item };
                self.model.perform(&Operation::PutItem { item });
            }
            (Err(status), None) => assert_eq!(status.code(), Code::NotFound, "{status:?}"),
            both => panic!("{key}: {both:?}"),
        }
    }
}

/// Whether a change does no more than to end grants, to withdraw the item from portfolios, or to
/// archive it or bring it back (VIS-8).
fn only_takes_away(before: &ModelItem, after: &ModelItem) -> bool {
    let mut less = before.clone();
    less.archived = after.archived;
    less.portfolios.retain(|id| after.portfolios.contains(id));
    if let (Some((_, _, grants)), Some((_, _, left))) = (&mut less.settings, &after.settings) {
        grants.retain(|grant| left.contains(grant));
    }
    less == *after
}
