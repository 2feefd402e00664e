//! Roles of the organization's own in a file (ROL-5).

use super::*;

const SCRIBE: &str = "groups:\n";

/// The file with a role `scribe` and what else a test says of roles.
fn with(roles: &str) -> File {
    let text = format!(
        "roles:\n  - {{key: scribe, display_name: Scribe, permissions: {{portfolio.view: any, \
         comment.edit: own}}}}\n{roles}{SCRIBE}"
    );
    file(&[(SCRIBE, text.as_str())])
}

#[test]
fn rol_5_roles_come_before_what_names_them_and_are_not_made_twice() {
    let file = file(&[
        (SCRIBE, "roles:\n  - {key: scribe, permissions: {portfolio.view: any}}\ngroups:\n"),
        ("organization_access_role: contributor", "organization_access_role: scribe"),
        ("'group:outer', role: viewer", "'group:outer', role: scribe"),
    ]);
    let all = plan(&file, &Present::default(), NOW);
    assert_eq!(all.conflicts, Vec::<String>::new());
    assert_eq!(all.changes[1].to_string(), "+ role scribe: portfolio.view");
    assert_eq!(lines(&file, &applied(&all)), Vec::<String>::new());
    let Change::CreateRole(role) = &all.changes[1] else { panic!("{:?}", all.changes) };
    assert_eq!(role.display_name, "scribe", "left out, so the key");
}

#[test]
fn rol_5_a_difference_of_roles_tells_what_comes_and_what_goes() {
    let present = applied(&plan(&with(""), &Present::default(), NOW));
    let changed = file(&[(
        SCRIBE,
        "roles:\n  - {key: scribe, description: Writes., permissions: {comment.edit: own, \
         comment.create: any}}\n  - {key: viewer, display_name: Guest}\ngroups:\n",
    )]);
    assert_eq!(
        lines(&changed, &present),
        [
            "~ role scribe: description none -> Writes., \
             permissions portfolio.view -> comment.create",
            "~ role viewer: display name Viewer -> Guest",
        ]
    );
    let plan = plan(&changed, &present, NOW);
    let Change::UpdateRole(role, _) = &plan.changes[0] else { panic!("{:?}", plan.changes) };
    assert_eq!(role.display_name, "Scribe", "left out, so left alone");
    assert_eq!(lines(&changed, &applied_to(present, &plan)), Vec::<String>::new());
}

fn applied_to(mut present: Present, plan: &Plan) -> Present {
    plan.changes.iter().for_each(|change| apply(change.clone(), &mut present));
    present
}

/// What services registered is a manager's by rule, and no difference.
#[test]
fn rol_5_rol_1_what_a_manager_holds_by_rule_is_no_difference() {
    let file = with("  - {key: manager, display_name: Boss}\n");
    let mut present = applied(&plan(&file, &Present::default(), NOW));
    assert_eq!(lines(&file, &present), Vec::<String>::new());
    let manager = present.roles.get_mut("manager").unwrap();
    let any = v1::Reach::Any as i32;
    let permission = "budget.sign".to_owned();
    manager.permissions.push(v1::RolePermission { permission, reach: any });
    let mut preset = Preset::InitiativePlanning.roles();
    let table = serde_json::to_string(&preset.remove(0).table).unwrap();
    let whole = with(&format!("  - {{key: manager, permissions: {table}}}\n"));
    assert_eq!(lines(&whole, &present), Vec::<String>::new());
}

#[test]
fn rol_7_a_role_that_gets_what_openness_never_gives_gets_it_when_it_gives_it_no_more() {
    let openly = file(&[
        (SCRIBE, "roles:\n  - {key: scribe, permissions: {portfolio.view: any}}\ngroups:\n"),
        ("organization_access_role: contributor", "organization_access_role: scribe"),
    ]);
    let present = applied(&plan(&openly, &Present::default(), NOW));
    let managing = file(&[(
        SCRIBE,
        "roles:\n  - {key: scribe, permissions: {portfolio.view: any, access.manage: any}}\n  \
         - {key: viewer, permissions: {portfolio.view: any}}\ngroups:\n",
    )]);
    let told = lines(&managing, &present);
    assert!(told[0].starts_with("~ role viewer: permissions assessment.view "), "{told:?}");
    assert_eq!(
        told[1..],
        [
            "~ portfolio apollo: organization access role scribe -> contributor",
            "~ role scribe: permissions none -> access.manage",
        ]
    );
}

#[test]
fn a_role_must_exist_and_be_fit_for_an_organization() {
    let present = Present::default();
    let editor = file(&[("'group:outer', role: viewer", "'group:outer', role: editor")]);
    let expected = "`portfolios[0].grants[1].role`: there is no role `editor`; accepted: \
                    `assessor`, `contributor`, `manager`, `viewer`";
    assert_eq!(conflict(&editor, &present), expected);
    let ceiling = |role: &str| {
        let ceilings =
            format!("function_ceilings: [{{function: tutor, role: {role}}}]\nportfolios:");
        file(&[("portfolios:", ceilings.as_str())])
    };
    let told = conflict(&ceiling("editor"), &present);
    assert!(told.starts_with("`function_ceilings[0].role`: there is no role `editor`"), "{told}");
    assert_eq!(plan(&ceiling("manager"), &present, NOW).conflicts, [""; 0]);
    let openly = |role: &str| {
        let role = format!("organization_access_role: {role}");
        file(&[("organization_access_role: contributor", role.as_str())])
    };
    let told = conflict(&openly("manager"), &present);
    assert!(told.contains("`manager` holds `access.manage`"), "{told}");
    let told = conflict(&openly("nobody"), &present);
    assert!(told.contains("there is no role `nobody`"), "{told}");
    // One that the server has is one, and is judged by what it holds there.
    let mut present = applied(&plan(&file(&[]), &Present::default(), NOW));
    let held = [("portfolio.view", v1::Reach::Any), ("members.invite", v1::Reach::Any)];
    let permissions = held.map(|(name, reach)| v1::RolePermission {
        permission: name.to_owned(),
        reach: reach.into(),
    });
    let key = "editor".to_owned();
    let role = v1::Role { key, permissions: permissions.to_vec(), ..v1::Role::default() };
    present.roles.insert("editor".to_owned(), role);
    assert_eq!(
        lines(&editor, &present),
        ["~ portfolio apollo: group:outer: role viewer -> editor"]
    );
    let told = conflict(&openly("editor"), &present);
    assert!(told.contains("`editor` holds `members.invite`"), "{told}");
}
