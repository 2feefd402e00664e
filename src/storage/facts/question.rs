use std::collections::{BTreeMap, BTreeSet};

use diesel_async::RunQueryDsl;
use tokio::time::Instant;

use super::items::settings;
use super::portfolios::{grant_fact, portfolio_fact};
use super::roles::parse_reach;
use super::statement::{
    Asked, CELL, EDGE, GRANT, ITEM, ITEM_GRANT, LINK, Narrow, OWNERSHIP, PARTY, PERMISSION, PLACE,
    Row, Whole,
};
use super::subjects::{Edge, Subjects, arrays, subject};
use super::{parse, permission};
use crate::domain::access_settings::Visibility;
use crate::domain::fact::{
    GlobalFacts, GrantFact, ItemFact, OrganizationFacts, PortfolioFact, RoleFact,
};
use crate::domain::revision::{Epoch, Position};
use crate::domain::role::RoleTable;
use crate::domain::{ItemKey, OrganizationId, PortfolioId, RoleKey, Subject, Timestamp};
use crate::storage::read::{distrust, trust, within};
use crate::storage::{Error, Storage, Transaction, feed, timestamps};

/// What a decision about some subjects on one portfolio needs to be known.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whose portfolio, or whose directory if there is no portfolio yet.
    pub organization: &'a OrganizationId,
    /// Which portfolio, if the question is about one.
    pub portfolio: Option<&'a PortfolioId>,
    /// About whom.
    pub subjects: &'a [Subject],
}

/// Just the facts that a question needs.
#[derive(Debug)]
pub struct Answer {
    /// The catalogue, and which of the subjects are deactivated.
    pub global: GlobalFacts,
    /// The portfolio with the subjects' grants, and those that it is linked to; the subjects with
    /// their groups, and the roles.
    pub organization: OrganizationFacts,
}

/// What a check of some permissions needs to be known.
#[derive(Clone, Copy, Debug)]
pub struct CheckQuestion<'a> {
    /// Where; of whatever organization.
    pub portfolio: &'a PortfolioId,
    /// The item that it is done to or in, if one is named.
    pub item: Option<&'a ItemKey>,
    /// About whom.
    pub subjects: &'a [Subject],
    /// To do what. A name that the catalogue does not have is left out of the answer.
    pub permissions: &'a [&'a str],
}

/// Just the facts that a check needs, all true at one position.
///
/// The roles are *not* whole: their tables hold the permissions of the question and no others, so
/// that nothing but a check of these may look at them. That is why the facts are not at hand here.
#[derive(Debug)]
pub struct CheckFacts {
    /// The organization that has the portfolio; none if it is unknown or deleted.
    pub organization: Option<OrganizationId>,
    /// The database history.
    pub epoch: Epoch,
    /// Where the shards stood.
    pub position: Position,
    /// The database's clock.
    pub now: Timestamp,
    facts: Answer,
}

impl CheckFacts {
    /// The facts, for somebody who shows them to nothing but a check of the question's permissions.
    #[must_use]
    pub fn into_partial_facts(self) -> Answer {
        self.facts
    }
}

impl Transaction {
    /// Reads just the facts that a question needs, in one statement. It is the same whatever is
    /// found, so that an invisible portfolio takes as long as an unknown one (VIS-4).
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn facts_for(&mut self, question: &Question<'_>) -> Result<Answer, Error> {
        self.facts_for_item(question, None).await
    }

    /// The same, and the facts of an item.
    ///
    /// # Errors
    /// As [`Transaction::facts_for`].
    pub async fn facts_for_item(
        &mut self,
        question: &Question<'_>,
        item: Option<&ItemKey>,
    ) -> Result<Answer, Error> {
        let mut asked = Asked::about(question.portfolio, item, question.subjects);
        asked.organization = Some(question.organization.as_str());
        let rows = Whole(asked).load(self.connection()).await?;
        Ok(Found::gather(rows, question.portfolio, item)?.answer)
    }
}

impl Storage {
    /// Reads just the facts that a check needs. One statement outside a transaction sees one state
    /// of the primary, as a REPEATABLE READ transaction of several would, without the
    /// round trips.
    ///
    /// # Errors
    /// The database cannot be asked before the deadline, is a standby, or holds what it should not.
    pub async fn check_facts(
        &self,
        question: &CheckQuestion<'_>,
        deadline: Instant,
    ) -> Result<CheckFacts, Error> {
        let asked = Asked::about(Some(question.portfolio), question.item, question.subjects);
        let permissions = question.permissions;
        let mut connection = self.take(&self.reads, deadline).await?;
        distrust(&mut connection);
        let rows = within(deadline, async {
            let rows: Vec<Row> = match question.item {
                None => Narrow::<false> { asked, permissions }.load(&mut *connection).await?,
                Some(_) => Narrow::<true> { asked, permissions }.load(&mut *connection).await?,
            };
            Ok::<_, Error>(rows)
        })
        .await?;
        let found = Found::gather(rows, Some(question.portfolio), question.item)?;
        let (read_only, now, epoch, sequences) =
            found.moment.ok_or_else(|| Error::corrupt("cluster", "all", "no row"))?;
        if read_only {
            // The connection is discarded, as one that nobody trusts: the next may lead to the
            // primary.
            return Err(Error::read_only());
        }
        trust(&mut connection);
        let facts = found.answer;
        let known = !facts.organization.portfolios.is_empty();
        Ok(CheckFacts {
            organization: known.then(|| facts.organization.organization.clone()),
            epoch,
            position: feed::position(&sequences)?,
            now,
            facts,
        })
    }
}

impl<'a> Asked<'a> {
    fn about(
        portfolio: Option<&'a PortfolioId>,
        item: Option<&'a ItemKey>,
        subjects: &'a [Subject],
    ) -> Self {
        let subjects: BTreeSet<&Subject> = subjects.iter().collect();
        Self {
            organization: None,
            portfolio: portfolio.map_or("", PortfolioId::as_str),
            item: item.map_or(("", ""), |key| (key.item_type.as_str(), key.id.as_str())),
            subjects: arrays(subjects),
        }
    }
}

/// Whether the server is read-only, its clock, the history and where the shards stand.
type Moment = (bool, Timestamp, Epoch, Vec<i64>);

/// What the rows say.
struct Found {
    answer: Answer,
    moment: Option<Moment>,
}

/// The rows, sorted by what they say.
#[derive(Default)]
struct Gathered {
    organization: Option<OrganizationId>,
    /// Visibility and role that are in force, if the portfolio has any.
    settings: Option<(String, String)>,
    archived: bool,
    moment: Option<Moment>,
    global: GlobalFacts,
    subjects: Subjects,
    grants: Vec<GrantFact>,
    /// Which portfolio of the chain is linked to which.
    links: BTreeMap<String, String>,
    /// Who owns a linked one of the chain.
    owners: BTreeMap<String, GrantFact>,
    tables: BTreeMap<String, RoleTable>,
    item: Option<ItemFact>,
    item_grants: Vec<GrantFact>,
}

impl Found {
    fn gather(
        rows: Vec<Row>,
        portfolio: Option<&PortfolioId>,
        item: Option<&ItemKey>,
    ) -> Result<Self, Error> {
        let mut gathered = Gathered::default();
        let asked = (portfolio, item);
        rows.into_iter().try_for_each(|row| gathered.add(row, asked))?;
        let portfolios = match portfolio {
            Some(asked) => gathered.portfolios(asked)?,
            None => Vec::new(),
        };
        let items = gathered.take_item();
        let Gathered { organization, moment, global, subjects, tables, .. } = gathered;
        let role = |(key, table): (String, RoleTable)| {
            Ok::<_, Error>(RoleFact { key: parse("roles", &key)?, table })
        };
        let organization = OrganizationFacts {
            organization: organization.ok_or_else(missing)?,
            roles: tables.into_iter().map(role).collect::<Result<_, _>>()?,
            subjects: subjects.into_facts(),
            portfolios,
            items: items.into_iter().collect(),
        };
        Ok(Self { answer: Answer { global, organization }, moment })
    }
}

impl Gathered {
    #[allow(clippy::many_single_char_names, reason = "what a column holds depends on the row")]
    fn add(
        &mut self,
        row: Row,
        (asked, item): (Option<&PortfolioId>, Option<&ItemKey>),
    ) -> Result<(), Error> {
        let (what, a, b, c, x, y, z, start, end, epoch, sequences) = row;
        let flag = |flag: Option<bool>| flag.unwrap_or_default();
        match (what, a, b, c) {
            (ITEM, visibility, role, author) => {
                let Some(key) = item.cloned() else { return Err(missing()) };
                let author = author.map(|author| parse("items", &author)).transpose()?;
                let settings = settings(key.id.as_str(), visibility, role, Vec::new())?;
                let portfolios = asked.filter(|_| flag(y)).into_iter().cloned().collect();
                let archived = flag(x);
                self.item = Some(ItemFact { key, portfolios, author, archived, settings });
            }
            (ITEM_GRANT, Some(kind), Some(id), Some(role)) => {
                self.item_grants.push(grant_fact(&kind, &id, &role, start, end)?);
            }
            (PLACE, Some(organization), visibility, role) => {
                self.organization = Some(parse("organizations", &organization)?);
                self.settings = visibility.zip(role);
                self.archived = flag(y);
                let moment = x.zip(start).zip(epoch).zip(sequences);
                self.moment = moment.map(|(((read_only, now), epoch), sequences)| {
                    (read_only, timestamps::from_sql(now), Epoch(epoch), sequences)
                });
            }
            (PARTY, Some(kind), Some(id), site_role) => {
                self.party(&kind, &id, site_role, [x, y, z].map(flag))?;
            }
            (EDGE, Some(member_kind), Some(member_id), Some(group_id)) => {
                // The groups that are reached are the organization's (DIR-4).
                self.subjects.home("group", &group_id)?;
                self.subjects.edge(&Edge { member_kind, member_id, group_id })?;
            }
            (GRANT, Some(kind), Some(id), Some(role)) => {
                self.grants.push(grant_fact(&kind, &id, &role, start, end)?);
            }
            (CELL, Some(role), permission, reach) => {
                let table = self.tables.entry(role).or_default();
                if let (Some(permission), Some(reach)) = (permission, reach) {
                    table.insert(parse("role_permissions", &permission)?, parse_reach(&reach)?);
                }
            }
            (PERMISSION, Some(name), Some(effect), Some(ordinal)) => {
                let ordinal = parse("permissions", &ordinal)?;
                let row = (name, ordinal, effect, flag(x), flag(y), flag(z));
                self.global.permissions.push(permission(row)?);
            }
            (LINK, Some(id), Some(parent), _) => {
                self.links.insert(id, parent);
            }
            (OWNERSHIP, Some(portfolio), Some(owner), Some(role)) => {
                self.owners.insert(portfolio, grant_fact("user", &owner, &role, start, end)?);
            }
            _ => return Err(missing()),
        }
        Ok(())
    }

    /// The portfolio that was asked about, if it is there, and those that it is linked to.
    fn portfolios(&mut self, asked: &PortfolioId) -> Result<Vec<PortfolioFact>, Error> {
        let mut portfolios = Vec::new();
        for (id, parent) in &self.links {
            portfolios.push(PortfolioFact {
                id: parse("portfolios", id)?,
                link: Some(parse("portfolios", parent)?),
                // Suspended, and so not read.
                visibility: Visibility::Private,
                organization_access_role: RoleKey::viewer(),
                archived: false,
                grants: self.owners.remove(id).into_iter().collect(),
            });
        }
        if let Some((visibility, role)) = self.settings.take() {
            // The root is what others are linked to, and no link itself.
            let is_root = |id: &&String| !self.links.contains_key(*id);
            let root = self.links.values().find(is_root).map_or(asked.as_str(), String::as_str);
            let row = (root.to_owned(), visibility, role, false, None, false);
            let grants = std::mem::take(&mut self.grants);
            portfolios.push(PortfolioFact { grants, ..portfolio_fact(row)? });
        }
        for fact in &mut portfolios {
            // Of the others nobody asks.
            fact.archived = self.archived && fact.id == *asked;
        }
        Ok(portfolios)
    }

    fn take_item(&mut self) -> Option<ItemFact> {
        let mut item = self.item.take()?;
        if let Some(settings) = &mut item.settings {
            settings.grants = std::mem::take(&mut self.item_grants);
        }
        Some(item)
    }

    fn party(
        &mut self,
        kind: &str,
        id: &str,
        site_role: Option<String>,
        [home, deactivated, administrator]: [bool; 3],
    ) -> Result<(), Error> {
        let subject = subject(kind, id)?;
        if let (Subject::User(user), true) = (&subject, deactivated) {
            self.global.deactivated.push(user.clone());
        }
        if home {
            let fact = self.subjects.home(kind, id)?;
            fact.active = matches!(subject, Subject::User(_)) || !deactivated;
        }
        if let Some(role) = site_role {
            self.subjects.site_role(id, &role)?;
        }
        if administrator {
            self.subjects.entry(subject).standing.administrator = true;
        }
        Ok(())
    }
}

fn missing() -> Error {
    Error::corrupt("portfolios", "an answer", "a row without what it should say")
}
