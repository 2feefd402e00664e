//! What people do with items, that is with boards, goals and whatever else portfolios show.
//!
//! ```text
//! WHO registers TYPE:ID on PORTFOLIO [owned by USER] [apart | copying PORTFOLIO]       [the item]
//! WHO gives SUBJECT TYPE:ID as ROLE                                                    [the item]
//! WHO takes SUBJECT off TYPE:ID                                                        [the item]
//! WHO sees items of PORTFOLIO                                                             [items]
//! ```

use portcullis::proto::v1;
use tonic::Status;

use super::steps::{Call, Doing, full};
use super::told::{Told, name};
use crate::calls::question;
use crate::harness::{Client, subject};

pub fn call(doing: Doing, who: Option<String>, does: &[&str]) -> Option<Call> {
    let Doing { client, organization } = doing;
    match does {
        ["registers", item, "on", portfolio, options @ ..] => {
            let portfolios = vec![(*portfolio).to_owned()];
            register(client, v1::Item { portfolios, ..named(&organization, item)? }, options)
        }
        ["gives", whom, item, "as", role] => {
            let grant = v1::ItemGrant {
                subject: Some(subject(&full(whom))),
                role: (*role).to_owned(),
                ..Default::default()
            };
            let item = named(&organization, item)?;
            Some(change(client, item, move |grants| grants.push(grant)))
        }
        ["takes", whom, "off", item] => {
            let whom = Some(subject(&full(whom)));
            let item = named(&organization, item)?;
            Some(change(client, item, move |grants| grants.retain(|grant| grant.subject != whom)))
        }
        ["sees", "items", "of", portfolio] => {
            let v1::CheckPermissionRequest { subject, portfolio, consistency, .. } =
                question(&who?, "portfolio.view", portfolio);
            let request = v1::ListVisibleItemsRequest {
                subject,
                portfolio,
                consistency,
                ..Default::default()
            };
            Some(Box::pin(async move {
                let found = client.policy().list_visible_items(request).await?.into_inner().items;
                let told = |item: &v1::VisibleItem| format!("{}:{}", item.r#type, item.id);
                Ok(Told::All(found.iter().map(told).collect()))
            }))
        }
        _ => None,
    }
}

/// An item by its type and id, `board:stage`.
fn named(organization: &str, item: &str) -> Option<v1::Item> {
    let (item_type, id) = item.split_once(':')?;
    let (r#type, id, organization) = (item_type.to_owned(), id.to_owned(), organization.to_owned());
    Some(v1::Item { organization, r#type, id, ..Default::default() })
}

fn register(client: Client, mut item: v1::Item, mut options: &[&str]) -> Option<Call> {
    let mut copy_settings_of = String::new();
    loop {
        options = match options {
            [] => break,
            ["owned", "by", owner, rest @ ..] => {
                (*owner).clone_into(&mut item.owner);
                rest
            }
            ["apart", rest @ ..] => {
                item.independent = true;
                rest
            }
            ["copying", portfolio, rest @ ..] => {
                (*portfolio).clone_into(&mut copy_settings_of);
                rest
            }
            _ => return None,
        };
    }
    let request =
        v1::RegisterItemRequest { item: Some(item), copy_settings_of, ..Default::default() };
    Some(Box::pin(async move {
        let registered = client.items().register_item(request).await?.into_inner();
        Ok(told(&registered.item.expect("an item")))
    }))
}

/// Changes what is granted on an item.
fn change(
    client: Client,
    item: v1::Item,
    change: impl FnOnce(&mut Vec<v1::ItemGrant>) + Send + 'static,
) -> Call {
    Box::pin(async move {
        let mut item = read(&client, item).await?;
        change(&mut item.grants);
        let update_mask = Some(prost_types::FieldMask { paths: vec!["grants".to_owned()] });
        let request = v1::UpdateItemRequest { item: Some(item), update_mask, ..Default::default() };
        let updated = client.items().update_item(request).await?.into_inner();
        Ok(told(&updated.item.expect("an item")))
    })
}

async fn read(client: &Client, item: v1::Item) -> Result<v1::Item, Status> {
    let v1::Item { organization, r#type, id, .. } = item;
    let request = v1::GetItemRequest { organization, r#type, id };
    Ok(client.items().get_item(request).await?.into_inner().item.expect("an item"))
}

fn told(item: &v1::Item) -> Told {
    let sort = if item.independent { "apart" } else { "following" };
    let granted = item.grants.iter().map(|it| format!("{} {}", name(it.subject.as_ref()), it.role));
    Told::One(
        [sort.to_owned(), format!("owner {}", item.owner)].into_iter().chain(granted).collect(),
    )
}
