//! Which callers may call what (AUT-1, AUT-2): one row for each method of the contract. What the
//! actor may do there is for `app` to decide; a method without a row is refused to everybody.

use crate::domain::caller::{Caller, CallerKind, Scope};
use crate::domain::refusal::{Reason, Refusal};

/// What a method asks of its caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Access {
    /// A service needs one of these.
    scopes: &'static [Scope],
    /// Whether people may call it with a credential of their own.
    people: bool,
    /// Whether a service that names no actor needs the scope `operator`.
    attended: bool,
}

/// Who may do what.
const ASK: Access = Access { scopes: &[Scope::PolicyRead], people: true, attended: false };
/// What portfolios, members and roles are.
const READ: Access =
    Access { scopes: &[Scope::PolicyRead, Scope::AccessWrite], people: true, attended: false };
/// What only certain actors see.
const INSPECT: Access = Access { attended: true, ..READ };
/// What actors change.
const CHANGE: Access = Access { scopes: &[Scope::AccessWrite], people: true, attended: true };
/// What services own: they keep it with an actor or without.
const KEEP: Access = Access { attended: false, ..CHANGE };
/// Who and what there is.
const LOOK_UP: Access = Access {
    scopes: &[Scope::PolicyRead, Scope::AccessWrite, Scope::DirectoryWrite],
    people: false,
    attended: false,
};
/// One's own entry in the directory, too.
const LOOK_UP_ONESELF: Access = Access { people: true, ..LOOK_UP };
/// Who and what there is to be.
const ENROL: Access = Access { scopes: &[Scope::DirectoryWrite], people: false, attended: false };
/// What the whole installation shares.
const OPERATE: Access = Access { scopes: &[Scope::Operator], people: false, attended: false };

/// A method without a row: nobody calls it.
const NOBODY: Access = Access { scopes: &[], people: false, attended: true };

const METHODS: &[(&str, Access)] = &[
    ("AccessSettingsService/ApprovePrivacyRequest", CHANGE),
    ("AccessSettingsService/CancelPrivacyRequest", CHANGE),
    ("AccessSettingsService/CompareAccessSettings", READ),
    ("AccessSettingsService/GetAccessSettings", READ),
    ("AccessSettingsService/LinkAccessSettings", CHANGE),
    ("AccessSettingsService/ListPrivacyRequests", INSPECT),
    ("AccessSettingsService/RejectPrivacyRequest", CHANGE),
    ("AccessSettingsService/UnlinkAccessSettings", CHANGE),
    ("AccessSettingsService/UpdateAccessSettings", CHANGE),
    ("DirectoryService/AddGroupMembers", ENROL),
    ("DirectoryService/CreateOrganization", OPERATE),
    ("DirectoryService/DeactivateServiceAccount", ENROL),
    ("DirectoryService/DeactivateUser", ENROL),
    ("DirectoryService/DeleteFunctionCeiling", CHANGE),
    ("DirectoryService/DeleteGroup", ENROL),
    ("DirectoryService/DeleteUser", ENROL),
    ("DirectoryService/GetGroup", LOOK_UP),
    ("DirectoryService/GetOrganization", LOOK_UP),
    ("DirectoryService/GetUser", LOOK_UP_ONESELF),
    ("DirectoryService/ListFunctionCeilings", READ),
    ("DirectoryService/ListGroups", LOOK_UP),
    ("DirectoryService/ListServiceAccounts", LOOK_UP),
    ("DirectoryService/ListUsers", LOOK_UP),
    ("DirectoryService/ReactivateUser", ENROL),
    ("DirectoryService/RemoveAffiliation", CHANGE),
    ("DirectoryService/RemoveGroupMembers", ENROL),
    ("DirectoryService/SetAffiliation", CHANGE),
    ("DirectoryService/SetFunctionCeiling", CHANGE),
    ("DirectoryService/SetSiteRole", CHANGE),
    ("DirectoryService/UpdateOrganization", CHANGE),
    ("DirectoryService/UpsertGroup", ENROL),
    ("DirectoryService/UpsertServiceAccounts", ENROL),
    ("DirectoryService/UpsertUsers", ENROL),
    ("EventService/ListAuditEvents", INSPECT),
    ("ItemService/DeleteItem", KEEP),
    ("ItemService/GetItem", READ),
    ("ItemService/ListItems", READ),
    ("ItemService/RegisterItem", KEEP),
    ("ItemService/UpdateItem", KEEP),
    ("MembershipService/AddMembers", CHANGE),
    ("MembershipService/GetMember", READ),
    ("MembershipService/ListMembers", READ),
    ("MembershipService/RemoveMember", CHANGE),
    ("MembershipService/UpdateMember", CHANGE),
    ("PolicyService/BatchCheckPermissions", ASK),
    ("PolicyService/CheckPermission", ASK),
    ("PolicyService/ExplainPermission", ASK),
    ("PolicyService/ListAccessiblePortfolios", ASK),
    ("PolicyService/ListEffectivePermissions", ASK),
    ("PolicyService/ListSubjects", ASK),
    ("PolicyService/ListVisibleItems", ASK),
    ("PortfolioService/ArchivePortfolio", CHANGE),
    ("PortfolioService/CreatePortfolio", CHANGE),
    ("PortfolioService/DeletePortfolio", CHANGE),
    ("PortfolioService/GetPortfolio", READ),
    ("PortfolioService/ListPortfolios", READ),
    ("PortfolioService/ListUnmanagedPortfolios", INSPECT),
    ("PortfolioService/MovePortfolio", CHANGE),
    ("PortfolioService/RestorePortfolio", CHANGE),
    ("PortfolioService/TransferOwnership", CHANGE),
    ("PortfolioService/UpdatePortfolio", CHANGE),
    ("RoleService/CreateRole", CHANGE),
    ("RoleService/DeleteRole", CHANGE),
    ("RoleService/GetRole", READ),
    ("RoleService/ListCatalogPermissions", READ),
    ("RoleService/ListRoles", READ),
    ("RoleService/RegisterPermission", OPERATE),
    ("RoleService/UpdateRole", CHANGE),
];

/// What a method asks of its caller.
pub(super) fn of(path: &str) -> &'static Access {
    let method = path.strip_prefix("/portcullis.v1.").unwrap_or_default();
    let row = METHODS.iter().find(|(name, _)| *name == method);
    row.map_or(&NOBODY, |(_, access)| access)
}

impl Access {
    /// Refuses a caller who may not call the method, with an actor named or not.
    pub(super) fn admit(&self, caller: &Caller, names_actor: bool) -> Result<(), Refusal> {
        if let CallerKind::EndUser(_) = caller.kind() {
            return if self.people { Ok(()) } else { Err(self.missing("people do not call it")) };
        }
        if !self.scopes.iter().any(|scope| caller.has_scope(*scope)) {
            return Err(self.missing("the credential does not have it"));
        }
        if self.attended && !names_actor && !caller.has_scope(Scope::Operator) {
            let message = "without an actor this call needs the scope `operator`; name the actor \
                           in the metadata key `portcullis-actor`";
            let refusal = Refusal::new(Reason::ScopeMissing, message);
            return Err(refusal.with("scope", Scope::Operator.as_str()));
        }
        Ok(())
    }

    fn missing(&self, why: &str) -> Refusal {
        let names: Vec<&str> = self.scopes.iter().map(|scope| scope.as_str()).collect();
        let listed = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
        let message = format!("this call needs the scope {}; {why}", listed.join(" or "));
        Refusal::new(Reason::ScopeMissing, message).with("scope", names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::domain::caller::Organizations;
    use crate::proto::FILE_DESCRIPTOR_SET;

    fn service(scopes: &[Scope]) -> Caller {
        let scopes: BTreeSet<Scope> = scopes.iter().copied().collect();
        let kind = CallerKind::Service { scopes, organizations: Organizations::All };
        Caller::new("service:test".to_owned(), kind)
    }

    #[test]
    fn aut_1_every_method_of_the_contract_has_a_row_and_every_row_a_method() {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let methods: HashSet<String> = set
            .file
            .iter()
            .filter(|file| file.package() == "portcullis.v1")
            .flat_map(|file| &file.service)
            .flat_map(|service| {
                let path = |method: &str| format!("{}/{method}", service.name());
                service.method.iter().map(move |method| path(method.name()))
            })
            .collect();
        let rows: HashSet<String> = METHODS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(rows, methods);
        assert_eq!(rows.len(), METHODS.len(), "one row each");
        let nothing = of("/portcullis.v1.PolicyService/Nothing");
        assert!(nothing.admit(&Caller::trusted(), true).is_err(), "denied by default");
    }

    #[test]
    fn aut_1_a_service_needs_one_of_the_scopes_and_the_operator_has_all() {
        for scope in Scope::ALL {
            let caller = service(&[scope]);
            let may = |access: &Access| access.admit(&caller, true).is_ok();
            let operator = scope == Scope::Operator;
            assert_eq!(may(&ASK), operator || scope == Scope::PolicyRead, "{scope:?}");
            assert_eq!(may(&READ), scope != Scope::DirectoryWrite, "{scope:?}");
            assert_eq!(may(&CHANGE), operator || scope == Scope::AccessWrite, "{scope:?}");
            assert_eq!(may(&ENROL), operator || scope == Scope::DirectoryWrite, "{scope:?}");
            assert_eq!(may(&OPERATE), operator, "{scope:?}");
        }
        let refusal = READ.admit(&service(&[]), true).unwrap_err();
        assert_eq!(refusal.reason, Reason::ScopeMissing);
        assert_eq!(refusal.metadata, [("scope".to_owned(), "policy.read,access.write".to_owned())]);
    }

    #[test]
    fn aut_2_without_an_actor_only_the_operator_changes_what_actors_change() {
        let writer = service(&[Scope::AccessWrite, Scope::PolicyRead]);
        assert!(CHANGE.admit(&writer, true).is_ok());
        assert_eq!(CHANGE.admit(&writer, false).unwrap_err().reason, Reason::ScopeMissing);
        assert!(INSPECT.admit(&writer, false).is_err());
        assert!(READ.admit(&writer, false).is_ok());
        assert!(CHANGE.admit(&service(&[Scope::Operator]), false).is_ok());
    }

    #[test]
    fn aut_3_people_ask_and_change_but_keep_no_directory() {
        let ann = Caller::new("user:ann".to_owned(), CallerKind::EndUser("ann".parse().unwrap()));
        for access in [&ASK, &READ, &INSPECT, &CHANGE, &LOOK_UP_ONESELF] {
            assert!(access.admit(&ann, false).is_ok(), "{access:?}");
        }
        for access in [&LOOK_UP, &ENROL, &OPERATE] {
            assert_eq!(access.admit(&ann, false).unwrap_err().reason, Reason::ScopeMissing);
        }
    }
}
