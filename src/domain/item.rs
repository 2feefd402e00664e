//! An item: what another service owns and portfolios show (ACC-5).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::access_settings::Visibility;
use super::ids::{ItemId, ItemType, OrganizationId, PortfolioId, RoleKey, Subject, UserId};
use super::timestamp::Timestamp;

/// The most grants that an item has, its owner's apart.
pub const MAX_ITEM_GRANTS: usize = 1_000;
/// By how many portfolios an item is shown at the most.
pub const MAX_ITEM_PORTFOLIOS: usize = 100;

/// The name of an item in its organization. The order is that of lists: by type, then by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemKey {
    /// What sort of thing it is.
    pub item_type: ItemType,
    /// Which one of them.
    pub id: ItemId,
}

/// Why a text names no item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("names no item; write its type and its id, for example `board:b1`")]
pub struct InvalidItemKey;

impl ItemKey {
    /// The bytes of its text.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.item_type.as_str().len() + self.id.as_str().len()
    }

    /// The permission that lets somebody see an item of this type (ACC-6).
    #[must_use]
    pub fn view_permission(&self) -> &'static str {
        match self.item_type.as_str() {
            "initiative" => "initiative.view",
            "assessment" => "assessment.view",
            _ => super::permission::PORTFOLIO_VIEW,
        }
    }
}

/// `board:b1`: no type of a registered item has a colon.
impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.item_type, self.id)
    }
}

impl FromStr for ItemKey {
    type Err = InvalidItemKey;

    fn from_str(text: &str) -> Result<Self, InvalidItemKey> {
        let (item_type, id) = text.split_once(':').ok_or(InvalidItemKey)?;
        Ok(Self {
            item_type: item_type.parse().map_err(|_| InvalidItemKey)?,
            id: id.parse().map_err(|_| InvalidItemKey)?,
        })
    }
}

/// An item as it is registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Unique in the organization, never reused.
    pub key: ItemKey,
    /// Whose item it is; never changes.
    pub organization: OrganizationId,
    /// What people call it; may be empty.
    pub display_name: String,
    /// The portfolios that show it, sorted; of an inheriting item just one.
    pub portfolios: Vec<PortfolioId>,
    /// Who made it (ACC-4); none if nobody is known.
    pub author: Option<Subject>,
    /// Who owns it; none after the owner's account was deleted, and if there never was one.
    pub owner: Option<UserId>,
    /// Its own settings; none: it follows its portfolio.
    pub settings: Option<OwnSettings>,
    /// Whether nothing is added or changed in it (VIS-8).
    pub archived: bool,
    /// When it was registered.
    pub create_time: Timestamp,
    /// When it, its portfolios or its settings were last changed.
    pub update_time: Timestamp,
    /// Grows with every change; what an etag names.
    pub version: i64,
}

/// The settings of an independent item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnSettings {
    /// What internal users without a grant may do.
    pub visibility: Visibility,
    /// The role that openness gives.
    pub organization_access_role: RoleKey,
    /// Who is granted what, the owner apart: sorted, no duplicates.
    pub grants: Vec<ItemGrant>,
}

/// Access given to a subject on an independent item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ItemGrant {
    /// To whom.
    pub subject: Subject,
    /// As what.
    pub role: RoleKey,
    /// In force from this instant on; at once if none.
    pub start_time: Option<Timestamp>,
    /// In force until just before this instant; for good if none.
    pub expire_time: Option<Timestamp>,
}

impl Item {
    /// What a client passes back to change just this state of the item.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("v{}", self.version)
    }
}
