//! What an organization starts with (ROL-4). What the roles hold is in the golden tables.

use std::collections::BTreeMap;

use portcullis::proto::v1;
use portcullis::proto::v1::{ExternalsJoin, SiteRole, Visibility};
use tonic::Code;

use crate::calls::portfolio;
use crate::harness::{TestServer, fields};

struct Preset {
    name: &'static str,
    names: [&'static str; 4],
    visibility: Visibility,
    access_role: &'static str,
    outsiders: SiteRole,
    externals_join: ExternalsJoin,
}

const PRESETS: [Preset; 4] = [
    Preset {
        name: "initiative_planning",
        names: ["Portfolio Manager", "Contributor", "Viewer", "Assessor"],
        visibility: Visibility::Private,
        access_role: "viewer",
        outsiders: SiteRole::Guest,
        externals_join: ExternalsJoin::AfterAcceptance,
    },
    Preset {
        name: "board_planning",
        names: ["Admin", "Editor", "Viewer", "Assessor"],
        visibility: Visibility::Private,
        access_role: "contributor",
        outsiders: SiteRole::Editor,
        externals_join: ExternalsJoin::AfterAcceptance,
    },
    Preset {
        name: "tracker",
        names: ["Full access", "Edit", "View", "Assessor"],
        visibility: Visibility::Open,
        access_role: "contributor",
        outsiders: SiteRole::Guest,
        externals_join: ExternalsJoin::AfterAcceptance,
    },
    Preset {
        name: "learning",
        names: ["Full control", "Supervisor", "Viewer", "Assessor"],
        visibility: Visibility::Private,
        access_role: "viewer",
        outsiders: SiteRole::Guest,
        externals_join: ExternalsJoin::PartnersAtOnce,
    },
];

#[tokio::test]
async fn rol_4_an_organization_starts_with_its_presets_roles_and_defaults() {
    for preset in PRESETS {
        let server = TestServer::start().await;
        server.given().organization("acme").made_from(preset.name).user("ann").await;
        let system = server.system();
        let request = v1::GetOrganizationRequest { organization: "acme".to_owned() };
        let found = system.directory().get_organization(request).await.unwrap().into_inner();
        let found = found.organization.unwrap();
        assert_eq!(found.preset, preset.name);
        assert_eq!(found.default_visibility(), preset.visibility, "{}", preset.name);
        assert_eq!(found.outsider_site_role(), preset.outsiders, "{}", preset.name);
        assert_eq!(found.externals_join(), preset.externals_join, "{}", preset.name);

        let request =
            v1::ListRolesRequest { organization: "acme".to_owned(), ..Default::default() };
        let roles = system.roles().list_roles(request).await.unwrap().into_inner().roles;
        assert!(roles.iter().all(|role| role.built_in));
        let names: BTreeMap<&str, &str> =
            roles.iter().map(|role| (role.key.as_str(), role.display_name.as_str())).collect();
        let keys = ["manager", "contributor", "viewer", "assessor"];
        assert_eq!(names, keys.into_iter().zip(preset.names).collect(), "{}", preset.name);

        let created = server.acting("user:ann").create(portfolio("roadmap", "")).await.unwrap();
        assert_eq!(created.visibility(), preset.visibility, "{}", preset.name);
        let settings = server.acting("user:ann").settings_of("roadmap").await.unwrap();
        assert_eq!(settings.organization_access_role, preset.access_role, "{}", preset.name);
    }
}

#[tokio::test]
async fn rol_4_what_creation_names_counts_more_than_the_preset() {
    let server = TestServer::start().await;
    let organization = v1::Organization {
        id: "acme".to_owned(),
        display_name: "Acme".to_owned(),
        preset: "learning".to_owned(),
        default_visibility: Some(Visibility::Restricted.into()),
        outsider_site_role: SiteRole::Viewer.into(),
        externals_join: ExternalsJoin::AfterAcceptance.into(),
        ..Default::default()
    };
    let request =
        v1::CreateOrganizationRequest { organization: Some(organization), ..Default::default() };
    let created = server.system().directory().create_organization(request).await.unwrap();
    let created = created.into_inner().organization.unwrap();
    assert_eq!(created.default_visibility(), Visibility::Restricted);
    assert_eq!(created.outsider_site_role(), SiteRole::Viewer);
    assert_eq!(created.externals_join(), ExternalsJoin::AfterAcceptance);
}

#[tokio::test]
async fn rol_4_bad_1_an_unknown_preset_is_refused_with_those_that_there_are() {
    let server = TestServer::start().await;
    for preset in ["agile", "Tracker", "BOARD_PLANNING"] {
        let organization = v1::Organization {
            id: "acme".to_owned(),
            display_name: "Acme".to_owned(),
            preset: preset.to_owned(),
            ..Default::default()
        };
        let request = v1::CreateOrganizationRequest {
            organization: Some(organization),
            ..Default::default()
        };
        let status = server.system().directory().create_organization(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(fields(&status), ["organization.preset"]);
        for known in PRESETS {
            assert!(status.message().contains(known.name), "{status:?}");
        }
    }
}

/// Decided by the server, not read off the table.
#[tokio::test]
async fn rol_4_openness_of_a_tracker_lets_everybody_edit_and_viewers_do_not_comment() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").made_from("tracker").user("ann").user("vic");
    given.service_account("robot").portfolio("roadmap").owned_by("ann").await;
    for (who, permission, expected) in [
        ("user:vic", "portfolio.update", true),
        ("user:vic", "initiative.edit", true),
        ("user:vic", "access.manage", false),
        ("service_account:robot", "initiative.edit", true),
    ] {
        assert_eq!(server.allows(who, permission, "roadmap").await, expected, "{who} {permission}");
    }
    let ann = server.acting("user:ann");
    ann.set_visibility("roadmap", Visibility::Private).await.unwrap();
    ann.add_member("roadmap", "user:vic", "viewer").await.unwrap();
    assert!(server.allows("user:vic", "comment.view", "roadmap").await);
    assert!(!server.allows("user:vic", "comment.create", "roadmap").await);
}
