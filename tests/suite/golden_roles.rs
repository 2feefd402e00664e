//! ROL-3 and ROL-4 as tables: every permission, every built-in role, decided, printed, and compared
//! with the files that people read. `UPDATE_GOLDEN=1` writes the files anew.

use std::fmt::Write;
use std::path::Path;

use portcullis::domain::access_settings::Visibility;
use portcullis::domain::role::Preset;
use portcullis::domain::{Subject, Timestamp};
use portcullis::policy::{Global, Query, Snapshot, check};

use crate::oracle::{Grant, Model, Portfolio, User};
use crate::worlds::{ROLES, catalogue, roles_of};

/// One portfolio per role, on which an internal and an external user have that role.
fn model(preset: Preset) -> Model {
    let user = |id: &str, home| User {
        id: id.to_owned(),
        home,
        site_role: None,
        administrator: false,
        deactivated: false,
    };
    let portfolio = |role: &str| Portfolio {
        id: role.to_owned(),
        visibility: Visibility::Private,
        organization_access_role: "viewer".to_owned(),
        archived: false,
        link: None,
        owner: None,
        grants: ["user:internal", "user:external"]
            .map(|subject| Grant {
                subject: subject.parse().unwrap(),
                role: role.to_owned(),
                start: None,
                expire: None,
            })
            .to_vec(),
    };
    Model {
        organization: "acme".to_owned(),
        catalogue: catalogue(),
        roles: roles_of(preset),
        users: vec![user("internal", true), user("external", false)],
        portfolios: ROLES.map(portfolio).to_vec(),
        ..Model::default()
    }
}

/// `A` on everything, `O` on own things only, `-` not at all.
fn cell(global: &Global, snapshot: &Snapshot, who: &str, permission: &str, on: &str) -> char {
    let subject: Subject = who.parse().unwrap();
    let somebody: Subject = "user:somebody".parse().unwrap();
    let allowed = |author: Option<&Subject>| {
        let query = Query {
            subject: &subject,
            permission,
            portfolio: on,
            author,
            item: None,
            at: Timestamp(0),
        };
        check(global, snapshot, &query).unwrap().allowed
    };
    match (allowed(Some(&somebody)), allowed(Some(&subject)), allowed(None)) {
        (true, true, true) => 'A',
        (false, true, false) => 'O',
        (false, false, false) => '-',
        odd => panic!("{who} {permission} {on}: {odd:?}"),
    }
}

fn table(preset: Preset) -> String {
    let (global, organization) = model(preset).facts();
    let global = Global::compile(global);
    let snapshot = Snapshot::compile(organization, &global);
    let named =
        preset.roles().into_iter().map(|role| format!("{} {}", role.key, role.display_name));
    let mut text = format!(
        "# {}: what each role may do; A any, O own, - not.\n\
         # Left the organization's own people, right externals.\n\
         # {}.\n\
         # New portfolios are {}; open ones give {}; outsiders become {}; externals join {}.\n",
        preset.as_str(),
        named.collect::<Vec<_>>().join(", "),
        preset.default_visibility().as_str(),
        preset.organization_access_role(),
        preset.outsider_site_role().as_str(),
        preset.externals_join().as_str(),
    );
    let heads = ROLES.map(|role| format!("{role:<12}")).concat();
    writeln!(text, "{:<28}{heads}| {}", "permission", heads.trim_end()).unwrap();
    for entry in catalogue() {
        let row = |who| {
            ROLES
                .map(|on| format!("{:<12}", cell(&global, &snapshot, who, &entry.name, on)))
                .concat()
        };
        let (internal, external) = (row("user:internal"), row("user:external"));
        writeln!(text, "{:<28}{internal}| {}", entry.name, external.trim_end()).unwrap();
    }
    text
}

fn compare(preset: Preset) {
    let name = format!("tests/golden/{}.txt", preset.as_str());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let table = table(preset);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&path, &table).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    let differing: Vec<(&str, &str)> =
        golden.lines().zip(table.lines()).filter(|(golden, now)| golden != now).collect();
    assert!(differing.is_empty(), "golden, now: {differing:#?}");
    assert_eq!(golden, table);
}

#[test]
fn rol_3_rol_8_the_built_in_roles_permit_what_the_golden_table_says() {
    compare(Preset::InitiativePlanning);
}

#[test]
fn rol_4_every_preset_permits_and_defaults_to_what_its_golden_table_says() {
    Preset::ALL.into_iter().for_each(compare);
}
