//! Identifiers: opaque strings chosen by the client, each kind a type of its own.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest id, in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// It is empty.
    #[error("must not be empty")]
    Empty,
    /// It has this many bytes.
    #[error("is {0} bytes long; at most {MAX_ID_BYTES} are accepted")]
    TooLong(usize),
    /// It has this character.
    #[error("contains {0:?}; ASCII letters, digits and `-_.@~+|:` are accepted")]
    Character(char),
    /// This text names no kind of subject.
    #[error("`{0}` is no subject; write `user:ann`, `group:sig-release` or `service_account:ci`")]
    Subject(String),
}

fn validate(text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty);
    }
    if text.len() > MAX_ID_BYTES {
        return Err(InvalidId::TooLong(text.len()));
    }
    if text.bytes().all(is_accepted) {
        return Ok(());
    }
    let accepted = |c: &char| u8::try_from(*c).is_ok_and(is_accepted);
    match text.chars().find(|c| !accepted(c)) {
        Some(c) => Err(InvalidId::Character(c)),
        None => Ok(()),
    }
}

fn is_accepted(byte: u8) -> bool {
    let mark = matches!(byte, b'-' | b'_' | b'.' | b'@' | b'~' | b'+' | b'|' | b':');
    byte.is_ascii_alphanumeric() || mark
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to 128 bytes of ASCII letters, digits and `-_.@~+|:`, case-sensitive.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                validate(text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }
    };
}

id!(
    /// The id of an organization.
    OrganizationId
);
id!(
    /// The id of a user.
    UserId
);
id!(
    /// The id of a group, unique in the installation.
    GroupId
);
id!(
    /// The id of a service account, unique in the installation.
    ServiceAccountId
);
id!(
    /// The id of a portfolio, unique in the installation and never reused (VIS-1).
    PortfolioId
);
id!(
    /// The id of a privacy request (VIS-7).
    PrivacyRequestId
);
id!(
    /// The key of a role, unique in its organization; it never changes (ROL-2).
    RoleKey
);
id!(
    /// What somebody is in an organization, such as `assessor`: a word of the client's (DIR-3).
    FunctionKey
);
id!(
    /// What sort of thing an item is, such as `board`: a word of the client's (ACC-5).
    ItemType
);
id!(
    /// The id of an item, unique in its organization among those of its type, never reused.
    ItemId
);

impl RoleKey {
    /// The built-in manager: the role whose unexpiring direct grants keep a portfolio managed
    /// (MEM-6).
    #[must_use]
    pub fn manager() -> Self {
        Self(super::role::MANAGER.into())
    }

    /// The built-in contributor: what openness gives where boards are planned (ROL-4).
    #[must_use]
    pub fn contributor() -> Self {
        Self(super::role::CONTRIBUTOR.into())
    }

    /// The built-in viewer: what openness gives by default (VIS-3).
    #[must_use]
    pub fn viewer() -> Self {
        Self(super::role::VIEWER.into())
    }
}

/// Whom a grant is given to and whom a check asks about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    /// A person.
    User(UserId),
    /// A group; as the subject of a check it has its own and its ancestors' grants only (DIR-4).
    Group(GroupId),
    /// A program of an organization.
    ServiceAccount(ServiceAccountId),
}

impl Subject {
    /// `user`, `group` or `service_account`: the word before the colon in text, and the kind in
    /// SQL.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::ServiceAccount(_) => "service_account",
        }
    }

    /// The id without the kind.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::User(id) => id.as_str(),
            Self::Group(id) => id.as_str(),
            Self::ServiceAccount(id) => id.as_str(),
        }
    }

    /// The user, if it is one.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::User(id) => Some(id),
            Self::Group(_) | Self::ServiceAccount(_) => None,
        }
    }

    /// The subject of this kind and id.
    ///
    /// # Errors
    /// An unknown kind, or an id that is none.
    pub fn from_parts(kind: &str, id: &str) -> Result<Self, InvalidId> {
        match kind {
            "user" => Ok(Self::User(id.parse()?)),
            "group" => Ok(Self::Group(id.parse()?)),
            "service_account" => Ok(Self::ServiceAccount(id.parse()?)),
            _ => Err(InvalidId::Subject(format!("{kind}:{id}"))),
        }
    }
}

impl FromStr for Subject {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let unknown = || InvalidId::Subject(text.to_owned());
        let (kind, id) = text.split_once(':').ok_or_else(unknown)?;
        Self::from_parts(kind, id)
    }
}

impl TryFrom<String> for Subject {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.id())
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_refuse_what_is_not_accepted_and_say_why() {
        assert_eq!("".parse::<UserId>(), Err(InvalidId::Empty));
        assert_eq!("a b".parse::<UserId>(), Err(InvalidId::Character(' ')));
        assert_eq!("ä".parse::<UserId>(), Err(InvalidId::Character('ä')));
        assert_eq!("x".repeat(129).parse::<UserId>(), Err(InvalidId::TooLong(129)));
        assert!("aZ9-_.@~+|:".parse::<UserId>().is_ok());
    }

    #[test]
    fn a_subject_in_text_names_its_kind() {
        let subject: Subject = "group:sig:release".parse().unwrap();
        assert_eq!((subject.kind(), subject.id()), ("group", "sig:release"));
        assert_eq!(subject.to_string(), "group:sig:release");
        assert!("ann".parse::<Subject>().is_err());
        assert!("robot:ci".parse::<Subject>().is_err());
    }
}
