//! What people do with the roles of the organization. `comment.edit(own)` is a permission that
//! reaches one's own things only.
//!
//! ```text
//! WHO lists roles                                                                       [KEY NAME]
//! WHO sees role ROLE                                                  [name NAME, each permission]
//! WHO creates role ROLE called NAME holding PERMISSIONS               [name NAME, each permission]
//! WHO makes role ROLE hold PERMISSIONS                                [name NAME, each permission]
//! WHO deletes role ROLE [for OTHER]                                   [name NAME, each permission]
//! ```

use portcullis::proto::v1;

use super::steps::{Call, Doing, entries};
use super::told::Told;

pub fn call(doing: Doing, does: &[&str]) -> Option<Call> {
    let Doing { client, organization } = doing;
    match does {
        ["lists", "roles"] => Some(Box::pin(async move {
            let request = v1::ListRolesRequest { organization, ..Default::default() };
            let found = client.roles().list_roles(request).await?.into_inner().roles;
            let line = |role: &v1::Role| format!("{} {}", role.key, role.display_name);
            Ok(Told::All(found.iter().map(line).collect()))
        })),
        ["sees", "role", role] => {
            let request = v1::GetRoleRequest { organization, role: (*role).to_owned() };
            Some(Box::pin(async move {
                let found = client.roles().get_role(request).await?.into_inner();
                Ok(told(&found.role.expect("a role")))
            }))
        }
        ["creates", "role", key, "called", display_name, "holding", permissions] => {
            let (key, display_name) = ((*key).to_owned(), (*display_name).to_owned());
            let permissions = cells(permissions);
            let role =
                v1::Role { organization, key, display_name, permissions, ..Default::default() };
            Some(Box::pin(async move { Ok(told(&client.create_role(role).await?.0)) }))
        }
        ["makes", "role", key, "hold", permissions] => {
            let (key, permissions) = ((*key).to_owned(), cells(permissions));
            let role = v1::Role { organization, key, permissions, ..Default::default() };
            Some(Box::pin(
                async move { Ok(told(&client.update_role(role, &["permissions"]).await?.0)) },
            ))
        }
        ["deletes", "role", role, rest @ ..] => {
            let replacement = match rest {
                [] => String::new(),
                ["for", other] => (*other).to_owned(),
                _ => return None,
            };
            let role = (*role).to_owned();
            let request =
                v1::DeleteRoleRequest { organization, role, replacement, ..Default::default() };
            Some(Box::pin(async move {
                let deleted = client.roles().delete_role(request).await?.into_inner();
                Ok(told(&deleted.role.expect("a role")))
            }))
        }
        _ => None,
    }
}

fn cells(permissions: &str) -> Vec<v1::RolePermission> {
    let cells = entries(permissions).into_iter().map(|text| match text.strip_suffix("(own)") {
        Some(own) => (own.to_owned(), v1::Reach::Own),
        None => (text, v1::Reach::Any),
    });
    let cell = |(permission, reach): (String, v1::Reach)| v1::RolePermission {
        permission,
        reach: reach.into(),
    };
    cells.map(cell).collect()
}

fn told(role: &v1::Role) -> Told {
    let cell = |cell: &v1::RolePermission| match cell.reach() {
        v1::Reach::Own => format!("{}(own)", cell.permission),
        _ => cell.permission.clone(),
    };
    let name = format!("name {}", role.display_name);
    Told::One([name].into_iter().chain(role.permissions.iter().map(cell)).collect())
}
