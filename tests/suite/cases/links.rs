//! What people do with portfolios in portfolios.
//!
//! ```text
//! WHO links PORTFOLIO                                                              [the portfolio]
//! WHO unlinks PORTFOLIO [restoring what was before]                                [the portfolio]
//! WHO moves PORTFOLIO below PORTFOLIO [linked]                                     [the portfolio]
//! WHO compares PORTFOLIO                    [SUBJECT gains ROLE, loses ROLE, or ROLE becomes ROLE]
//! ```

use portcullis::proto::v1;

use super::portfolios::portfolio;
use super::steps::{Call, Doing};
use super::told::{Told, name};

pub fn call(doing: Doing, does: &[&str]) -> Option<Call> {
    let client = doing.client;
    match does {
        ["links", id] => {
            let id = (*id).to_owned();
            Some(Box::pin(async move { Ok(portfolio(&client.link(&id).await?)) }))
        }
        ["unlinks", id, how @ ..] => {
            let restore = match how {
                [] => false,
                ["restoring", "what", "was", "before"] => true,
                _ => return None,
            };
            let id = (*id).to_owned();
            Some(Box::pin(async move { Ok(portfolio(&client.unlink(&id, restore).await?)) }))
        }
        ["moves", id, "below", parent, how @ ..] => {
            let link = match how {
                [] => false,
                ["linked"] => true,
                _ => return None,
            };
            let (id, parent) = ((*id).to_owned(), (*parent).to_owned());
            Some(Box::pin(async move { Ok(portfolio(&client.place(&id, &parent, link).await?)) }))
        }
        ["compares", id] => {
            let id = (*id).to_owned();
            Some(Box::pin(async move {
                let found = client.compare(&id).await?;
                Ok(Told::All(found.differences.iter().map(difference).collect()))
            }))
        }
        _ => None,
    }
}

fn difference(found: &v1::AccessDifference) -> String {
    let roles = |given: &[v1::TimedRole]| {
        given.iter().map(|it| it.role.as_str()).collect::<Vec<_>>().join(" and ")
    };
    let (who, before, after) =
        (name(found.subject.as_ref()), roles(&found.before), roles(&found.after));
    match (before.as_str(), after.as_str()) {
        ("", after) => format!("{who} gains {after}"),
        (before, "") => format!("{who} loses {before}"),
        (before, after) => format!("{who} {before} becomes {after}"),
    }
}
