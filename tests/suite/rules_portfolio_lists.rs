//! Lists of portfolios, and what administrators do with them (VIS-10, MEM-6, DIR-7).

use portcullis::proto::v1;
use portcullis::proto::v1::PortfolioView::{Administered, Mine, Organization, Unspecified};
use portcullis::proto::v1::consistency::Requirement;
use tonic::{Code, Status};

use crate::calls::{execute, texts};
use crate::harness::{Client, TestServer, fields, refusal};

#[allow(clippy::unnecessary_wraps, reason = "as the field of the request is")]
fn consistent() -> Option<v1::Consistency> {
    Some(v1::Consistency { requirement: Some(Requirement::FullyConsistent(true)) })
}

impl Client {
    /// Every page, of two rows each.
    pub async fn list(
        &self,
        organization: &str,
        view: v1::PortfolioView,
    ) -> Result<Vec<v1::PortfolioSummary>, Status> {
        let mut request = v1::ListPortfoliosRequest {
            organization: organization.to_owned(),
            view: view.into(),
            consistency: consistent(),
            page_size: 2,
            ..Default::default()
        };
        let mut all = Vec::new();
        loop {
            let page = self.portfolios().list_portfolios(request.clone()).await?.into_inner();
            all.extend(page.portfolios);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The ids alone.
    async fn listed(&self, organization: &str, view: v1::PortfolioView) -> Vec<String> {
        let rows = self.list(organization, view).await.expect("a list");
        rows.into_iter().map(|row| row.portfolio.expect("a portfolio").id).collect()
    }

    pub async fn unmanaged(&self, organization: &str) -> Result<Vec<String>, Status> {
        let request = v1::ListUnmanagedPortfoliosRequest {
            organization: organization.to_owned(),
            consistency: consistent(),
            ..Default::default()
        };
        let page = self.portfolios().list_unmanaged_portfolios(request).await?.into_inner();
        Ok(page.portfolios.into_iter().map(|portfolio| portfolio.id).collect())
    }
}

/// `root` administers acme and is a member nowhere; ben is in both organizations.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    server
        .given()
        .organization("acme")
        .user("ann")
        .user("ben")
        .user("root")
        .group("core", &["user:ben", "user:ann"])
        .portfolio("a1")
        .owned_by("ann")
        .with("group:core", "viewer")
        .portfolio("b1")
        .owned_by("ann")
        .open()
        .portfolio("c1")
        .owned_by("ann")
        .portfolio("d1")
        .owned_by("ann")
        .restricted()
        .await;
    server.given().organization("zenith").portfolio("b2").await;
    server.system().add_group("zenith", "guests", "user:ben").await;
    server.system().add_member("b2", "group:guests", "viewer").await.unwrap();
    // Nothing is in memory yet that this could pass by.
    execute(
        &server.database.url,
        "INSERT INTO organization_administrators VALUES ('acme', 'root')",
    )
    .await;
    server
}

impl Client {
    async fn add_group(&self, organization: &str, id: &str, member: &str) {
        let group = v1::Group {
            id: id.to_owned(),
            organization: organization.to_owned(),
            display_name: id.to_owned(),
        };
        let request = v1::UpsertGroupRequest { group: Some(group), ..Default::default() };
        self.directory().upsert_group(request).await.expect("a group");
        let request = v1::AddGroupMembersRequest {
            group: id.to_owned(),
            members: vec![crate::harness::subject(member)],
            ..Default::default()
        };
        self.directory().add_group_members(request).await.expect("a member");
    }
}

#[tokio::test]
async fn vis_10_a_list_says_why_each_portfolio_is_in_it() {
    let server = server().await;
    let ben = server.acting("user:ben");
    assert_eq!(ben.listed("", Unspecified).await, ["a1", "b1", "b2", "d1"]);
    assert_eq!(ben.listed("", Mine).await, ["a1", "b2"]);
    assert_eq!(ben.listed("acme", Organization).await, ["b1", "d1"]);
    assert_eq!(ben.listed("acme", Administered).await, [""; 0]);
    let root = server.acting("user:root");
    assert_eq!(root.listed("acme", Administered).await, ["a1", "b1", "c1", "d1"]);
    let rows = root.list("", Unspecified).await.unwrap();
    let views: Vec<_> = rows.iter().map(v1::PortfolioSummary::view).collect();
    assert_eq!(views, [Administered, Organization, Administered, Organization]);
    // The system sees all of an organization, as nobody's.
    let rows = server.system().list("acme", Unspecified).await.unwrap();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row.view() == Unspecified && row.roles.is_empty()));
}

#[tokio::test]
async fn vis_10_a_row_tells_roles_managers_and_members() {
    let server = server().await;
    let rows = server.acting("user:ben").list("acme", Unspecified).await.unwrap();
    let [a1, b1, d1] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((a1.roles.join(","), a1.member_count), ("viewer".to_owned(), 2));
    let manager = v1::PortfolioManager { user: "ann".into(), display_name: "ann".into() };
    assert_eq!(a1.managers, [manager]);
    let portfolio = a1.portfolio.as_ref().unwrap();
    assert_eq!((portfolio.owner.as_str(), portfolio.display_name.as_str()), ("ann", "a1"));
    assert_eq!((b1.roles.join(","), b1.member_count), ("viewer".to_owned(), 1));
    assert!(d1.roles.is_empty(), "listed, not entered");
}

#[tokio::test]
async fn vis_10_vis_4_an_organization_that_does_not_know_the_actor_does_not_exist() {
    let server = server().await;
    let unknown = (Code::NotFound, "ORGANIZATION_NOT_FOUND".to_owned());
    for organization in ["zenith", "nowhere"] {
        let ann = server.acting("user:ann");
        assert_eq!(refusal(ann.list(organization, Unspecified).await), unknown, "{organization}");
        assert_eq!(refusal(ann.unmanaged(organization).await), unknown, "{organization}");
    }
    // Nor does it once it is in memory; ben, a guest there, is not inside either.
    assert_eq!(server.system().listed("zenith", Unspecified).await, ["b2"]);
    for actor in ["user:ann", "user:ben"] {
        let answer = server.acting(actor).unmanaged("zenith").await;
        assert_eq!(refusal(answer), unknown, "{actor}");
    }
    assert_eq!(server.acting("user:ben").listed("zenith", Unspecified).await, ["b2"]);
    assert_eq!(refusal(server.system().list("nowhere", Unspecified).await), unknown);
    assert_eq!(server.acting("user:nobody").listed("", Unspecified).await, [""; 0]);
    let status = server.system().list("", Mine).await.unwrap_err();
    assert_eq!(fields(&status), ["organization", "view"]);
}

#[tokio::test]
async fn vis_10_a_page_goes_on_though_its_portfolios_are_deleted() {
    let server = server().await;
    let ben = server.acting("user:ben");
    let mut request =
        v1::ListPortfoliosRequest { consistency: consistent(), page_size: 1, ..Default::default() };
    let first = ben.portfolios().list_portfolios(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.portfolios[0].portfolio.as_ref().unwrap().id, "a1");
    for gone in ["a1", "b1"] {
        server.system().delete(gone).await.unwrap();
    }
    request.page_token = first.next_page_token;
    let second = ben.portfolios().list_portfolios(request).await.unwrap().into_inner();
    assert_eq!(second.portfolios[0].portfolio.as_ref().unwrap().id, "b2");
}

#[tokio::test]
async fn mem_6_what_nobody_manages_is_listed_to_the_administrators() {
    let server = server().await;
    let root = server.acting("user:root");
    assert_eq!(root.unmanaged("acme").await.unwrap(), [""; 0]);
    server.system().add_member("c1", "user:ben", "manager").await.unwrap();
    server.system().deactivate("ann").await;
    assert_eq!(root.unmanaged("acme").await.unwrap(), ["a1", "b1", "d1"]);
    assert_eq!(server.system().unmanaged("acme").await.unwrap(), ["a1", "b1", "d1"]);
    let required = (Code::PermissionDenied, "ADMINISTRATOR_REQUIRED".to_owned());
    assert_eq!(refusal(server.acting("user:ben").unmanaged("acme").await), required);
    // One names a manager: oneself, too.
    let added = root.add_member("a1", "user:root", "manager").await.unwrap();
    assert_eq!(added.status(), v1::AddMemberStatus::Added);
    assert_eq!(root.unmanaged("acme").await.unwrap(), ["b1", "d1"]);
}

#[tokio::test]
async fn dir_7_rol_7_mem_9_an_administrator_manages_members_and_sees_no_content() {
    let server = server().await;
    let root = server.acting("user:root");
    assert_eq!(root.get_portfolio("c1").await.unwrap().id, "c1");
    assert_eq!(root.get_member("c1", "user:ann").await.unwrap().display_name, "ann");
    let content = root.check("user:root", "portfolio.view", "c1").await.unwrap();
    assert_eq!(content.reason(), v1::DecisionReason::PermissionMissing);
    let missing = (Code::PermissionDenied, "PERMISSION_MISSING".to_owned());
    assert_eq!(refusal(root.settings_of("c1").await), missing);
    // A role above their own, to others and to themselves, and taken away again.
    for who in ["user:ben", "user:root"] {
        let added = root.add_member("c1", who, "manager").await.unwrap();
        assert_eq!(added.status(), v1::AddMemberStatus::Added, "{who}");
    }
    let content = root.check("user:root", "portfolio.view", "c1").await.unwrap();
    assert!(content.allowed, "as a manager, not as an administrator");
    root.remove_member("c1", "user:ben").await.unwrap();
    root.delete("d1").await.unwrap();
    let trail = texts(
        &server.database.url,
        "SELECT what || ' ' || as_administrator FROM change_log WHERE actor = 'user:root' \
         ORDER BY at, sequence",
    );
    let expected = [
        "member.added true",
        "member.added true",
        // A manager by now: nothing needs the exception.
        "member.removed false",
        "portfolio.deleted true",
    ];
    assert_eq!(trail.await, expected);
}
