//! Random requests of one of two tenants, made from the descriptors, so that an RPC or a field
//! cannot be forgotten.

use std::collections::BTreeMap;

use portcullis::proto::v1;
use prost::Message as _;
use prost::encoding::encode_varint;
use prost_types::field_descriptor_proto::Type;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::raw::{Contract, Value};

/// So many of each kind are there; as many names again half are free.
/// What both organizations are called: as the company of a member it is seen by others (MEM-4), and
/// no search is for it.
pub const PLAIN: &str = "Plain";
pub const FURNISHED: u32 = 4;
/// What people are, and what portfolios are.
pub const FUNCTIONS: [&str; 2] = ["tutor", "assessor"];
pub const TYPES: [&str; 2] = ["plan", "board"];

pub fn mask(path: &str) -> prost_types::FieldMask {
    prost_types::FieldMask { paths: vec![path.to_owned()] }
}

/// Makes requests of one tenant.
pub struct Maker<'a> {
    pub contract: &'a Contract,
    pub rng: StdRng,
    pub own: &'static str,
    pub other: &'static str,
    /// Whether this request names what is the other's.
    pub trespassing: bool,
    /// Page tokens that either of them was given.
    pub pages: Vec<String>,
}

impl Maker<'_> {
    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_ratio(1, n)
    }

    fn pick(&mut self, from: &[&str]) -> String {
        (*from.choose(&mut self.rng).expect("some")).to_owned()
    }

    fn organization(&mut self) -> String {
        let theirs = self.trespassing && self.one_in(2);
        (if theirs { self.other } else { self.own }).to_owned()
    }

    fn id(&mut self, kind: char) -> String {
        let organization = self.organization();
        if kind == 'u' && self.one_in(6) {
            return format!("{organization}-shared");
        }
        format!("{organization}-{kind}{}", self.rng.random_range(0..FURNISHED * 3 / 2))
    }

    pub fn actor(&mut self) -> Option<String> {
        let kind = if self.one_in(4) { ("service_account", 's') } else { ("user", 'u') };
        self.one_in(5).then(|| format!("{}:{}", kind.0, self.id(kind.1)))
    }

    /// Whether a request has this field.
    fn gives(&mut self, within: &str, field: &str) -> bool {
        match (within, field) {
            // What has no tenant, and what the clock would make different from run to run.
            (
                _,
                "at" | "etag" | "start_time" | "expire_time" | "duration" | "from_time"
                | "until_time" | "create_time" | "update_time" | "author" | "kinds" | "picture_uri"
                | "preset" | "privacy_approval" | "reason" | "built_in",
            )
            | ("CheckPermissionRequest" | "ExplainPermissionRequest" | "BatchCheckItem", "item")
            | ("User" | "ServiceAccount", "status")
            | ("Portfolio", "state")
            | ("CatalogPermission", "may_be_own" | "internal_only" | "registered") => false,
            (_, "page_token") => !self.pages.is_empty() && self.one_in(3),
            (_, "request_id") => self.one_in(8),
            (_, "copy_settings_of") => self.one_in(6),
            (
                "UserFilter"
                | "MemberFilter"
                | "AuditEventFilter"
                | "FunctionCeilingFilter"
                | "PrivacyRequestFilter"
                | "BatchCheckItem",
                _,
            )
            | (
                _,
                "filter" | "page_size" | "visibility" | "organization_access_role" | "replacement",
            )
            | ("Item", "independent" | "grants" | "archived" | "owner")
            | ("ListItemsRequest" | "ListVisibleItemsRequest", "type")
            | ("Portfolio", "parent" | "linked")
            | ("MovePortfolioRequest", "parent" | "link")
            | ("ListAuditEventsRequest", "portfolio" | "organization")
            | ("ListPrivacyRequestsRequest", "portfolio" | "organization" | "mine")
            | ("ListAccessiblePortfoliosRequest", "organization") => self.one_in(2),
            _ => true,
        }
    }

    pub fn message(&mut self, name: &str) -> Vec<u8> {
        let within = name.rsplit('.').next().expect("a name");
        let mut fields = self.contract.fields(name);
        if matches!(within, "Subject" | "MemberSpec") {
            let at = self.rng.random_range(0..fields.len());
            fields = vec![fields.swap_remove(at)];
        }
        // An entry that is taken spoils none of the others; one at a time may be left out whole.
        let single = within.starts_with("Upsert");
        let (mut bytes, mut before) = (Vec::new(), BTreeMap::new());
        for field in &fields {
            let upserts = single && field.name == "request_id";
            if upserts || !self.gives(within, &field.name) {
                continue;
            }
            let times = if field.repeated && !single { self.rng.random_range(1..=3) } else { 1 };
            for _ in 0..times {
                let value = match (field.kind, field.name.as_str()) {
                    (_, "update_mask") => Value::Bytes(self.update_mask(within).encode_to_vec()),
                    (_, "consistency") => {
                        let requirement = v1::consistency::Requirement::FullyConsistent(true);
                        let fresh = v1::Consistency { requirement: Some(requirement) };
                        Value::Bytes(fresh.encode_to_vec())
                    }
                    (Type::Message, _) => Value::Bytes(self.message(&field.message)),
                    (Type::String, name) => {
                        let confirmed = name.strip_prefix("confirm_").and_then(|it| before.get(it));
                        let text: Option<&String> = confirmed;
                        let text = text.cloned().unwrap_or_else(|| self.text(within, name));
                        before.insert(name.to_owned(), text.clone());
                        Value::Bytes(text.into_bytes())
                    }
                    // No view: the only one there is without an actor.
                    (Type::Enum, "view") => Value::Number(0),
                    (Type::Enum | Type::Bool, _) => Value::Number(self.rng.random_range(1..=2)),
                    _ => Value::Number(self.rng.random_range(1..=3)),
                };
                put(&mut bytes, field.tag, &value);
            }
        }
        bytes
    }

    fn update_mask(&mut self, within: &str) -> prost_types::FieldMask {
        mask(&self.pick(match within {
            "UpdateOrganizationRequest" => {
                &["display_name", "administrators", "partner_organizations", "domains"]
            }
            "UpdatePortfolioRequest" => &["display_name", "type"],
            "UpdateAccessSettingsRequest" => &["visibility", "organization_access_role"],
            "UpdateMemberRequest" => &["role"],
            "UpdateItemRequest" => {
                &["display_name", "portfolios", "owner", "visibility", "grants", "archived"]
            }
            "UpdateRoleRequest" => &["display_name", "description", "permissions"],
            other => panic!("{other}: say here what its mask may name"),
        }))
    }

    fn text(&mut self, within: &str, field: &str) -> String {
        match (within, field) {
            ("Organization", "id")
            | (_, "organization" | "home_organization" | "partner_organizations") => {
                self.organization()
            }
            ("Portfolio", "id")
            | (_, "portfolio" | "portfolios" | "copy_settings_of" | "parent" | "settings_of") => {
                self.id('p')
            }
            ("Item" | "GetItemRequest" | "DeleteItemRequest", "id") => self.id('i'),
            ("User", "id") | (_, "user" | "owner" | "new_owner" | "administrators") => self.id('u'),
            ("Group", "id") | (_, "group") => self.id('g'),
            (_, "privacy_request") => self.id('r'),
            ("ServiceAccount", "id") | (_, "service_account") => self.id('s'),
            (_, "actor") => format!("user:{}", self.id('u')),
            (_, "email") => {
                let id = self.id('u');
                format!("{id}@{}.example", &id[..4])
            }
            (_, "domains") => format!("{}.example", self.organization()),
            ("Role", "key")
            | ("GetRoleRequest" | "DeleteRoleRequest", "role")
            | (_, "replacement") => self.pick(&["scribe", "scout", "viewer"]),
            (_, "role" | "organization_access_role") => {
                self.pick(&["viewer", "contributor", "manager"])
            }
            ("RolePermission", "permission") => {
                self.pick(&["portfolio.view", "initiative.edit", "comment.view", "epic.view"])
            }
            (_, "permission") => self.pick(&["portfolio.view", "members.view", "initiative.edit"]),
            ("CatalogPermission", "name") => "budget.approve".to_owned(),
            ("Organization", "display_name") => PLAIN.to_owned(),
            (_, "display_name" | "description") => format!("secret-of-{}", self.own),
            (_, "type" | "portfolio_type") => self.pick(&TYPES),
            (_, "function") => self.pick(&FUNCTIONS),
            (_, "search") => self.pick(&["e", "acme", "zeta", "secret"]),
            (_, "request_id") => format!("r{}", self.rng.random_range(0..20)),
            (_, "page_token") => self.pages.choose(&mut self.rng).expect("some").clone(),
            other => panic!("{other:?}: say here what this field may hold"),
        }
    }
}

fn put(bytes: &mut Vec<u8>, tag: u32, value: &Value) {
    match value {
        Value::Number(number) => {
            encode_varint(u64::from(tag << 3), bytes);
            encode_varint(*number, bytes);
        }
        Value::Bytes(value) => {
            encode_varint(u64::from(tag << 3 | 2), bytes);
            encode_varint(value.len() as u64, bytes);
            bytes.extend(value);
        }
    }
}
