//! The grants of one portfolio: which to add, which to change.

use super::change::{Change, Terms};
use super::differences::Differences;
use super::file::{Grant, Portfolio};
use super::plan::Plan;
use super::present::PresentPortfolio;
use super::validate::is_owner;
use crate::cli::inventory::HeldPortfolio;
use crate::cli::text;
use crate::domain::role::MANAGER;
use crate::domain::{Subject, Timestamp};
use crate::proto::v1;

/// Compares the grants. `found` is the portfolio on the server, if it is there.
pub(super) fn grants(
    entry: &Portfolio,
    found: Option<&PresentPortfolio>,
    now: Timestamp,
    plan: &mut Plan,
) {
    let mut added = Vec::new();
    for grant in entry.grants.iter().filter(|grant| !is_owner(entry, grant)) {
        let subject = &grant.subject;
        let member = found.and_then(|found| found.members.get(subject));
        let held: Vec<_> = member.into_iter().flat_map(HeldPortfolio::grants).collect();
        let over = grant.expire_time.is_some_and(|end| end <= now);
        match (member, held.as_slice()) {
            // Adding it would be refused, and the file is still true: the access has ended.
            (_, []) if over => plan.notes.push(format!(
                "portfolio {}: the access of {subject} has ended by its date; not given again",
                entry.id
            )),
            (Some(member), [_, ..]) => changed(entry, grant, member, &held, now, plan),
            (_, _) => added.push(grant),
        }
    }
    // Those on equal terms go into one call.
    added.sort_by_key(|grant| grant.terms());
    plan.changes.extend(added.into_iter().map(|grant| Change::AddMember {
        portfolio: entry.id.to_string(),
        subject: grant.subject.clone(),
        terms: grant.terms(),
    }));
}

impl Grant {
    /// What it says apart from who.
    pub(super) fn terms(&self) -> Terms {
        let Self { subject: _, role, start_time, expire_time } = self;
        Terms { role: role.to_string(), start: *start_time, expire: *expire_time }
    }
}

/// Compares one grant of the file with what the subject holds.
fn changed(
    entry: &Portfolio,
    grant: &Grant,
    member: &v1::Member,
    held: &[&v1::Grant],
    now: Timestamp,
    plan: &mut Plan,
) {
    let (portfolio, subject) = (entry.id.as_str(), &grant.subject);
    if held.iter().any(|held| held.ownership) {
        // Reached only if the file names no owner, or another one, which is reported already.
        if grant.role.as_str() != MANAGER || grant.expire_time.is_some() {
            let text = "owns it, and is manager without an end (VIS-1); leave the grant out";
            plan.conflicts.push(format!("portfolio `{portfolio}`: `{subject}` {text}"));
        }
        return;
    }
    let [held] = held else {
        // By hand one holds one; whatever else there is, UpdateMember makes one of it.
        let roles: Vec<_> = held.iter().map(|held| held.role.as_str()).collect();
        let mut was = Differences::default();
        was.note("roles", &roles.join(" and "), grant.role.as_str());
        return update(portfolio, subject, grant, member, was, plan);
    };
    let mut was = Differences::default();
    was.note("role", &held.role, grant.role.as_str());
    let old = held.expire_time.as_ref().map(text::time_of);
    was.note("end", &optional(old), &optional(grant.expire_time));
    let starts = held.start_time.as_ref().map(text::time_of);
    if grant.start_time.is_some_and(|start| start > now && Some(start) != starts) {
        let mut was = Differences::default();
        was.note("start", &optional(starts), &optional(grant.start_time));
        let text = "the start of a grant cannot be changed; remove the member first";
        plan.conflicts.push(format!("portfolio `{portfolio}`: `{subject}`: {was}: {text}"));
    } else if was.has("end") && grant.expire_time.is_some_and(|end| end <= now) {
        let text = "the end has passed, but the access has not; remove the member instead";
        plan.conflicts.push(format!("portfolio `{portfolio}`: `{subject}`: {was}: {text}"));
    } else if !was.is_empty() {
        update(portfolio, subject, grant, member, was, plan);
    }
}

fn update(
    portfolio: &str,
    subject: &Subject,
    grant: &Grant,
    member: &v1::Member,
    was: Differences,
    plan: &mut Plan,
) {
    plan.changes.push(Change::UpdateMember {
        portfolio: portfolio.to_owned(),
        subject: subject.clone(),
        terms: grant.terms(),
        etag: member.etag.clone(),
        was,
    });
}

fn optional(instant: Option<Timestamp>) -> String {
    instant.map(text::time_text).unwrap_or_default()
}
