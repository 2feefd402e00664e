//! What an organization sets, and who administers it (DIR-6, DIR-7).

use portcullis::proto::v1;
use portcullis::proto::v1::SiteRole;
use tonic::{Code, Status};

use crate::calls::{number, texts};
use crate::harness::{Client, TestServer, fields, reason, refusal};

fn update(organization: v1::Organization, paths: &[&str]) -> v1::UpdateOrganizationRequest {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    v1::UpdateOrganizationRequest {
        organization: Some(v1::Organization { id: "acme".to_owned(), ..organization }),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    }
}

fn administered_by(users: &[&str]) -> v1::UpdateOrganizationRequest {
    let administrators = users.iter().map(|&user| user.to_owned()).collect();
    update(v1::Organization { administrators, ..Default::default() }, &["administrators"])
}

fn named(display_name: &str) -> v1::UpdateOrganizationRequest {
    let display_name = display_name.to_owned();
    update(v1::Organization { display_name, ..Default::default() }, &["display_name"])
}

impl Client {
    async fn update_organization(
        &self,
        request: v1::UpdateOrganizationRequest,
    ) -> Result<(v1::Organization, String), Status> {
        let done = self.directory().update_organization(request).await?.into_inner();
        Ok((done.organization.expect("an organization"), done.consistency_token))
    }

    async fn try_site_role(&self, user: &str) -> Result<(), Status> {
        let request = v1::SetSiteRoleRequest {
            organization: "acme".to_owned(),
            user: user.to_owned(),
            site_role: SiteRole::Viewer.into(),
            ..Default::default()
        };
        self.directory().set_site_role(request).await.map(drop)
    }
}

fn no(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn dir_6_an_update_changes_what_the_mask_names_and_nothing_twice() {
    let server = TestServer::start().await;
    server.given().organization("acme").await;
    let (system, url) = (server.system(), &server.database.url);
    let everything = v1::Organization {
        display_name: "Acme Corporation".to_owned(),
        domains: vec!["Zeta.example".to_owned(), "acme.example".to_owned()],
        default_visibility: Some(v1::Visibility::Open.into()),
        outsider_site_role: SiteRole::Viewer.into(),
        partner_organizations: vec!["beta".to_owned()],
        externals_join: v1::ExternalsJoin::PartnersAtOnce.into(),
        privacy_approval: true,
        ..Default::default()
    };
    let name_alone = update(everything.clone(), &["display_name"]);
    let (first, _) = system.update_organization(name_alone).await.unwrap();
    assert_eq!(first.display_name, "Acme Corporation");
    assert!(!first.privacy_approval);
    assert_eq!((first.domains.len(), first.default_visibility()), (1, v1::Visibility::Private));

    let mask = [
        "domains",
        "default_visibility",
        "outsider_site_role",
        "partner_organizations",
        "externals_join",
        "privacy_approval",
    ];
    let request = update(v1::Organization { etag: first.etag.clone(), ..everything }, &mask);
    let (second, _) = system.update_organization(request.clone()).await.unwrap();
    assert_ne!(second.etag, first.etag);
    assert_eq!(second.domains, ["acme.example", "zeta.example"]);
    assert_eq!(second.default_visibility(), v1::Visibility::Open);
    assert_eq!(second.outsider_site_role(), SiteRole::Viewer);
    assert_eq!(second.partner_organizations, ["beta"]);
    assert_eq!(second.externals_join(), v1::ExternalsJoin::PartnersAtOnce);
    assert!(second.privacy_approval);
    let stale = system.update_organization(request.clone()).await;
    assert_eq!(refusal(stale), no(Code::Aborted, "ETAG_MISMATCH"));

    let logged = "SELECT count(*) FROM change_log WHERE what = 'organization.updated'";
    assert_eq!(number(url, logged).await, 2);
    let mut same = request;
    same.organization.as_mut().unwrap().etag = String::new();
    let (third, _) = system.update_organization(same).await.unwrap();
    assert_eq!(third, second, "as it was, so nothing is written");
    assert_eq!(number(url, logged).await, 2);
    let request = v1::GetOrganizationRequest { organization: "acme".to_owned() };
    let found = system.directory().get_organization(request).await.unwrap().into_inner();
    assert_eq!(found.organization, Some(second));
}

#[tokio::test]
async fn aut_1_dir_7_organizations_and_site_roles_are_for_their_active_administrators() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben").user("gone");
    let given = given.external("visitor").external("stranger");
    let given = given.site_role("visitor", SiteRole::Editor).group("core", &["user:stranger"]);
    given.organization("beta").user("bea").await;
    let system = server.system();
    system.update_organization(administered_by(&["ann", "gone"])).await.unwrap();
    let mut other = administered_by(&["bea"]);
    other.organization.as_mut().unwrap().id = "beta".to_owned();
    system.update_organization(other).await.unwrap();
    system.deactivate("gone").await;

    for (actor, expected) in [
        ("user:ben", no(Code::PermissionDenied, "ADMINISTRATOR_REQUIRED")),
        ("user:visitor", no(Code::PermissionDenied, "ADMINISTRATOR_REQUIRED")),
        ("user:stranger", no(Code::NotFound, "ORGANIZATION_NOT_FOUND")),
        ("user:bea", no(Code::NotFound, "ORGANIZATION_NOT_FOUND")),
        ("user:nobody", no(Code::NotFound, "ORGANIZATION_NOT_FOUND")),
        ("user:gone", no(Code::PermissionDenied, "ACTOR_DEACTIVATED")),
    ] {
        let client = server.acting(actor);
        let updated = client.update_organization(named("Taken over")).await;
        assert_eq!(refusal(updated), expected, "{actor}");
        assert_eq!(refusal(client.try_site_role("ben").await), expected, "{actor}");
    }
    let ann = server.acting("user:ann");
    ann.update_organization(named("Acme")).await.unwrap();
    ann.try_site_role("ben").await.unwrap();
    let acts = "SELECT what FROM change_log WHERE as_administrator ORDER BY sequence";
    let acts = texts(&server.database.url, acts).await;
    assert_eq!(acts, ["organization.updated", "site_role.set"]);
    let missing = ann.try_site_role("nobody").await;
    assert_eq!(refusal(missing), no(Code::NotFound, "USER_NOT_FOUND"));
}

#[tokio::test]
async fn dir_7_administrators_are_active_and_at_home_and_never_the_last_to_go() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben").user("cid");
    given.external("visitor").site_role("visitor", SiteRole::Editor).deactivated("cid").await;
    let system = server.system();
    let (none, _) = system.update_organization(administered_by(&[])).await.unwrap();
    assert!(none.administrators.is_empty(), "one that has none yet may stay without");
    for (user, expected) in [
        ("nobody", no(Code::NotFound, "USER_NOT_FOUND")),
        ("visitor", no(Code::FailedPrecondition, "NOT_ELIGIBLE")),
        ("cid", no(Code::FailedPrecondition, "USER_DEACTIVATED")),
    ] {
        let answer = system.update_organization(administered_by(&["ann", user])).await;
        assert_eq!(refusal(answer), expected, "{user}");
    }
    let (both, _) =
        system.update_organization(administered_by(&["ben", "ann", "ben"])).await.unwrap();
    assert_eq!(both.administrators, ["ann", "ben"]);
    system.deactivate("ben").await;
    let last = no(Code::FailedPrecondition, "LAST_ADMINISTRATOR");
    for left in [&[][..], &["ben"]] {
        let answer = server.acting("user:ann").update_organization(administered_by(left)).await;
        assert_eq!(refusal(answer), last, "{left:?}");
    }
    // Who is named already may stay, deactivated or not.
    system.update_organization(administered_by(&["ann", "ben"])).await.unwrap();
    let (one, _) = system.update_organization(administered_by(&["ann"])).await.unwrap();
    assert_eq!(one.administrators, ["ann"]);
    let trail = "SELECT what || ' ' || subject FROM change_log WHERE what LIKE 'administrator.%'
                 ORDER BY sequence";
    assert_eq!(
        texts(&server.database.url, trail).await,
        [
            "administrator.added user:ann",
            "administrator.added user:ben",
            "administrator.removed user:ben"
        ]
    );
}

#[tokio::test]
async fn dir_7_an_administrator_is_one_at_once_in_memory_and_in_the_database() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben");
    given.portfolio("roadmap").owned_by("ben").await;
    let (system, twin) = (server.system(), server.twin().await);
    twin.system().warm_up("user:ann", "members.invite", "roadmap").await;
    let ask = async |token: &str| {
        let warm = twin.system().check_after(token, "user:ann", "members.invite", "roadmap").await;
        let cold = server.twin().await;
        let cold = cold.system().check_after(token, "user:ann", "members.invite", "roadmap").await;
        assert_eq!((warm.allowed, warm.reason()), (cold.allowed, cold.reason()));
        assert_eq!(server.allows("user:ann", "members.invite", "roadmap").await, warm.allowed);
        warm.allowed
    };
    let (_, token) = system.update_organization(administered_by(&["ann", "ben"])).await.unwrap();
    assert!(ask(&token).await);
    let (_, token) = system.update_organization(administered_by(&["ben"])).await.unwrap();
    assert!(!ask(&token).await);
}

#[tokio::test]
async fn bad_1_an_update_of_an_organization_says_what_is_wrong_with_it() {
    let server = TestServer::start().await;
    server.given().organization("acme").await;
    let system = server.system();
    let empty = || v1::Organization { id: "acme".to_owned(), ..Default::default() };
    for (organization, paths, field) in [
        (v1::Organization { display_name: "x".to_owned(), ..empty() }, &[][..], "update_mask"),
        (empty(), &["preset"], "update_mask"),
        (empty(), &["default_visibility"], "organization.default_visibility"),
        (empty(), &["outsider_site_role"], "organization.outsider_site_role"),
        (empty(), &["externals_join"], "organization.externals_join"),
        (empty(), &["display_name"], "organization.display_name"),
        (
            v1::Organization { administrators: vec!["a b".to_owned()], ..empty() },
            &["administrators"],
            "organization.administrators[0]",
        ),
    ] {
        let status = system.update_organization(update(organization, paths)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(fields(&status), [field]);
    }
    let request = v1::UpdateOrganizationRequest { organization: None, ..named("x") };
    let status = system.update_organization(request).await.unwrap_err();
    assert_eq!(fields(&status), ["organization"]);
    let many: Vec<String> = (0..101).map(|number| format!("u{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let status = system.update_organization(administered_by(&many)).await.unwrap_err();
    assert_eq!(reason(&status), "LIMIT_EXCEEDED");
    let mut unknown = named("x");
    unknown.organization.as_mut().unwrap().id = "nowhere".to_owned();
    let unknown = system.update_organization(unknown).await;
    assert_eq!(refusal(unknown), no(Code::NotFound, "ORGANIZATION_NOT_FOUND"));
}
