//! An explanation in words: the branches of the tree, and the same as JSON. Pure.

use serde_json::{Value, json};

use super::text;
use crate::domain::permission::PORTFOLIO_VIEW;
use crate::proto::v1;
use crate::proto::v1::access_route::Route;
use crate::proto::v1::{AccessRoute, AccessState, DecisionReason, RouteEffect};

/// A branch of the tree, with twigs.
struct Branch {
    text: String,
    twigs: Vec<String>,
}

impl Branch {
    fn bare(text: impl Into<String>) -> Self {
        Self { text: text.into(), twigs: Vec::new() }
    }
}

/// The branches below the decision: each route, then what is missing.
pub(crate) fn tree(answer: &v1::ExplainPermissionResponse, permission: &str) -> Vec<String> {
    // What the portfolio gives counts there for seeing it alone (ACC-5).
    let asked = |route: &AccessRoute| match answer.independent_item && !route.on_item {
        true => PORTFOLIO_VIEW,
        false => permission,
    };
    let routes = answer.routes.iter().map(|route| route_branch(route, asked(route)));
    let mut branches: Vec<_> = link_branch(&answer.links).into_iter().chain(routes).collect();
    if !answer.allowed {
        let on_item = DecisionReason::try_from(answer.reason) == Ok(DecisionReason::ItemNoAccess);
        let seen = answer
            .routes
            .iter()
            .any(|route| !route.on_item && route.effect() == RouteEffect::Allows);
        let lacks_view = answer.independent_item && !seen && !on_item;
        branches.extend(missing(answer, if lacks_view { PORTFOLIO_VIEW } else { permission }));
    }
    let mut lines = Vec::new();
    let last = branches.len().saturating_sub(1);
    for (index, Branch { text, twigs }) in branches.into_iter().enumerate() {
        let (knot, stem) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        lines.push(format!("{knot}{text}"));
        let end = twigs.len().saturating_sub(1);
        for (index, twig) in twigs.into_iter().enumerate() {
            let knot = if index == end { "└─ " } else { "├─ " };
            lines.push(format!("{stem}{knot}{twig}"));
        }
    }
    lines
}

fn route_branch(route: &AccessRoute, permission: &str) -> Branch {
    let way = match &route.route {
        Some(Route::Direct(_)) => "own grant".to_owned(),
        Some(Route::Group(group)) => {
            let chain = group.chain.join(" > ");
            let chain = if chain.is_empty() { &group.group } else { &chain };
            format!("group {chain}")
        }
        Some(Route::OrganizationAccess(_)) => "open to the organization".to_owned(),
        Some(Route::Administrator(_)) => "administrator of the organization".to_owned(),
        None => "a way that this program is too old to know".to_owned(),
    };
    let on = if route.on_item { " on the item" } else { "" };
    let role = if route.role.is_empty() { String::new() } else { format!(": {}", route.role) };
    let most = if route.viewer_at_most { ", for a site viewer as viewer at most" } else { "" };
    let of = route.settings_of.as_deref().map(|id| match id {
        "" => ", on a portfolio above it".to_owned(),
        _ => format!(", on portfolio:{id}"),
    });
    let twigs = vec![period(route), effect(route, permission)];
    Branch { text: format!("{way}{on}{role}{most}{}", of.unwrap_or_default()), twigs }
}

/// The chain of links, if there is one.
fn link_branch(links: &[String]) -> Option<Branch> {
    let named = |id: &String| match id.as_str() {
        "" => "a portfolio that you may not list".to_owned(),
        id => format!("portfolio:{id}"),
    };
    let chain: Vec<String> = links.iter().map(named).collect();
    let chain = chain.join(" > ");
    (!links.is_empty())
        .then(|| Branch::bare(format!("linked to {chain}, whose settings are in force")))
}

fn instant(message: Option<&prost_types::Timestamp>) -> Option<String> {
    message.map(|instant| text::time_text(text::time_of(instant)))
}

/// Whether it is in force, and why not.
fn period(route: &AccessRoute) -> String {
    let start = instant(route.start_time.as_ref());
    let end = instant(route.expire_time.as_ref());
    let until = end.as_ref().map(|end| format!(" until {end}")).unwrap_or_default();
    match route.state() {
        AccessState::Scheduled => {
            format!("not in force: begins {}{until}", start.unwrap_or_default())
        }
        AccessState::Ended => {
            format!("not in force: ended {}", end.unwrap_or_default()).trim_end().to_owned()
        }
        AccessState::Active => {
            let since = start.map(|start| format!(" since {start}")).unwrap_or_default();
            format!("in force{since}{until}")
        }
        AccessState::Unspecified => "in force or not: this program is too old to know".to_owned(),
    }
}

fn effect(route: &AccessRoute, permission: &str) -> String {
    match route.effect() {
        RouteEffect::Allows => format!("allows {permission}"),
        RouteEffect::NotInForce => format!("would allow {permission} if it were in force"),
        RouteEffect::OwnOnly => format!("allows {permission} on their own things only"),
        RouteEffect::InternalOnly => {
            format!("would allow {permission} to somebody internal, but they are external")
        }
        RouteEffect::Archived => format!("would allow {permission}, were it not archived"),
        RouteEffect::LacksPermission => format!("does not hold {permission}"),
        RouteEffect::Unspecified => "means something that this program is too old to know".into(),
    }
}

/// What a denial lacks, and who could give it.
fn missing(answer: &v1::ExplainPermissionResponse, permission: &str) -> Vec<Branch> {
    let reason = DecisionReason::try_from(answer.reason).unwrap_or_default();
    let roles = answer.roles_with_permission.join(", ");
    let text = match reason {
        DecisionReason::PortfolioUnknown => {
            return vec![Branch::bare("missing: a portfolio of that id, for those who may see it")];
        }
        DecisionReason::SubjectDeactivated => {
            return vec![Branch::bare("missing: they would have to be reactivated")];
        }
        DecisionReason::InternalOnly => {
            let text = "missing: being internal to the organization, by home or site role";
            return vec![Branch::bare(text)];
        }
        DecisionReason::Archived => {
            let text = "missing: the portfolio or the item, whichever is archived, would have to \
                        be restored";
            return vec![Branch::bare(text)];
        }
        DecisionReason::ItemUnknown => {
            return vec![Branch::bare("missing: the portfolio would have to show the item")];
        }
        DecisionReason::ItemNoAccess if !roles.is_empty() => {
            format!("missing: a grant on the item of a role with {permission}: {roles}")
        }
        DecisionReason::NotAuthor | DecisionReason::AuthorUnknown if roles.is_empty() => {
            "missing: being the author".to_owned()
        }
        _ if roles.is_empty() => format!("missing: a role with {permission}; no role has it"),
        _ => format!("missing: a role with {permission}: {roles}"),
    };
    let giver = |giver: &v1::Giver| match giver.administrator {
        true => format!("user:{} could give it, as an administrator", giver.user),
        false => format!("user:{} could give it", giver.user),
    };
    let mut twigs: Vec<_> = answer.givers.iter().map(giver).collect();
    if answer.more_givers {
        twigs.push("and others".to_owned());
    }
    vec![Branch { text, twigs }]
}

/// The whole answer, with the names of the API.
pub(crate) fn json(answer: &v1::ExplainPermissionResponse) -> Value {
    let giver =
        |giver: &v1::Giver| json!({ "user": giver.user, "administrator": giver.administrator });
    json!({
        "allowed": answer.allowed,
        "reason": text::reason_text(answer.reason),
        "hold_until": instant(answer.hold_until.as_ref()),
        "routes": answer.routes.iter().map(route_json).collect::<Vec<_>>(),
        "roles_with_permission": answer.roles_with_permission,
        "givers": answer.givers.iter().map(giver).collect::<Vec<_>>(),
        "more_givers": answer.more_givers,
        "links": answer.links,
        "independent_item": answer.independent_item,
        "consistency_token": answer.consistency_token,
    })
}

fn route_json(route: &AccessRoute) -> Value {
    let (kind, group, chain) = match &route.route {
        Some(Route::Direct(_)) => ("direct", None, None),
        Some(Route::Group(found)) => ("group", Some(&found.group), Some(&found.chain)),
        Some(Route::OrganizationAccess(_)) => ("organization_access", None, None),
        Some(Route::Administrator(_)) => ("administrator", None, None),
        None => ("unknown", None, None),
    };
    let bare = |name: &str, prefix: &str| name.replacen(prefix, "", 1);
    json!({
        "route": kind,
        "group": group,
        "chain": chain,
        "role": Some(&route.role).filter(|role| !role.is_empty()),
        "viewer_at_most": route.viewer_at_most,
        "start_time": instant(route.start_time.as_ref()),
        "expire_time": instant(route.expire_time.as_ref()),
        "state": bare(route.state().as_str_name(), "ACCESS_STATE_"),
        "effect": bare(route.effect().as_str_name(), "ROUTE_EFFECT_"),
        "settings_of": route.settings_of,
        "on_item": route.on_item,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> prost_types::Timestamp {
        text::time_message(text::parse_time(text).unwrap())
    }

    fn route(route: Route, role: &str, state: AccessState, effect: RouteEffect) -> AccessRoute {
        AccessRoute {
            route: Some(route),
            role: role.to_owned(),
            state: state as i32,
            effect: effect as i32,
            ..AccessRoute::default()
        }
    }

    fn group(chain: &[&str]) -> Route {
        let chain: Vec<_> = chain.iter().map(|&id| id.to_owned()).collect();
        Route::Group(v1::GroupRoute { group: chain.last().unwrap().clone(), chain })
    }

    #[test]
    fn acc_8_every_kind_of_route_reads_as_a_branch() {
        let (active, lacks) = (AccessState::Active, RouteEffect::LacksPermission);
        let answer = v1::ExplainPermissionResponse {
            allowed: true,
            routes: vec![
                route(group(&["release-team", "eng"]), "contributor", active, RouteEffect::Allows),
                AccessRoute {
                    start_time: Some(at("2030-01-01T00:00:00Z")),
                    expire_time: Some(at("2031-01-01T00:00:00Z")),
                    ..route(
                        Route::Direct(true),
                        "manager",
                        AccessState::Scheduled,
                        RouteEffect::NotInForce,
                    )
                },
                AccessRoute {
                    viewer_at_most: true,
                    ..route(Route::OrganizationAccess(true), "contributor", active, lacks)
                },
                route(Route::Administrator(true), "", active, lacks),
            ],
            ..v1::ExplainPermissionResponse::default()
        };
        let lines = tree(&answer, "epic.link");
        assert_eq!(
            lines,
            [
                "├─ group release-team > eng: contributor",
                "│  ├─ in force",
                "│  └─ allows epic.link",
                "├─ own grant: manager",
                "│  ├─ not in force: begins 2030-01-01T00:00:00Z until 2031-01-01T00:00:00Z",
                "│  └─ would allow epic.link if it were in force",
                "├─ open to the organization: contributor, for a site viewer as viewer at most",
                "│  ├─ in force",
                "│  └─ does not hold epic.link",
                "└─ administrator of the organization",
                "   ├─ in force",
                "   └─ does not hold epic.link",
            ]
        );
        let json = json(&answer);
        assert_eq!(json["routes"][0]["chain"], serde_json::json!(["release-team", "eng"]));
        assert_eq!(json["routes"][1]["effect"], "NOT_IN_FORCE");
        assert_eq!(json["routes"][3]["role"], Value::Null);
    }

    #[test]
    fn acc_8_inh_1_links_are_named_and_so_is_whose_settings_a_route_is() {
        let (active, allows) = (AccessState::Active, RouteEffect::Allows);
        let of = |id: &str, it: AccessRoute| AccessRoute { settings_of: Some(id.to_owned()), ..it };
        let answer = v1::ExplainPermissionResponse {
            allowed: true,
            links: vec!["area".to_owned(), String::new()],
            routes: vec![
                of("area", route(Route::Direct(true), "manager", active, allows)),
                of("", route(group(&["eng"]), "contributor", active, allows)),
                route(Route::Direct(true), "manager", active, allows),
            ],
            ..v1::ExplainPermissionResponse::default()
        };
        let lines = tree(&answer, "epic.link");
        let branches: Vec<&String> =
            lines.iter().filter(|it| !it.starts_with(['│', ' '])).collect();
        assert_eq!(
            branches,
            [
                "├─ linked to portfolio:area > a portfolio that you may not list, whose \
                 settings are in force",
                "├─ own grant: manager, on portfolio:area",
                "├─ group eng: contributor, on a portfolio above it",
                "└─ own grant: manager",
            ]
        );
        let json = json(&answer);
        assert_eq!(json["links"], serde_json::json!(["area", ""]));
        assert_eq!(json["routes"][0]["settings_of"], "area");
        assert_eq!(json["routes"][2]["settings_of"], Value::Null);
    }

    fn denied(reason: DecisionReason) -> v1::ExplainPermissionResponse {
        v1::ExplainPermissionResponse {
            reason: reason as i32,
            ..v1::ExplainPermissionResponse::default()
        }
    }

    #[test]
    fn acc_8_a_denial_says_what_is_missing_and_who_could_give_it() {
        let giver = |user: &str, administrator| v1::Giver { user: user.to_owned(), administrator };
        let answer = v1::ExplainPermissionResponse {
            routes: vec![AccessRoute {
                expire_time: Some(at("2020-01-01T00:00:00Z")),
                ..route(
                    Route::Direct(true),
                    "viewer",
                    AccessState::Ended,
                    RouteEffect::LacksPermission,
                )
            }],
            roles_with_permission: vec!["contributor".to_owned(), "manager".to_owned()],
            givers: vec![giver("ann", false), giver("zoe", true)],
            more_givers: true,
            ..denied(DecisionReason::NoAccess)
        };
        assert_eq!(
            tree(&answer, "epic.link"),
            [
                "├─ own grant: viewer",
                "│  ├─ not in force: ended 2020-01-01T00:00:00Z",
                "│  └─ does not hold epic.link",
                "└─ missing: a role with epic.link: contributor, manager",
                "   ├─ user:ann could give it",
                "   ├─ user:zoe could give it, as an administrator",
                "   └─ and others",
            ]
        );
    }

    #[test]
    fn acc_8_what_no_role_helps_against_is_said() {
        let told = |reason| tree(&denied(reason), "epic.link").concat();
        assert!(told(DecisionReason::SubjectDeactivated).contains("reactivated"));
        assert!(told(DecisionReason::InternalOnly).contains("being internal"));
        assert!(told(DecisionReason::Archived).contains("restored"));
        assert!(told(DecisionReason::PortfolioUnknown).contains("a portfolio of that id"));
        assert!(told(DecisionReason::NotAuthor).contains("being the author"));
        assert!(told(DecisionReason::PermissionMissing).contains("no role has it"));
    }
}
