//! Compiles an organization that comes part by part.

use std::collections::BTreeMap;

use crate::domain::directory::Standing;
use crate::domain::fact::{FactsPart, OrganizationFacts, SubjectFact};
use crate::domain::{OrganizationId, Subject};

use super::global::Global;
use super::snapshot::Snapshot;

/// An organization that is being compiled.
#[derive(Debug)]
pub struct Compiler {
    facts: OrganizationFacts,
    subjects: BTreeMap<Subject, SubjectFact>,
    bytes: usize,
}

impl Compiler {
    /// Begins with nothing known of the organization.
    #[must_use]
    pub fn new(organization: OrganizationId) -> Self {
        let facts = OrganizationFacts {
            organization,
            roles: Vec::new(),
            subjects: Vec::new(),
            portfolios: Vec::new(),
        };
        Self { facts, subjects: BTreeMap::new(), bytes: 0 }
    }

    /// Takes a part of the facts.
    pub fn add(&mut self, part: FactsPart) {
        self.bytes += part.bytes();
        self.facts.roles.extend(part.roles);
        for fact in part.standings {
            let subject = self.subject(fact.subject);
            subject.standing = fact.standing;
            subject.active = fact.active;
        }
        for fact in part.memberships {
            self.subject(fact.member).groups.push(fact.group);
        }
        self.facts.portfolios.extend(part.portfolios);
    }

    /// An estimate of the memory held so far, as [`Snapshot::bytes`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The snapshot, when every part has been taken.
    #[must_use]
    pub fn finish(mut self, global: &Global) -> Snapshot {
        self.facts.subjects = self.subjects.into_values().collect();
        Snapshot::compile(self.facts, global)
    }

    fn subject(&mut self, subject: Subject) -> &mut SubjectFact {
        self.subjects.entry(subject.clone()).or_insert_with(|| SubjectFact {
            subject,
            standing: Standing::default(),
            active: true,
            groups: Vec::new(),
        })
    }
}
