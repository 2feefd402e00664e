//! What people are in organizations (DIR-3, DIR-5), and the ceilings of functions (MEM-10).

use std::collections::BTreeSet;

use portcullis::app::{Context, Error, ListUsers, NewOrganization, UpsertUser};
use portcullis::domain::caller::{Actor, Caller, CallerKind, Organizations, Principal, Scope};
use portcullis::domain::directory::{Email, ExternalsJoin, SiteRole, UserFilter};
use portcullis::domain::function::{Affiliation, MAX_AFFILIATIONS};
use portcullis::domain::page::Page;
use portcullis::domain::refusal::Reason;
use portcullis::domain::role::Preset;
use portcullis::proto::v1;
use portcullis::storage::WriteContext;
use tonic::{Code, Status};

use crate::calls::{execute, number, texts};
use crate::harness::{Client, TestServer, fields, refusal};
use crate::house::{House, id, system};

fn no(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

fn removal(organization: &str, user: &str, function: &str) -> v1::RemoveAffiliationRequest {
    v1::RemoveAffiliationRequest {
        organization: organization.to_owned(),
        user: user.to_owned(),
        function: function.to_owned(),
        ..Default::default()
    }
}

fn addition(organization: &str, user: &str, function: &str) -> v1::SetAffiliationRequest {
    v1::SetAffiliationRequest {
        organization: organization.to_owned(),
        user: user.to_owned(),
        function: function.to_owned(),
        ..Default::default()
    }
}

fn ceiling(function: &str, portfolio_type: &str, role: &str) -> v1::SetFunctionCeilingRequest {
    v1::SetFunctionCeilingRequest {
        organization: "acme".to_owned(),
        function: function.to_owned(),
        portfolio_type: portfolio_type.to_owned(),
        role: role.to_owned(),
        ..Default::default()
    }
}

fn end_of_ceiling(function: &str, portfolio_type: &str) -> v1::DeleteFunctionCeilingRequest {
    v1::DeleteFunctionCeilingRequest {
        organization: "acme".to_owned(),
        function: function.to_owned(),
        portfolio_type: portfolio_type.to_owned(),
        ..Default::default()
    }
}

fn told(affiliations: &[v1::Affiliation]) -> Vec<String> {
    let tell = |it: &v1::Affiliation| format!("{} {} {}", it.user, it.organization, it.function);
    affiliations.iter().map(tell).collect()
}

impl Client {
    async fn try_affiliate(&self, user: &str, function: &str) -> Result<(), Status> {
        let request = addition("acme", user, function);
        self.directory().set_affiliation(request).await.map(drop)
    }

    async fn unaffiliate(
        &self,
        organization: &str,
        user: &str,
        function: &str,
    ) -> Result<v1::RemoveAffiliationResponse, Status> {
        let request = removal(organization, user, function);
        Ok(self.directory().remove_affiliation(request).await?.into_inner())
    }

    async fn functions_of(&self, user: &str) -> Vec<String> {
        let request = v1::GetUserRequest { user: user.to_owned() };
        let found = self.directory().get_user(request).await.expect("a user").into_inner();
        told(&found.affiliations)
    }

    async fn users(&self, organization: &str, affiliated: bool) -> v1::ListUsersResponse {
        let request = v1::ListUsersRequest {
            organization: organization.to_owned(),
            filter: Some(v1::UserFilter { affiliated, ..Default::default() }),
            ..Default::default()
        };
        self.directory().list_users(request).await.expect("users").into_inner()
    }

    async fn try_ceiling(&self, role: &str) -> Result<(), Status> {
        let request = ceiling("tutor", "plan", role);
        self.directory().set_function_ceiling(request).await.map(drop)
    }

    async fn ceilings(
        &self,
        filter: v1::FunctionCeilingFilter,
        page_size: i32,
        page_token: &str,
    ) -> Result<v1::ListFunctionCeilingsResponse, Status> {
        let request = v1::ListFunctionCeilingsRequest {
            organization: "acme".to_owned(),
            filter: Some(filter),
            page_size,
            page_token: page_token.to_owned(),
        };
        Ok(self.directory().list_function_ceilings(request).await?.into_inner())
    }
}

#[tokio::test]
async fn dir_3_people_are_several_things_in_several_organizations() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben").external("eve");
    given.organization("beta").await;
    let system = server.system();
    for (organization, user, function) in [
        ("beta", "ann", "coach"),
        ("acme", "ann", "tutor"),
        ("acme", "ann", "Tutor"),
        ("acme", "ann", "assessor"),
        ("acme", "eve", "assessor"),
    ] {
        let request = addition(organization, user, function);
        let set = system.directory().set_affiliation(request).await.unwrap().into_inner();
        let (organization, user) = (organization.to_owned(), user.to_owned());
        let expected = v1::Affiliation { organization, user, function: function.to_owned() };
        assert_eq!(set.affiliation, Some(expected));
    }
    let of_ann = ["ann acme Tutor", "ann acme assessor", "ann acme tutor", "ann beta coach"];
    assert_eq!(system.functions_of("ann").await, of_ann);
    assert_eq!(system.functions_of("ben").await, Vec::<String>::new());

    let ids = |list: &v1::ListUsersResponse| {
        list.users.iter().map(|user| user.id.clone()).collect::<Vec<_>>()
    };
    let at_home = system.users("acme", false).await;
    assert_eq!(ids(&at_home), ["acme-owner", "ann", "ben"]);
    assert_eq!(told(&at_home.affiliations), of_ann);
    let affiliated = system.users("acme", true).await;
    assert_eq!(ids(&affiliated), ["ann", "eve"], "wherever they are at home");
    assert_eq!(told(&affiliated.affiliations), [&of_ann[..], &["eve acme assessor"]].concat());
    assert_eq!(ids(&system.users("beta", true).await), ["ann"]);
}

#[tokio::test]
async fn dir_3_a_function_grants_nothing_and_is_written_once() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").external("eve");
    given.portfolio("plaza").open().portfolio("roadmap").await;
    let system = server.system();
    system.affiliate("acme", "eve", "assessor").await;
    system.set_ceiling("acme", "assessor", "", "manager").await;
    for at in ["plaza", "roadmap"] {
        assert!(!server.allows("user:eve", "portfolio.view", at).await, "{at}");
    }
    let made = server.acting("user:eve").create(crate::calls::portfolio("mine", "ann")).await;
    assert_eq!(refusal(made), no(Code::PermissionDenied, "SITE_ROLE_MISSING"), "still external");

    let logged = "SELECT count(*) FROM change_log WHERE what LIKE 'affiliation.%'";
    assert_eq!(number(&server.database.url, logged).await, 1);
    system.affiliate("acme", "eve", "assessor").await;
    assert_eq!(number(&server.database.url, logged).await, 1, "it is so already");
    assert_eq!(system.functions_of("eve").await, ["eve acme assessor"]);
}

#[tokio::test]
async fn dir_5_ending_an_affiliation_ends_it_alone() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("eve");
    let given = given.portfolio("roadmap").with("user:eve", "viewer");
    given.organization("beta").await;
    let system = server.system();
    for (organization, function) in [("acme", "assessor"), ("acme", "tutor"), ("beta", "assessor")]
    {
        system.affiliate(organization, "eve", function).await;
    }
    let removed = system.unaffiliate("acme", "eve", "assessor").await.unwrap();
    assert_eq!(told(removed.affiliation.as_slice()), ["eve acme assessor"]);
    assert_eq!(system.functions_of("eve").await, ["eve acme tutor", "eve beta assessor"]);
    assert!(server.allows("user:eve", "portfolio.view", "roadmap").await, "given by hand: stays");

    for (organization, user, function, reason) in [
        ("acme", "eve", "assessor", "AFFILIATION_NOT_FOUND"),
        ("acme", "eve", "Tutor", "AFFILIATION_NOT_FOUND"),
        ("acme", "ann", "tutor", "AFFILIATION_NOT_FOUND"),
        ("acme", "nobody", "tutor", "USER_NOT_FOUND"),
        ("nowhere", "eve", "tutor", "ORGANIZATION_NOT_FOUND"),
    ] {
        let status = system.unaffiliate(organization, user, function).await;
        assert_eq!(refusal(status), no(Code::NotFound, reason), "{organization} {user} {function}");
    }
    let trail = "SELECT concat_ws(' ', what, object, subject, organization, before->>'function',
                        after->>'function', keys) FROM change_log
                 WHERE what LIKE 'affiliation.%' AND organization = 'acme' ORDER BY sequence";
    assert_eq!(
        texts(&server.database.url, trail).await,
        [
            "affiliation.added eve user:eve acme assessor []",
            "affiliation.added eve user:eve acme tutor []",
            "affiliation.removed eve user:eve acme assessor []",
        ],
        "in the organization's trail, and no fact of a decision"
    );
}

#[tokio::test]
async fn dir_3_dir_9_affiliations_outlive_all_but_the_account() {
    let server = TestServer::start().await;
    server.given().organization("acme").user("ann").organization("beta").await;
    let (system, url) = (server.system(), &server.database.url);
    for (organization, function) in [("acme", "tutor"), ("acme", "coach"), ("beta", "tutor")] {
        system.affiliate(organization, "ann", function).await;
    }
    let all = ["ann acme coach", "ann acme tutor", "ann beta tutor"];
    system.deactivate("ann").await;
    assert_eq!(system.functions_of("ann").await, all, "a deactivated user keeps them");
    system.affiliate("acme", "ann", "coach").await;
    let moved = v1::User {
        id: "ann".to_owned(),
        email: "ann@acme.example".to_owned(),
        home_organization: "beta".to_owned(),
        ..Default::default()
    };
    assert_eq!(system.upsert_users(vec![moved]).await[0].status(), v1::UpsertStatus::Updated);
    assert_eq!(system.functions_of("ann").await, all, "so does one who moves");

    let request = v1::DeleteUserRequest {
        request_id: "delete-ann".to_owned(),
        user: "ann".to_owned(),
        confirm_user: "ann".to_owned(),
    };
    system.directory().delete_user(request).await.unwrap();
    assert_eq!(number(url, "SELECT count(*) FROM affiliations").await, 0);
    let trail = "SELECT concat_ws(' ', organization, what, before->>'function') FROM change_log
                 WHERE request_id = 'delete-ann' AND what LIKE 'affiliation.%' ORDER BY 1";
    assert_eq!(
        texts(url, trail).await,
        [
            "acme affiliation.removed coach",
            "acme affiliation.removed tutor",
            "beta affiliation.removed tutor",
        ]
    );
}

#[tokio::test]
async fn dir_3_one_has_a_hundred_functions_in_an_organization_at_the_most() {
    let server = TestServer::start().await;
    server.given().organization("acme").user("ann").organization("beta").await;
    let (system, url) = (server.system(), &server.database.url);
    let many = format!(
        "INSERT INTO affiliations SELECT 'acme', 'ann', 'f' || n
         FROM generate_series(1, {MAX_AFFILIATIONS}) AS n"
    );
    execute(url, &many).await;
    let full = no(Code::FailedPrecondition, "TOO_MANY_AFFILIATIONS");
    assert_eq!(refusal(system.try_affiliate("ann", "tutor").await), full);
    system.try_affiliate("ann", "f7").await.expect("it is so already");
    system.affiliate("beta", "ann", "tutor").await;
    system.unaffiliate("acme", "ann", "f7").await.unwrap();
    system.try_affiliate("ann", "tutor").await.expect("there is room");
}

#[tokio::test]
async fn dir_3_mem_10_aut_1_functions_are_for_active_administrators() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben").user("gone");
    let given = given.administrator("ann").administrator("gone");
    let given = given.external("visitor").external("stranger").deactivated("gone");
    let given = given.site_role("visitor", v1::SiteRole::Editor).group("core", &["user:stranger"]);
    given.organization("beta").user("bea").administrator("bea").await;
    let system = server.system();
    system.affiliate("acme", "ben", "coach").await;
    system.set_ceiling("acme", "coach", "", "viewer").await;
    for (actor, expected) in [
        ("user:ben", no(Code::PermissionDenied, "ADMINISTRATOR_REQUIRED")),
        ("user:visitor", no(Code::PermissionDenied, "ADMINISTRATOR_REQUIRED")),
        ("user:stranger", no(Code::NotFound, "ORGANIZATION_NOT_FOUND")),
        ("user:bea", no(Code::NotFound, "ORGANIZATION_NOT_FOUND")),
        ("user:nobody", no(Code::NotFound, "ORGANIZATION_NOT_FOUND")),
        ("user:gone", no(Code::PermissionDenied, "ACTOR_DEACTIVATED")),
    ] {
        let client = server.acting(actor);
        assert_eq!(refusal(client.try_affiliate("ben", "tutor").await), expected, "{actor}");
        let removed = client.unaffiliate("acme", "ben", "coach").await;
        assert_eq!(refusal(removed), expected, "{actor}");
        assert_eq!(refusal(client.try_ceiling("viewer").await), expected, "{actor}");
        let deletion = end_of_ceiling("coach", "");
        let deleted = client.directory().delete_function_ceiling(deletion).await;
        assert_eq!(refusal(deleted), expected, "{actor}");
    }
    let ann = server.acting("user:ann");
    ann.try_affiliate("ben", "tutor").await.unwrap();
    ann.unaffiliate("acme", "ben", "coach").await.unwrap();
    ann.try_ceiling("viewer").await.unwrap();
    ann.directory().delete_function_ceiling(end_of_ceiling("coach", "")).await.unwrap();
    let acts = "SELECT what FROM change_log WHERE as_administrator ORDER BY sequence";
    assert_eq!(
        texts(&server.database.url, acts).await,
        [
            "affiliation.added",
            "affiliation.removed",
            "function_ceiling.set",
            "function_ceiling.deleted"
        ]
    );
    let missing = ann.try_affiliate("nobody", "tutor").await;
    assert_eq!(refusal(missing), no(Code::NotFound, "USER_NOT_FOUND"));
}

#[tokio::test]
async fn mem_10_a_function_has_one_role_for_each_type_of_portfolios() {
    let server = TestServer::start().await;
    server.given().organization("acme").organization("beta").await;
    let (system, url) = (server.system(), &server.database.url);
    let set = async |portfolio_type: &str, role: &str| {
        let request = ceiling("tutor", portfolio_type, role);
        system.directory().set_function_ceiling(request).await.unwrap().into_inner()
    };
    let first = set("plan", "viewer").await.function_ceiling.unwrap();
    assert_eq!((first.portfolio_type.as_str(), first.role.as_str()), ("plan", "viewer"));
    set("", "assessor").await;
    set("plan", "contributor").await;
    set("plan", "contributor").await;
    let all = system.ceilings(v1::FunctionCeilingFilter::default(), 0, "").await.unwrap();
    let rows: Vec<_> = all
        .function_ceilings
        .iter()
        .map(|it| {
            format!("{} {} {:?} {}", it.organization, it.function, it.portfolio_type, it.role)
        })
        .collect();
    assert_eq!(rows, ["acme tutor \"\" assessor", "acme tutor \"plan\" contributor"]);

    let deletion = end_of_ceiling("tutor", "plan");
    let deleted = system.directory().delete_function_ceiling(deletion.clone()).await.unwrap();
    assert_eq!(deleted.into_inner().function_ceiling.unwrap().role, "contributor");
    let again = system.directory().delete_function_ceiling(deletion).await;
    assert_eq!(refusal(again), no(Code::NotFound, "FUNCTION_CEILING_NOT_FOUND"));
    for role in ["editor", "Viewer"] {
        let unknown = system.try_ceiling(role).await;
        assert_eq!(refusal(unknown), no(Code::NotFound, "ROLE_NOT_FOUND"), "{role}");
    }
    let request = v1::SetFunctionCeilingRequest {
        organization: "nowhere".to_owned(),
        ..ceiling("tutor", "", "viewer")
    };
    let nowhere = system.directory().set_function_ceiling(request).await;
    assert_eq!(refusal(nowhere), no(Code::NotFound, "ORGANIZATION_NOT_FOUND"));

    let trail = "SELECT concat_ws(' ', what, object, coalesce(before->>'portfolio_type',
                        after->>'portfolio_type'), before->>'role', '->', after->>'role', keys)
                 FROM change_log WHERE what LIKE 'function_ceiling.%' ORDER BY sequence";
    assert_eq!(
        texts(url, trail).await,
        [
            "function_ceiling.set tutor plan -> viewer []",
            "function_ceiling.set tutor  -> assessor []",
            "function_ceiling.set tutor plan viewer -> contributor []",
            "function_ceiling.deleted tutor plan contributor -> []",
        ]
    );
}

#[tokio::test]
async fn mem_10_ceilings_are_listed_by_function_and_type_page_by_page() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ben").user("bea").external("eve");
    given.organization("beta").await;
    let system = server.system();
    for (function, portfolio_type) in
        [("tutor", "plan"), ("tutor", ""), ("Coach", "plan"), ("coach", "Plan"), ("tutor", "Plan")]
    {
        system.set_ceiling("acme", function, portfolio_type, "viewer").await;
    }
    system.set_ceiling("beta", "coach", "plan", "viewer").await;
    let all = async |filter: v1::FunctionCeilingFilter| {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let page = system.ceilings(filter.clone(), 2, &token).await.unwrap();
            assert!(page.function_ceilings.len() <= 2);
            let rows = page.function_ceilings.into_iter();
            found.extend(rows.map(|it| format!("{}/{}", it.function, it.portfolio_type)));
            token = page.next_page_token;
            if token.is_empty() {
                return found.join(" ");
            }
        }
    };
    let filter = |function: &str, portfolio_type: Option<&str>| v1::FunctionCeilingFilter {
        function: function.to_owned(),
        portfolio_type: portfolio_type.map(str::to_owned),
    };
    let everything = "Coach/plan coach/Plan tutor/ tutor/Plan tutor/plan";
    assert_eq!(all(filter("", None)).await, everything);
    assert_eq!(all(filter("tutor", None)).await, "tutor/ tutor/Plan tutor/plan");
    assert_eq!(all(filter("", Some("plan"))).await, "Coach/plan tutor/plan");
    assert_eq!(all(filter("", Some(""))).await, "tutor/", "those without a type");
    assert_eq!(all(filter("tutor", Some("Plan"))).await, "tutor/Plan");
    assert_eq!(all(filter("nobody", None)).await, "");

    let page = system.ceilings(filter("", None), 2, "").await.unwrap();
    for other in [filter("tutor", None), filter("", Some(""))] {
        let status = system.ceilings(other, 2, &page.next_page_token).await.unwrap_err();
        assert_eq!(fields(&status), ["page_token"]);
    }
    let mine = server.acting("user:ben").ceilings(filter("", None), 0, "").await.unwrap();
    assert_eq!(mine.function_ceilings.len(), 5, "no secret of the administrators");
}

#[tokio::test]
async fn bad_1_what_is_no_function_and_no_type_is_refused_by_its_field() {
    let server = TestServer::start().await;
    server.given().organization("acme").user("ann").await;
    let mut directory = server.system().directory();
    let long = "x".repeat(129);
    for odd in ["", "a b", "tütor", "nul\0", &long] {
        let status = directory.set_affiliation(addition("acme", "ann", odd)).await.unwrap_err();
        assert_eq!(
            (status.code(), fields(&status)),
            (Code::InvalidArgument, vec!["function".into()])
        );
        let status = directory.remove_affiliation(removal("acme", "ann", odd)).await.unwrap_err();
        assert_eq!(fields(&status), ["function"], "{odd:?}");
        let request = ceiling(odd, "", "viewer");
        let status = directory.set_function_ceiling(request).await.unwrap_err();
        assert_eq!(fields(&status), ["function"], "{odd:?}");
    }
    for odd in ["a b", "nul\0", &long[..65]] {
        let request = ceiling("tutor", odd, "viewer");
        let status = directory.set_function_ceiling(request).await.unwrap_err();
        assert_eq!(fields(&status), ["portfolio_type"], "{odd:?}");
        let request = end_of_ceiling("tutor", odd);
        let status = directory.delete_function_ceiling(request).await.unwrap_err();
        assert_eq!(fields(&status), ["portfolio_type"], "{odd:?}");
        let filter = v1::FunctionCeilingFilter {
            function: odd.replace('x', " "),
            portfolio_type: Some(odd.to_owned()),
        };
        let status = server.system().ceilings(filter, 0, "").await.unwrap_err();
        assert_eq!(fields(&status), ["filter.function", "filter.portfolio_type"], "{odd:?}");
    }
    let status = directory.set_affiliation(addition("", "", "")).await.unwrap_err();
    assert_eq!(fields(&status), ["organization", "user", "function"]);
    let status = directory.set_function_ceiling(ceiling("", "", "")).await.unwrap_err();
    assert_eq!(fields(&status), ["function", "role"]);
    let status = server.system().ceilings(v1::FunctionCeilingFilter::default(), -1, "!").await;
    assert_eq!(fields(&status.unwrap_err()), ["page_size", "page_token"]);
    let left =
        "SELECT (SELECT count(*) FROM affiliations) + (SELECT count(*) FROM function_ceilings)";
    assert_eq!(number(&server.database.url, left).await, 0);
}

/// A service that reaches `acme` alone.
fn limited() -> WriteContext {
    let organizations = Organizations::These(BTreeSet::from([id("acme")]));
    let scopes = BTreeSet::from([Scope::Operator]);
    let kind = CallerKind::Service { scopes, organizations };
    let caller = Caller::new("service:acme".to_owned(), kind);
    WriteContext { principal: Principal { caller, actor: Actor::System }, ..system() }
}

fn reading() -> Context {
    let WriteContext { principal, deadline, .. } = limited();
    Context { principal, deadline }
}

fn reason<T: std::fmt::Debug>(answer: Result<T, Error>) -> Reason {
    match answer.expect_err("a refusal") {
        Error::Refused(refusal) => refusal.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn dir_3_aut_2_affiliations_out_of_reach_do_not_exist() {
    let house = House::open().await;
    house.furnish(&["ann"]).await;
    let app = &house.app;
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
    app.create_organization(&system(), &beta).await.expect("created");
    let ben = UpsertUser {
        id: Some(id("ben")),
        email: Email::parse("ben@any.example").expect("an address"),
        display_name: "Ben".to_owned(),
        picture_uri: String::new(),
        home_organization: Some(id("beta")),
    };
    app.upsert_users(&system(), &[Ok(ben)]).await.expect("created");
    let tutor = |user: &str, organization: &str| Affiliation {
        user: id(user),
        organization: id(organization),
        function: id("tutor"),
    };
    // A stranger is nobody whom the caller could make something.
    let stranger = app.set_affiliation(&limited(), &tutor("ben", "acme")).await;
    assert_eq!(reason(stranger), Reason::UserNotFound);
    assert_eq!(reason(app.get_user(&reading(), &id("ben")).await), Reason::UserNotFound);
    for (user, organization) in [("ben", "acme"), ("ben", "beta"), ("ann", "beta")] {
        let set = app.set_affiliation(&system(), &tutor(user, organization)).await;
        set.expect("an affiliation");
    }
    // By it, an organization knows its user.
    let found = app.get_user(&reading(), &id("ben")).await.expect("known").value;
    assert_eq!(found.affiliations, [tutor("ben", "acme")]);
    assert_eq!(found.user.home_organization, None);
    let list = |affiliated| ListUsers {
        organization: id("acme"),
        filter: UserFilter { affiliated, ..UserFilter::default() },
        page: Page { size: 10, after: None },
    };
    let listed = app.list_users(&reading(), &list(true)).await.expect("users").value;
    assert_eq!(listed.users, [found.user], "that home does not exist either");
    assert_eq!(listed.affiliations, [tutor("ben", "acme")]);
    let listed = app.list_users(&reading(), &list(false)).await.expect("users").value;
    assert!(listed.affiliations.is_empty(), "{:?}", listed.affiliations);

    let elsewhere = tutor("ann", "beta");
    for refused in [
        app.set_affiliation(&limited(), &elsewhere).await,
        app.remove_affiliation(&limited(), &elsewhere).await,
    ] {
        assert_eq!(reason(refused), Reason::OrganizationNotFound);
    }
    app.remove_affiliation(&limited(), &tutor("ben", "acme")).await.expect("its own");
    assert_eq!(reason(app.get_user(&reading(), &id("ben")).await), Reason::UserNotFound);
}
