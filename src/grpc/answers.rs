//! The answers of `PolicyService`, to the wire.

use super::render::{subject as render_subject, timestamp};
use super::status;
use crate::app::{
    AccessiblePortfolio, BatchChecked, Checked, Decision, DecisionReason as Reason, Effective,
    EffectivePermission, Explained, ExplainedRoute, Explanation, Giver, Origin, RouteEffect,
    SubjectAccess, VisibleItem, Way,
};
use crate::domain::Timestamp;
use crate::domain::refusal::Refusal;
use crate::domain::role::Reach;
use crate::proto::v1;

pub(super) fn checked(checked: &Checked) -> v1::CheckPermissionResponse {
    let Checked { decision, token } = checked;
    let Decision { allowed, reason, hold_until } = decision;
    v1::CheckPermissionResponse {
        allowed: *allowed,
        reason: decision_reason(*reason).into(),
        consistency_token: token.encode(),
        hold_until: hold_until.map(timestamp),
    }
}

pub(super) fn batch(checked: BatchChecked) -> v1::BatchCheckPermissionsResponse {
    let BatchChecked { outcomes, token } = checked;
    v1::BatchCheckPermissionsResponse {
        outcomes: outcomes.into_iter().map(outcome).collect(),
        consistency_token: token.encode(),
    }
}

fn outcome(outcome: Result<Decision, Refusal>) -> v1::BatchCheckOutcome {
    match outcome {
        Ok(Decision { allowed, reason, hold_until }) => v1::BatchCheckOutcome {
            allowed,
            reason: decision_reason(reason).into(),
            hold_until: hold_until.map(timestamp),
            refusal: None,
        },
        Err(refusal) => v1::BatchCheckOutcome {
            refusal: Some(status::refusal(refusal)),
            ..v1::BatchCheckOutcome::default()
        },
    }
}

pub(super) fn explained(explained: Explained) -> v1::ExplainPermissionResponse {
    let Explained { explanation, at, token } = explained;
    let Explanation { decision, independent_item, routes, links, roles, givers } = explanation;
    let Decision { allowed, reason, hold_until } = decision;
    let giver = |Giver { user, administrator }| v1::Giver { user: user.to_string(), administrator };
    v1::ExplainPermissionResponse {
        allowed,
        reason: decision_reason(reason).into(),
        hold_until: hold_until.map(timestamp),
        routes: routes.into_iter().map(|it| route(it, at)).collect(),
        roles_with_permission: roles.iter().map(ToString::to_string).collect(),
        givers: givers.users.into_iter().map(giver).collect(),
        more_givers: givers.more,
        consistency_token: token.encode(),
        // Blank where it is not told (VIS-4).
        independent_item,
        links: links.into_iter().map(|it| it.map_or_else(String::new, String::from)).collect(),
    }
}

fn route(route: ExplainedRoute, at: Timestamp) -> v1::AccessRoute {
    use v1::access_route::Route;
    // How far it reaches shows in the effect.
    let ExplainedRoute {
        way,
        role,
        start_time,
        expire_time,
        in_force,
        reach: _,
        effect,
        origin,
        on_item,
    } = route;
    let viewer_at_most = way == Way::OrganizationAccess { bounded: true };
    let route = match way {
        Way::Direct => Route::Direct(true),
        Way::Group { group, chain } => Route::Group(v1::GroupRoute {
            group: group.to_string(),
            chain: chain.iter().map(ToString::to_string).collect(),
        }),
        Way::OrganizationAccess { bounded: _ } => Route::OrganizationAccess(true),
        Way::Administrator => Route::Administrator(true),
    };
    let begins =
        start_time.is_some_and(|start| at < start && expire_time.is_none_or(|end| start < end));
    let state = match (in_force, begins) {
        (true, _) => v1::AccessState::Active,
        (false, true) => v1::AccessState::Scheduled,
        (false, false) => v1::AccessState::Ended,
    };
    v1::AccessRoute {
        route: Some(route),
        role: role.as_ref().map(ToString::to_string).unwrap_or_default(),
        viewer_at_most,
        start_time: start_time.map(timestamp),
        expire_time: expire_time.map(timestamp),
        state: state.into(),
        effect: route_effect(effect).into(),
        settings_of: match origin {
            Origin::Itself => None,
            Origin::Linked(id) => Some(id.to_string()),
            Origin::Untold => Some(String::new()),
        },
        on_item,
    }
}

fn route_effect(effect: RouteEffect) -> v1::RouteEffect {
    match effect {
        RouteEffect::Allows => v1::RouteEffect::Allows,
        RouteEffect::NotBegun | RouteEffect::Ended => v1::RouteEffect::NotInForce,
        RouteEffect::OwnOnly => v1::RouteEffect::OwnOnly,
        RouteEffect::InternalOnly => v1::RouteEffect::InternalOnly,
        RouteEffect::Archived => v1::RouteEffect::Archived,
        RouteEffect::Lacks => v1::RouteEffect::LacksPermission,
    }
}

pub(super) fn effective(effective: Effective) -> v1::ListEffectivePermissionsResponse {
    let Effective { permissions, reason, hold_until, token } = effective;
    let permission = |permission| {
        // For how long each holds is not told: the list holds for as long as the first.
        let EffectivePermission { name, reach, reason, hold_until: _ } = permission;
        v1::EffectivePermission {
            permission: name.to_string(),
            reach: render_reach(reach).into(),
            reason: decision_reason(reason).into(),
        }
    };
    v1::ListEffectivePermissionsResponse {
        permissions: permissions.into_iter().map(permission).collect(),
        reason: reason.map_or(v1::DecisionReason::Unspecified, decision_reason).into(),
        hold_until: hold_until.map(timestamp),
        consistency_token: token.encode(),
    }
}

fn render_reach(reach: Reach) -> v1::Reach {
    match reach {
        Reach::Any => v1::Reach::Any,
        Reach::Own => v1::Reach::Own,
    }
}

pub(super) fn accessible(row: AccessiblePortfolio) -> v1::AccessiblePortfolio {
    let AccessiblePortfolio { portfolio, organization, decision } = row;
    // Those that are listed are allowed.
    let Decision { allowed: _, reason, hold_until } = decision;
    v1::AccessiblePortfolio {
        portfolio: portfolio.to_string(),
        organization: organization.to_string(),
        reason: decision_reason(reason).into(),
        hold_until: hold_until.map(timestamp),
    }
}

pub(super) fn subject(row: &SubjectAccess) -> v1::SubjectAccess {
    let SubjectAccess { subject, decision } = row;
    let Decision { allowed: _, reason, hold_until } = decision;
    v1::SubjectAccess {
        subject: Some(render_subject(subject)),
        reason: decision_reason(*reason).into(),
        hold_until: hold_until.map(timestamp),
    }
}

pub(super) fn visible_item(row: &VisibleItem) -> v1::VisibleItem {
    let VisibleItem { key, decision } = row;
    let Decision { allowed: _, reason, hold_until } = decision;
    v1::VisibleItem {
        r#type: key.item_type.to_string(),
        id: key.id.to_string(),
        reason: decision_reason(*reason).into(),
        hold_until: hold_until.map(timestamp),
    }
}

fn decision_reason(reason: Reason) -> v1::DecisionReason {
    match reason {
        Reason::DirectGrant => v1::DecisionReason::DirectGrant,
        Reason::GroupGrant => v1::DecisionReason::GroupGrant,
        Reason::OrganizationAccess => v1::DecisionReason::OrganizationAccess,
        Reason::Administrator => v1::DecisionReason::Administrator,
        Reason::PortfolioUnknown => v1::DecisionReason::PortfolioUnknown,
        Reason::SubjectUnknown => v1::DecisionReason::SubjectUnknown,
        Reason::SubjectDeactivated => v1::DecisionReason::SubjectDeactivated,
        Reason::NoAccess => v1::DecisionReason::NoAccess,
        Reason::PermissionMissing => v1::DecisionReason::PermissionMissing,
        Reason::NotAuthor => v1::DecisionReason::NotAuthor,
        Reason::AuthorUnknown => v1::DecisionReason::AuthorUnknown,
        Reason::InternalOnly => v1::DecisionReason::InternalOnly,
        Reason::Archived => v1::DecisionReason::Archived,
        Reason::ItemUnknown => v1::DecisionReason::ItemUnknown,
        Reason::ItemNoAccess => v1::DecisionReason::ItemNoAccess,
    }
}
