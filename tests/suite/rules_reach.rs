//! What of the directory exists for a service that reaches some organizations, and for a person
//! (AUT-2, AUT-3).

use std::collections::BTreeSet;
use std::fmt::Debug;

use portcullis::app::{
    Answer, Context, Error, ListUsers, NewOrganization, ServiceAccountOutcome,
    UpsertServiceAccount, UpsertUser, UserOutcome,
};
use portcullis::domain::caller::{Actor, Caller, CallerKind, Organizations, Principal, Scope};
use portcullis::domain::directory::{Email, ExternalsJoin, SiteRole, UserFilter};
use portcullis::domain::page::Page;
use portcullis::domain::refusal::Reason;
use portcullis::domain::role::Preset;
use portcullis::domain::{OrganizationId, ServiceAccountId};
use portcullis::storage::WriteContext;

use crate::house::{House, adding, id, system};

fn acme_alone() -> Caller {
    let organizations = Organizations::These(BTreeSet::from([id("acme")]));
    let scopes = BTreeSet::from([Scope::DirectoryWrite]);
    Caller::new("service:acme".to_owned(), CallerKind::Service { scopes, organizations })
}

fn person(user: &str) -> Caller {
    Caller::new(format!("user:{user}"), CallerKind::EndUser(id(user)))
}

fn writing(caller: Caller, actor: Actor) -> WriteContext {
    WriteContext { principal: Principal { caller, actor }, ..system() }
}

fn limited() -> WriteContext {
    writing(acme_alone(), Actor::System)
}

fn reading(caller: Caller) -> Context {
    let actor = match caller.kind() {
        CallerKind::EndUser(user) => Actor::User(user.clone()),
        CallerKind::Service { .. } => Actor::System,
    };
    Context { principal: Principal { caller, actor }, deadline: system().deadline }
}

fn reason<T: Debug>(answer: Result<Answer<T>, Error>) -> (Reason, String) {
    match answer.expect_err("a refusal") {
        Error::Refused(refusal) => (refusal.reason, refusal.message),
        other => panic!("{other:?}"),
    }
}

fn user(name: &str, home: Option<&str>) -> UpsertUser {
    UpsertUser {
        id: Some(id(name)),
        email: Email::parse(&format!("{name}@any.example")).expect("an address"),
        display_name: name.to_owned(),
        picture_uri: String::new(),
        home_organization: home.map(id),
    }
}

/// `acme` with `ann`, `beta` with `bea` and `ben`, `drifter` at home nowhere; `acme` knows `ben` by
/// a grant, and he has a site role in both.
async fn house() -> House {
    let house = House::open().await;
    house.furnish(&["ann"]).await;
    let beta = NewOrganization {
        id: Some(id("beta")),
        display_name: "Beta".to_owned(),
        domains: Vec::new(),
        preset: Preset::InitiativePlanning,
        default_visibility: None,
        outsider_site_role: SiteRole::Guest,
        partner_organizations: Vec::new(),
        externals_join: ExternalsJoin::default(),
        privacy_approval: false,
    };
    house.app.create_organization(&system(), &beta).await.expect("created");
    let users = [("bea", Some("beta")), ("ben", Some("beta")), ("drifter", None)];
    let users: Vec<_> = users.into_iter().map(|(name, home)| Ok(user(name, home))).collect();
    house.app.upsert_users(&system(), &users).await.expect("created");
    for organization in ["acme", "beta"] {
        let (at, ben) = (id(organization), id("ben"));
        let set = house.app.set_site_role(&system(), &at, &ben, SiteRole::Viewer).await;
        set.expect("set");
    }
    house.app.add_members(&system(), &adding(&["ben"], "viewer")).await.expect("added");
    house
}

#[tokio::test]
async fn aut_2_users_and_organizations_out_of_reach_do_not_exist() {
    let house = house().await;
    let (app, caller) = (&house.app, || reading(acme_alone()));
    app.get_organization(&caller(), &id("acme")).await.expect("in reach");
    let beta = reason(app.get_organization(&caller(), &id("beta")).await);
    let unknown = reason(app.get_organization(&caller(), &id("nope")).await);
    assert_eq!(beta.0, unknown.0);
    assert_eq!(beta.1.replace("beta", "nope"), unknown.1);

    app.get_user(&caller(), &id("ann")).await.expect("at home in reach");
    let ben = app.get_user(&caller(), &id("ben")).await.expect("known by a site role").value;
    assert_eq!(ben.user.home_organization, None, "that home does not exist");
    assert_eq!(ben.site_roles, [(id("acme"), SiteRole::Viewer)]);
    for hidden in ["bea", "drifter"] {
        let found = reason(app.get_user(&caller(), &id(hidden)).await);
        let unknown = reason(app.get_user(&caller(), &id("nope")).await);
        assert_eq!((found.0, found.1.replace(hidden, "nope")), unknown);
    }
    let page = Page { size: 10, after: None };
    let filter = UserFilter::default();
    let list = ListUsers { organization: id("beta"), filter, page };
    assert_eq!(reason(app.list_users(&caller(), &list).await).0, Reason::OrganizationNotFound);
    let page: Page<ServiceAccountId> = Page { size: 10, after: None };
    let listed = app.list_service_accounts(&caller(), &id("beta"), &page).await;
    assert_eq!(reason(listed).0, Reason::OrganizationNotFound);
}

#[tokio::test]
async fn aut_2_a_user_is_written_by_callers_that_reach_both_homes() {
    let house = house().await;
    let app = &house.app;
    let entries = [
        user("new", Some("acme")),
        user("homeless", None),
        user("lost", Some("beta")),
        user("bea", Some("acme")),
        user("drifter", Some("acme")),
        user("ann", Some("beta")),
        user("ann2", Some("acme")),
    ];
    let entries: Vec<_> = entries.into_iter().map(Ok).collect();
    let outcomes = app.upsert_users(&limited(), &entries).await.expect("outcomes").value;
    let reasons: Vec<Option<Reason>> = outcomes
        .iter()
        .map(|outcome| match outcome {
            UserOutcome::Done(..) => None,
            UserOutcome::Refused(refusal) => Some(refusal.reason),
        })
        .collect();
    assert_eq!(
        reasons,
        [
            None,
            Some(Reason::InvalidField),
            Some(Reason::OrganizationNotFound),
            Some(Reason::IdTaken),
            Some(Reason::IdTaken),
            Some(Reason::OrganizationNotFound),
            None,
        ]
    );
    for foreign in ["bea", "ben", "drifter", "nope"] {
        for refused in [
            reason(app.deactivate_user(&limited(), &id(foreign)).await),
            reason(app.reactivate_user(&limited(), &id(foreign)).await),
            reason(app.delete_user(&limited(), &id(foreign)).await),
        ] {
            assert_eq!(refused, (Reason::UserNotFound, format!("there is no user `{foreign}`")));
        }
    }
    let (beta, ben): (OrganizationId, _) = (id("beta"), id("ben"));
    let set = app.set_site_role(&limited(), &beta, &ben, SiteRole::Guest).await;
    assert_eq!(reason(set).0, Reason::OrganizationNotFound);
    app.delete_user(&limited(), &id("new")).await.expect("its own");
}

#[tokio::test]
async fn aut_2_service_accounts_out_of_reach_do_not_exist() {
    let house = house().await;
    let entry = |name: &str, organization: &str| {
        Ok(UpsertServiceAccount {
            id: Some(id(name)),
            organization: id(organization),
            display_name: name.to_owned(),
            reactivate: false,
        })
    };
    let theirs = [entry("robot", "beta")];
    house.app.upsert_service_accounts(&system(), &theirs).await.expect("created");
    let entries = [entry("robot", "beta"), entry("robot", "acme"), entry("ours", "acme")];
    let done = house.app.upsert_service_accounts(&limited(), &entries).await.expect("outcomes");
    let refused = |at: usize| match &done.value[at] {
        ServiceAccountOutcome::Refused(refusal) => Some(refusal.reason),
        ServiceAccountOutcome::Done(..) => None,
    };
    assert_eq!(refused(0), Some(Reason::OrganizationNotFound));
    assert_eq!(refused(1), Some(Reason::IdTaken));
    assert_eq!(refused(2), None);
    let robot = house.app.deactivate_service_account(&limited(), &id("robot")).await;
    let expected =
        (Reason::ServiceAccountNotFound, "there is no service account `robot`".to_owned());
    assert_eq!(reason(robot), expected);
    house.app.deactivate_service_account(&limited(), &id("ours")).await.expect("its own");
}

#[tokio::test]
async fn aut_2_dir_1_a_deactivated_actor_out_of_reach_is_an_unknown_one_and_denied() {
    let house = house().await;
    house.app.deactivate_user(&system(), &id("bea")).await.expect("deactivated");
    house.app.deactivate_user(&system(), &id("ben")).await.expect("deactivated");
    let as_actor = |name: &str| writing(acme_alone(), Actor::User(id(name)));
    let told = |name: &str, text: String| text.replace(name, "nope");
    for hidden in ["bea", "nope"] {
        let write = house.app.upsert_users(&as_actor(hidden), &[Ok(user("x", Some("acme")))]).await;
        let (refused, message) = reason(write);
        assert_eq!(refused, Reason::ActorUnknown);
        assert_eq!(told(hidden, message), "the actor `user:nope` does not exist");
        let members = house.app.add_members(&as_actor(hidden), &adding(&["ann"], "viewer")).await;
        assert_eq!(reason(members).0, Reason::PortfolioNotFound);
        let (acme, ann) = (id("acme"), id("ann"));
        let set = house.app.set_site_role(&as_actor(hidden), &acme, &ann, SiteRole::Guest).await;
        assert_eq!(reason(set).0, Reason::OrganizationNotFound);
    }
    let known = house.app.upsert_users(&as_actor("ben"), &[Ok(user("x", Some("acme")))]).await;
    assert_eq!(reason(known).0, Reason::ActorDeactivated, "known to an organization in reach");
}

#[tokio::test]
async fn aut_3_a_person_reads_themselves_and_the_organizations_that_know_them() {
    let house = house().await;
    let (app, ben) = (&house.app, || reading(person("ben")));
    let found = app.get_user(&ben(), &id("ben")).await.expect("oneself").value;
    assert_eq!(found.user.home_organization, Some(id("beta")));
    assert_eq!(found.site_roles.len(), 2);
    assert_eq!(reason(app.get_user(&ben(), &id("bea")).await).0, Reason::UserNotFound);
    for known in ["acme", "beta"] {
        app.get_organization(&ben(), &id(known)).await.expect("known there");
    }
    let unknown = app.get_organization(&reading(person("drifter")), &id("acme")).await;
    assert_eq!(reason(unknown).0, Reason::OrganizationNotFound);
    // Whoever administers is a person too, and sets what others are there.
    house.sql("INSERT INTO organization_administrators VALUES ('acme', 'ann')").await;
    let ann = writing(person("ann"), Actor::User(id("ann")));
    let (acme, who) = (id("acme"), id("ben"));
    app.set_site_role(&ann, &acme, &who, SiteRole::Guest).await.expect("known to the organization");
    let ann = writing(person("ann"), Actor::User(id("ann")));
    let stranger = app.set_site_role(&ann, &acme, &id("bea"), SiteRole::Guest).await;
    assert_eq!(reason(stranger).0, Reason::UserNotFound);
}
