use std::collections::BTreeSet;

use super::parse::{self, Violations};
use super::{render as wire, status as errors};
use crate::app::{ListUsers, UpsertUser, Upserted, UserOutcome};
use crate::config::Limits;
use crate::domain::directory::{Email, SiteRole, User, UserFilter};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{OrganizationId, UserId};
use crate::proto::v1;

/// The longest address of a picture, in bytes.
const MAX_PICTURE_URI_BYTES: usize = 2_048;
/// The longest text that is searched for, in characters.
const MAX_SEARCH_CHARS: usize = 200;

/// The entries: what is wrong with one spoils it alone.
pub(super) fn upsert(
    request: v1::UpsertUsersRequest,
    limits: &Limits,
) -> Result<Vec<Result<UpsertUser, Refusal>>, Refusal> {
    let v1::UpsertUsersRequest { request_id: _, users } = request;
    parse::batch("users", users.len(), limits.max_batch)?;
    let mut seen = BTreeSet::new();
    let parse = |(at, user)| {
        let user: UpsertUser = entry(at, user, limits)?;
        match &user.id {
            Some(id) if !seen.insert(id.clone()) => {
                let description = "names a user of an earlier entry; leave it out";
                Err(Refusal::field(format!("users[{at}].id"), description))
            }
            _ => Ok(user),
        }
    };
    Ok(users.into_iter().enumerate().map(parse).collect())
}

fn entry(at: usize, user: v1::User, limits: &Limits) -> Result<UpsertUser, Refusal> {
    let v1::User {
        id,
        email,
        display_name,
        picture_uri,
        home_organization,
        // Output only.
        status: _,
    } = user;
    let field = |name: &str| format!("users[{at}].{name}");
    let mut violations = Violations::default();
    let id = violations.check(parse::optional_id(field("id"), &id));
    let email = Email::parse(&email)
        .map_err(|error| Refusal::field_because(Reason::InvalidEmail, field("email"), error));
    let email = violations.check(email);
    let name = field("display_name");
    let display_name = violations.check(parse::optional_display_name(
        &name,
        display_name,
        limits.max_string_bytes,
    ));
    let picture_uri = violations.check(self::picture_uri(&field("picture_uri"), picture_uri));
    let home = parse::optional_id(field("home_organization"), &home_organization);
    let home_organization = violations.check(home);
    violations.finish((|| {
        Some(UpsertUser {
            id: id?,
            email: email?,
            display_name: display_name?,
            picture_uri: picture_uri?,
            home_organization: home_organization?,
        })
    })())
}

fn picture_uri(field: &str, uri: String) -> Result<String, Refusal> {
    let web = uri.starts_with("https://") || uri.starts_with("http://");
    let odd = |c: char| c.is_control() || c.is_whitespace();
    if uri.is_empty() || (web && uri.len() <= MAX_PICTURE_URI_BYTES && !uri.contains(odd)) {
        return Ok(uri);
    }
    let description = format!(
        "must be an address that begins with `https://` or `http://`, at most \
         {MAX_PICTURE_URI_BYTES} bytes, without spaces or control characters"
    );
    Err(Refusal::field(field, description))
}

/// What is listed, and what its page tokens are bound to.
pub(super) fn list(
    request: v1::ListUsersRequest,
    limits: &Limits,
) -> Result<(ListUsers, String), Refusal> {
    let v1::ListUsersRequest { organization, filter, page_size, page_token } = request;
    let mut violations = Violations::default();
    let query = format!("ListUsers {organization:?} {filter:?}");
    let organization = violations.check(parse::id("organization", &organization));
    let filter = violations.check(filter.map_or_else(|| Ok(UserFilter::default()), self::filter));
    let asked = (page_size, page_token.as_str());
    let page = parse::page(&mut violations, &query, asked, limits.max_page_size);
    violations.finish((|| {
        let request = ListUsers { organization: organization?, filter: filter?, page: page? };
        Some((request, query))
    })())
}

fn filter(filter: v1::UserFilter) -> Result<UserFilter, Refusal> {
    let v1::UserFilter { search, status, affiliated } = filter;
    let characters = search.chars().count();
    // The database takes no NUL.
    if characters > MAX_SEARCH_CHARS || search.contains(char::is_control) {
        let description = format!(
            "must be at most {MAX_SEARCH_CHARS} characters, none of them a control character"
        );
        return Err(Refusal::field("filter.search", description));
    }
    let deactivated = match v1::UserStatus::try_from(status) {
        Ok(v1::UserStatus::Unspecified) => None,
        Ok(v1::UserStatus::Active) => Some(false),
        Ok(v1::UserStatus::Deactivated) => Some(true),
        Err(_) => {
            let description = "must be `USER_STATUS_ACTIVE` or `USER_STATUS_DEACTIVATED`, or unset";
            return Err(Refusal::field("filter.status", description));
        }
    };
    let search = Some(search).filter(|text| !text.is_empty());
    Ok(UserFilter { search, deactivated, affiliated })
}

pub(super) fn delete(request: v1::DeleteUserRequest) -> Result<UserId, Refusal> {
    let v1::DeleteUserRequest { request_id: _, user, confirm_user } = request;
    let mut violations = Violations::default();
    let id = violations.check(parse::id("user", &user));
    if confirm_user != user {
        let description = "must repeat the id of the user, as confirmation";
        violations.check::<()>(Err(Refusal::field("confirm_user", description)));
    }
    violations.finish(id)
}

pub(super) fn set_site_role(
    request: v1::SetSiteRoleRequest,
) -> Result<(OrganizationId, UserId, SiteRole), Refusal> {
    let v1::SetSiteRoleRequest { request_id: _, organization, user, site_role } = request;
    let mut violations = Violations::default();
    let organization = violations.check(parse::id("organization", &organization));
    let user = violations.check(parse::id("user", &user));
    let role = violations.check(parse::site_role("site_role", site_role));
    violations.finish((|| Some((organization?, user?, role?)))())
}

pub(super) fn outcome(at: usize, outcome: UserOutcome) -> v1::UpsertUserOutcome {
    let (status, user, refusal) = match outcome {
        UserOutcome::Done(done, user) => (upsert_status(done), Some(user), None),
        UserOutcome::Refused(refusal) => (v1::UpsertStatus::Refused, None, Some(refusal)),
    };
    v1::UpsertUserOutcome {
        index: wire::index(at),
        status: status.into(),
        user: user.map(render),
        refusal: refusal.map(errors::refusal),
    }
}

pub(super) fn upsert_status(done: Upserted) -> v1::UpsertStatus {
    match done {
        Upserted::Created => v1::UpsertStatus::Created,
        Upserted::Updated => v1::UpsertStatus::Updated,
        Upserted::Unchanged => v1::UpsertStatus::Unchanged,
    }
}

pub(super) fn render(user: User) -> v1::User {
    let User { id, email, display_name, picture_uri, home_organization, deactivated } = user;
    v1::User {
        id: id.to_string(),
        email: email.into(),
        display_name,
        picture_uri,
        home_organization: home_organization.map(String::from).unwrap_or_default(),
        status: self::status(deactivated).into(),
    }
}

pub(super) fn status(deactivated: bool) -> v1::UserStatus {
    if deactivated { v1::UserStatus::Deactivated } else { v1::UserStatus::Active }
}

pub(super) fn site_role(
    organization: &OrganizationId,
    user: &UserId,
    role: SiteRole,
) -> v1::UserSiteRole {
    v1::UserSiteRole {
        organization: organization.to_string(),
        user: user.to_string(),
        site_role: wire::site_role(role).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str, email: &str) -> v1::User {
        v1::User { id: id.to_owned(), email: email.to_owned(), ..v1::User::default() }
    }

    #[test]
    fn bad_1_a_bad_entry_spoils_itself_alone() {
        let users = vec![
            user("ann", "Ann@Example.com"),
            user("b b", "bob"),
            user("ann", "other@example.com"),
            v1::User { picture_uri: "ftp://x".to_owned(), ..user("eve", "eve@example.com") },
        ];
        let request = v1::UpsertUsersRequest { users, ..v1::UpsertUsersRequest::default() };
        let entries = upsert(request, &Limits::default()).unwrap();
        assert_eq!(entries[0].as_ref().unwrap().email.as_str(), "ann@example.com");
        let fields = |at: usize| {
            let refusal = entries[at].as_ref().unwrap_err();
            refusal.violations.iter().map(|v| v.field.clone()).collect::<Vec<_>>()
        };
        assert_eq!(fields(1), ["users[1].id", "users[1].email"]);
        assert_eq!(fields(2), ["users[2].id"]);
        assert_eq!(fields(3), ["users[3].picture_uri"]);
    }
}
