//! The comparison of a file with what is there.

use std::collections::{HashMap, HashSet};

use super::change::{Action, Change, Kind, Terms};
use super::differences::Differences;
use super::file::File;
use super::plan::{OwnerIs, Plan, diff};
use super::present::{Present, PresentGroup, PresentPortfolio};
use super::roles::cells;
use crate::cli::text;
use crate::domain::Subject;
use crate::domain::role::Preset;
use crate::proto::v1;

const FILE: &str = "
organization: {id: acme, display_name: Acme}
users:
  - {id: ann, email: ann@acme.example, home_organization: acme}
  - {id: bob, email: bob@acme.example}
groups:
  - {id: inner, members: ['user:bob']}
  - {id: outer, members: ['group:inner', 'user:ann']}
portfolios:
  - id: apollo
    owner: ann
    visibility: open
    organization_access_role: contributor
    grants:
      - {subject: 'user:ann', role: manager}
      - {subject: 'group:outer', role: viewer}
      - {subject: 'user:bob', role: contributor, expire_time: 2030-01-01T00:00:00Z}
";

const NOW: &str = "2026-01-01T00:00:00Z";

fn file(replace: &[(&str, &str)]) -> File {
    let mut content = FILE.to_owned();
    for (old, new) in replace {
        assert!(content.contains(old), "{old}");
        content = content.replace(old, new);
    }
    File::parse("f.yaml", &content).unwrap()
}

fn plan(file: &File, present: &Present, now: &str) -> Plan {
    diff(file, present, OwnerIs::Required, text::parse_time(now).unwrap())
}

fn lines(file: &File, present: &Present) -> Vec<String> {
    let plan = plan(file, present, NOW);
    assert_eq!(plan.conflicts, Vec::<String>::new());
    plan.changes.iter().map(ToString::to_string).collect()
}

fn conflict(file: &File, present: &Present) -> String {
    let plan = plan(file, present, NOW);
    assert_eq!(plan.conflicts.len(), 1, "{:?}", plan.conflicts);
    plan.conflicts.concat()
}

/// A server that has made all changes of a plan, as a real one would have.
fn applied(plan: &Plan) -> Present {
    let mut present = Present::default();
    for change in &plan.changes {
        apply(change.clone(), &mut present);
    }
    present
}

fn apply(change: Change, present: &mut Present) {
    match change {
        Change::CreateOrganization(organization) => {
            let preset = Preset::parse(&organization.preset).unwrap_or(Preset::InitiativePlanning);
            let roles = preset.roles().into_iter().map(|role| v1::Role {
                key: role.key.to_string(),
                display_name: role.display_name,
                permissions: cells(&role.table),
                built_in: true,
                ..v1::Role::default()
            });
            present.roles.extend(roles.map(|role| (role.key.clone(), role)));
            present.organizations.insert(organization.id.clone(), organization);
        }
        Change::CreateRole(role) | Change::UpdateRole(role, _) => {
            present.roles.insert(role.key.clone(), role);
        }
        Change::CreateUser(user) | Change::UpdateUser(user, _) => {
            present.users.insert(user.id.clone(), user);
        }
        Change::CreateGroup(group) | Change::UpdateGroup(group, _) => {
            let members = HashSet::new();
            present.groups.insert(group.id.clone(), PresentGroup { group, members });
        }
        Change::AddGroupMember { group, member } => {
            present.groups.get_mut(&group).unwrap().members.insert(member);
        }
        Change::CreatePortfolio { portfolio, organization_access_role } => {
            let settings = v1::AccessSettings {
                portfolio: portfolio.id.clone(),
                visibility: portfolio.visibility.unwrap(),
                organization_access_role,
                ..v1::AccessSettings::default()
            };
            let id = portfolio.id.clone();
            let members = HashMap::new();
            present
                .portfolios
                .insert(id, PresentPortfolio { portfolio, settings, members, pending: None });
        }
        Change::AddMember { portfolio, subject, terms } => {
            let start = terms.start.or(text::parse_time(NOW).ok());
            let grant = v1::Grant {
                role: terms.role,
                state: v1::AccessState::Active as i32,
                start_time: start.map(text::time_message),
                expire_time: terms.expire.map(text::time_message),
                ..v1::Grant::default()
            };
            let member = v1::Member { grants: vec![grant], ..v1::Member::default() };
            present.portfolios.get_mut(&portfolio).unwrap().members.insert(subject, member);
        }
        Change::RegisterItem(mut item) | Change::UpdateItem(mut item, _) => {
            item.portfolios.sort_unstable();
            present.items.insert(format!("{}:{}", item.r#type, item.id), item);
        }
        Change::SetItemGrants { item, subject, terms, .. } => {
            let subject = Some(text::subject_message(&subject));
            present.items.get_mut(&item.to_string()).unwrap().grants.extend(terms.into_iter().map(
                |Terms { role, start, expire }| v1::ItemGrant {
                    subject: subject.clone(),
                    role,
                    start_time: start.map(text::time_message),
                    expire_time: expire.map(text::time_message),
                },
            ));
        }
        Change::CreateServiceAccount(account) => {
            present.service_accounts.insert(account.id.clone(), account);
        }
        Change::SetSiteRole { site_role, .. } => {
            present.site_roles.insert(site_role.user, site_role.site_role);
        }
        Change::AddAffiliation(v1::Affiliation { user, function, .. }) => {
            present.affiliations.entry(user).or_default().insert(function);
        }
        Change::SetFunctionCeiling { ceiling, .. } => {
            let v1::FunctionCeiling { function, portfolio_type, role, .. } = ceiling;
            present.function_ceilings.insert((function, portfolio_type), role);
        }
        Change::SetAdministrators { organization, .. } => {
            let found = present.organizations.get_mut(&organization.id).unwrap();
            found.administrators = organization.administrators;
        }
        Change::DeactivateUser { user, .. } => {
            let deactivated = v1::UserStatus::Deactivated as i32;
            present.users.get_mut(&user).unwrap().status = deactivated;
        }
        Change::DeactivateServiceAccount { service_account, .. } => {
            let found = present.service_accounts.get_mut(&service_account).unwrap();
            found.status = v1::UserStatus::Deactivated as i32;
        }
        other => panic!("nothing differs yet: {other}"),
    }
}

fn apollo(present: &mut Present) -> &mut PresentPortfolio {
    present.portfolios.get_mut("apollo").unwrap()
}

fn bobs_grant(present: &mut Present) -> &mut v1::Grant {
    let bob: Subject = "user:bob".parse().unwrap();
    &mut apollo(present).members.get_mut(&bob).unwrap().grants[0]
}

#[test]
fn on_an_empty_server_everything_is_made_in_an_order_that_works() {
    let plan = plan(&file(&[]), &Present::default(), NOW);
    let lines: Vec<_> = plan.changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "+ organization acme",
            "+ user ann <ann@acme.example>",
            "+ user bob <bob@acme.example>",
            "+ group inner",
            "+ group outer",
            "+ group inner: member user:bob",
            "+ group outer: member group:inner",
            "+ group outer: member user:ann",
            "+ portfolio apollo, open, owner ann",
            "+ portfolio apollo: user:bob as contributor until 2030-01-01T00:00:00Z",
            "+ portfolio apollo: group:outer as viewer",
        ]
    );
    assert_eq!(plan.count(Kind::GroupMember, Action::Add), 3);
    assert_eq!(plan.conflicts, Vec::<String>::new());
}

#[test]
fn what_is_there_is_not_changed() {
    let file = file(&[]);
    let all = plan(&file, &Present::default(), NOW);
    assert_eq!(lines(&file, &applied(&all)), Vec::<String>::new());
}

#[test]
fn a_run_that_was_cut_off_anywhere_is_completed_by_the_next() {
    let file = file(&[]);
    let all = plan(&file, &Present::default(), NOW);
    for done in 0..=all.changes.len() {
        let (first, rest) = all.changes.split_at(done);
        let first = Plan { changes: first.to_vec(), ..Plan::default() };
        assert_eq!(plan(&file, &applied(&first), NOW).changes, rest, "after {done} changes");
    }
}

#[test]
fn differences_are_told_with_old_and_new() {
    let all = plan(&file(&[]), &Present::default(), NOW);
    let mut present = applied(&all);
    present.users.get_mut("bob").unwrap().picture_uri = "https://acme.example/bob".to_owned();
    let changed = file(&[
        ("bob@acme.example", "robert@acme.example, display_name: Robert"),
        ("{id: inner,", "{id: inner, display_name: Inner,"),
        ("visibility: open", "visibility: private"),
        ("role: contributor, expire_time: 2030-01-01T00:00:00Z", "role: viewer"),
    ]);
    assert_eq!(
        lines(&changed, &present),
        [
            "~ user bob: e-mail bob@acme.example -> robert@acme.example, \
             display name bob -> Robert",
            "~ group inner: display name inner -> Inner",
            "~ portfolio apollo: visibility open -> private",
            "~ portfolio apollo: user:bob: role contributor -> viewer, \
             end 2030-01-01T00:00:00Z -> none",
        ]
    );
    let plan = plan(&changed, &present, NOW);
    let Change::UpdateUser(user, _) = &plan.changes[0] else { panic!("{:?}", plan.changes) };
    assert_eq!(user.picture_uri, "https://acme.example/bob", "left out, so left alone");
    let Change::UpdateSettings(settings, _) = &plan.changes[2] else { panic!() };
    assert_eq!(settings.visibility, v1::Visibility::Private as i32);
    assert_eq!(settings.organization_access_role, "contributor");
}

#[test]
fn the_organization_and_names_of_portfolios_can_change() {
    let present = applied(&plan(&file(&[]), &Present::default(), NOW));
    let changed = file(&[
        (
            "Acme}",
            "Acme Ltd, default_visibility: open, administrators: [bob], \
                   privacy_approval: true}",
        ),
        ("owner: ann", "owner: ann\n    display_name: Zeus\n    type: roadmap"),
        ("home_organization: acme", "home_organization: acme, site_role: viewer"),
    ]);
    assert_eq!(
        lines(&changed, &present),
        [
            "~ organization acme: display name Acme -> Acme Ltd, \
             default visibility none -> open, privacy approval off -> on",
            "~ user ann: site role none -> viewer",
            "+ organization acme: administrators none -> bob",
            "~ portfolio apollo: display name apollo -> Zeus, type none -> roadmap",
        ]
    );
}

#[test]
fn dir_3_mem_10_functions_and_their_ceilings_are_made_once_and_told() {
    let content = |role: &str| {
        file(&[
            ("bob@acme.example", "bob@acme.example, affiliations: [tutor, assessor]"),
            (
                "groups:",
                &format!("function_ceilings: [{{function: tutor, role: {role}}}]\ngroups:"),
            ),
        ])
    };
    let all = plan(&content("viewer"), &Present::default(), NOW);
    let told: Vec<_> = all.changes.iter().map(ToString::to_string).collect();
    for line in [
        "+ user bob: affiliation tutor",
        "+ user bob: affiliation assessor",
        "+ function ceiling tutor on portfolios without a type: viewer",
    ] {
        assert!(told.iter().any(|told| told == line), "{line}: {told:?}");
    }
    let mut present = applied(&all);
    assert_eq!(lines(&content("viewer"), &present), Vec::<String>::new());
    present.affiliations.get_mut("bob").unwrap().remove("tutor");
    present.affiliations.get_mut("bob").unwrap().insert("coach".to_owned());
    assert_eq!(
        lines(&content("manager"), &present),
        [
            "~ function ceiling tutor on portfolios without a type: role viewer -> manager",
            "+ user bob: affiliation tutor",
        ]
    );
}

#[test]
fn vis_7_what_waits_for_approval_is_noted_and_not_asked_for_again() {
    let mut present = applied(&plan(&file(&[]), &Present::default(), NOW));
    apollo(&mut present).settings.visibility = v1::Visibility::Private.into();
    apollo(&mut present).pending = Some(v1::PrivacyRequest {
        id: "r1".to_owned(),
        portfolio: "apollo".to_owned(),
        to_visibility: v1::Visibility::Open.into(),
        ..v1::PrivacyRequest::default()
    });
    let at_once = ["~ portfolio apollo: visibility private -> open"];
    assert_eq!(lines(&file(&[]), &present), at_once, "an administrator need not wait");
    present.asks = true;
    let waiting = plan(&file(&[]), &present, NOW);
    assert!(waiting.changes.is_empty(), "{:?}", waiting.changes);
    let note = "portfolio apollo: visibility open waits for an administrator's approval (privacy \
                request r1)";
    assert_eq!(waiting.notes, [note]);
    let other = file(&[("visibility: open", "visibility: restricted")]);
    assert_eq!(lines(&other, &present), ["~ portfolio apollo: visibility private -> restricted"]);
}

#[test]
fn dir_1_whoever_is_to_be_deactivated_gets_their_grants_first() {
    let file = file(&[
        ("bob@acme.example", "bob@acme.example, status: deactivated"),
        ("groups:", "service_accounts: [{id: ci, status: deactivated}]\ngroups:"),
    ]);
    let all = plan(&file, &Present::default(), NOW);
    let told: Vec<_> = all.changes.iter().map(ToString::to_string).collect();
    assert_eq!(told[3], "+ service account ci");
    let last = &told[told.len() - 2..];
    assert_eq!(
        last,
        [
            "~ service account ci: status active -> deactivated",
            "~ user bob: status active -> deactivated",
        ]
    );
    let mut present = applied(&all);
    assert_eq!(lines(&file, &present), Vec::<String>::new());
    present.users.get_mut("ann").unwrap().status = v1::UserStatus::Deactivated as i32;
    let again = self::file(&[("ann@acme.example,", "ann@acme.example, status: active,")]);
    assert_eq!(lines(&again, &present), ["~ user ann: status deactivated -> active"]);
}

#[test]
fn what_is_only_on_the_server_is_left_alone() {
    let file = file(&[]);
    let mut present = applied(&plan(&file, &Present::default(), NOW));
    let extra: Subject = "user:zoe".parse().unwrap();
    present.groups.get_mut("inner").unwrap().members.insert(extra.clone());
    apollo(&mut present).members.insert(extra, v1::Member::default());
    present.users.get_mut("bob").unwrap().home_organization = "acme".to_owned();
    assert_eq!(lines(&file, &present), Vec::<String>::new());
}

#[test]
fn what_no_call_can_change_stops_everything() {
    let all = plan(&file(&[]), &Present::default(), NOW);
    let present = applied(&all);
    let told = conflict(
        &file(&[
            ("owner: ann", "owner: bob"),
            (
                "'user:bob', role: contributor, expire_time: 2030-01-01T00:00:00Z",
                "'user:bob', role: manager",
            ),
        ]),
        &present,
    );
    assert!(
        told.starts_with("portfolio `apollo`: owner ann -> bob: this version cannot"),
        "{told}"
    );
    let mut present = applied(&all);
    present.groups.get_mut("inner").unwrap().group.organization = "other".to_owned();
    assert_eq!(conflict(&file(&[]), &present), "group `inner` belongs to another organization");
}

#[test]
fn whoever_is_named_must_be_known() {
    let present = Present::default();
    let told = conflict(&file(&[("['user:bob']", "['user:zoe']")]), &present);
    assert!(
        told.starts_with("`groups[0].members[0]`: `user:zoe` is neither in the file"),
        "{told}"
    );
    let told = conflict(&file(&[("subject: 'group:outer'", "subject: 'group:none'")]), &present);
    assert!(told.starts_with("`portfolios[0].grants[1].subject`: `group:none`"), "{told}");
    let told = conflict(&file(&[("home_organization: acme", "home_organization: moon")]), &present);
    assert!(told.starts_with("`users[0].home_organization`: there is no organization `moon`"));
    let told = conflict(&file(&[("'group:outer', role", "'service_account:ci', role")]), &present);
    assert!(told.contains("`service_account:ci` is neither in the file"), "{told}");
    // On the server is known too, if it is of the organization.
    let mut present = Present::default();
    let zoe = v1::User { id: "zoe".to_owned(), ..v1::User::default() };
    present.users.insert("zoe".to_owned(), zoe);
    let file = file(&[("['user:bob']", "['user:zoe']")]);
    assert!(lines(&file, &present).contains(&"+ group inner: member user:zoe".to_owned()));
}

#[test]
fn aut_2_the_system_names_the_owner_of_a_new_portfolio() {
    let file = file(&[("    owner: ann\n", "")]);
    let told = conflict(&file, &Present::default());
    assert!(told.starts_with("portfolio `apollo` is new and names no `owner`"), "{told}");
    let now = text::parse_time(NOW).unwrap();
    let plan = diff(&file, &Present::default(), OwnerIs::TheActor, now);
    assert_eq!(plan.conflicts, Vec::<String>::new());
}

#[test]
fn mem_9_access_that_has_ended_by_its_date_is_not_given_again() {
    let file = file(&[]);
    let mut present = applied(&plan(&file, &Present::default(), NOW));
    bobs_grant(&mut present).state = v1::AccessState::Ended as i32;
    let later = plan(&file, &present, "2030-01-01T00:00:00Z");
    assert_eq!((later.changes.len(), later.conflicts.len()), (0, 0));
    assert!(later.notes[0].contains("the access of user:bob has ended by its date"));
    // Removed before its end: the file still wants it.
    let before = lines(&file, &present);
    assert_eq!(before, ["+ portfolio apollo: user:bob as contributor until 2030-01-01T00:00:00Z"]);
}

#[test]
fn a_start_that_has_passed_is_no_difference_and_one_to_come_cannot_be_changed() {
    let with_start = |start: &str| {
        let start = format!("role: contributor, start_time: {start}, expire_time");
        file(&[("role: contributor, expire_time", start.as_str())])
    };
    let mut present = applied(&plan(&file(&[]), &Present::default(), NOW));
    assert_eq!(lines(&with_start("2020-01-01T00:00:00Z"), &present), Vec::<String>::new());
    let told = conflict(&with_start("2029-01-01T00:00:00Z"), &present);
    assert!(told.contains("the start of a grant cannot be changed"), "{told}");
    let start = text::parse_time("2029-01-01T00:00:00Z").unwrap();
    bobs_grant(&mut present).start_time = Some(text::time_message(start));
    assert_eq!(lines(&with_start("2029-01-01T00:00:00Z"), &present), Vec::<String>::new());
}

#[test]
fn vis_1_ownership_is_never_touched() {
    let without_owner = file(&[
        ("    owner: ann\n", ""),
        ("'user:ann', role: manager", "'user:ann', role: viewer"),
    ]);
    let mut present = applied(&plan(&file(&[]), &Present::default(), NOW));
    let ownership = v1::Grant {
        role: "manager".to_owned(),
        ownership: true,
        state: v1::AccessState::Active as i32,
        ..v1::Grant::default()
    };
    let ann = v1::Member { grants: vec![ownership], ..v1::Member::default() };
    apollo(&mut present).members.insert("user:ann".parse().unwrap(), ann);
    let told = conflict(&without_owner, &present);
    assert!(told.contains("`user:ann` owns it"), "{told}");
    let as_manager = file(&[("    owner: ann\n", "")]);
    assert_eq!(lines(&as_manager, &present), Vec::<String>::new());
}

#[test]
fn several_roles_of_one_member_become_the_files_one() {
    let file = file(&[]);
    let mut present = applied(&plan(&file, &Present::default(), NOW));
    let second = v1::Grant { role: "manager".to_owned(), ..bobs_grant(&mut present).clone() };
    let bob: Subject = "user:bob".parse().unwrap();
    apollo(&mut present).members.get_mut(&bob).unwrap().grants.push(second);
    let told = lines(&file, &present);
    assert_eq!(
        told,
        ["~ portfolio apollo: user:bob: roles contributor and manager -> contributor"]
    );
}

#[test]
fn one_call_makes_what_has_the_same_terms() {
    let many = (0..3).map(|n| format!("      - {{subject: 'user:u{n}', role: viewer}}\n"));
    let users = (0..3).map(|n| format!("  - {{id: u{n}, email: u{n}@a.example}}\n"));
    let content = format!(
        "{}{}",
        FILE.replace("groups:\n", &format!("{}groups:\n", users.collect::<String>())),
        many.collect::<String>()
    );
    let file = File::parse("f.yaml", &content).unwrap();
    let plan = plan(&file, &Present::default(), NOW);
    let calls: Vec<_> = plan.changes.chunk_by(Change::joins).map(<[Change]>::len).collect();
    // organization; users; two groups; members of each; portfolio; contributor; four viewers
    assert_eq!(calls, [1, 5, 1, 1, 1, 2, 1, 1, 4]);
}

#[test]
fn the_demo_files_are_such_that_all_can_be_applied_to_one_server() {
    let mut presets = HashSet::new();
    let mut ids = HashSet::new();
    for (name, content) in crate::cli::serve::DEMO {
        let file = File::parse(name, content).unwrap();
        assert_eq!(name, format!("demo/{}.yaml", file.organization.id));
        assert!(presets.insert(file.organization.preset.unwrap().as_str()), "{name}");
        // Other organizations have none of these ids.
        let users = file.users().iter().map(|user| format!("user:{}", user.id));
        let groups = file.groups().iter().map(|group| format!("group:{}", group.id));
        let robots = file.service_accounts().iter();
        let robots = robots.map(|robot| format!("service_account:{}", robot.id));
        let portfolios = file.portfolios().iter().map(|p| format!("portfolio:{}", p.id));
        for id in users.chain(robots).chain(groups).chain(portfolios) {
            assert!(ids.insert(id.clone()), "{name}: `{id}` comes twice");
        }
        let plan = plan(&file, &Present::default(), NOW);
        assert_eq!((plan.conflicts, plan.notes), (Vec::new(), Vec::new()), "{name}");
    }
    assert_eq!(presets.len(), Preset::ALL.len());
}

mod items;
mod pruning;
mod roles;
