//! What people do with portfolios and with their access settings.
//!
//! ```text
//! WHO creates PORTFOLIO [called NAME] [of type TYPE] [owned by USER]
//!     [being VISIBILITY] [giving ROLE] [below PORTFOLIO [linked]]                  [the portfolio]
//! WHO sees PORTFOLIO                                                               [the portfolio]
//! WHO sees access settings of PORTFOLIO                                   [VISIBILITY, gives ROLE]
//! WHO makes PORTFOLIO VISIBILITY                                          [VISIBILITY, gives ROLE]
//! WHO makes PORTFOLIO give ROLE                                           [VISIBILITY, gives ROLE]
//! WHO renames PORTFOLIO to NAME                                                    [the portfolio]
//! WHO makes PORTFOLIO of type TYPE                                                 [the portfolio]
//! WHO archives | restores | deletes PORTFOLIO                                      [the portfolio]
//! WHO hands PORTFOLIO over to USER                                                 [the portfolio]
//! WHO lists portfolios of mine | of the organization | to administer                  [portfolios]
//! ```

use portcullis::proto::v1;

use super::steps::{Call, Doing, openness, visibility};
use super::told::{Told, lower, name};
use crate::calls::question;
use crate::harness::Client;

pub fn call(doing: Doing, does: &[&str]) -> Option<Call> {
    let Doing { client, organization } = doing;
    match does {
        ["creates", id, options @ ..] => create(client, organization, id, options),
        ["sees", "access", "settings", "of", id] => {
            let id = (*id).to_owned();
            Some(Box::pin(async move { Ok(settings(&client.settings_of(&id).await?)) }))
        }
        ["makes", id, "give", role] => {
            let (id, role) = ((*id).to_owned(), (*role).to_owned());
            Some(Box::pin(async move { Ok(settings(&client.set_access_role(&id, &role).await?)) }))
        }
        ["makes", id, "of", "type", portfolio_type] => {
            let r#type = (*portfolio_type).to_owned();
            let id = (*id).to_owned();
            Some(update(client, v1::Portfolio { id, r#type, ..Default::default() }))
        }
        ["makes", id, openness] => {
            let (id, visibility) = ((*id).to_owned(), visibility(openness)?);
            Some(Box::pin(
                async move { Ok(settings(&client.set_visibility(&id, visibility).await?)) },
            ))
        }
        ["renames", id, "to", display_name] => {
            let (id, display_name) = ((*id).to_owned(), (*display_name).to_owned());
            Some(update(client, v1::Portfolio { id, display_name, ..Default::default() }))
        }
        ["hands", id, "over", "to", owner] => {
            let (id, owner) = ((*id).to_owned(), (*owner).to_owned());
            Some(Box::pin(async move { Ok(portfolio(&client.transfer(&id, &owner).await?)) }))
        }
        ["lists", "portfolios", which @ ..] => list(client, organization, which),
        ["sees", id] => {
            let id = (*id).to_owned();
            Some(Box::pin(async move { Ok(portfolio(&client.get_portfolio(&id).await?)) }))
        }
        [verb @ ("archives" | "restores" | "deletes"), id] => {
            let (verb, id) = ((*verb).to_owned(), (*id).to_owned());
            Some(Box::pin(async move {
                let told = match verb.as_str() {
                    "archives" => client.archive(&id).await,
                    "restores" => client.restore(&id).await,
                    _ => client.delete(&id).await,
                };
                Ok(portfolio(&told?))
            }))
        }
        _ => None,
    }
}

fn create(client: Client, organization: String, id: &str, mut options: &[&str]) -> Option<Call> {
    let display_name = id.to_owned();
    let mut portfolio =
        v1::Portfolio { id: id.to_owned(), organization, display_name, ..Default::default() };
    let mut organization_access_role = String::new();
    loop {
        options = match options {
            [] => break,
            ["called", text, rest @ ..] => {
                (*text).clone_into(&mut portfolio.display_name);
                rest
            }
            ["of", "type", text, rest @ ..] => {
                (*text).clone_into(&mut portfolio.r#type);
                rest
            }
            ["owned", "by", text, rest @ ..] => {
                (*text).clone_into(&mut portfolio.owner);
                rest
            }
            ["being", text, rest @ ..] => {
                portfolio.visibility = Some(visibility(text)?.into());
                rest
            }
            ["below", text, rest @ ..] => {
                (*text).clone_into(&mut portfolio.parent);
                rest
            }
            ["linked", rest @ ..] => {
                portfolio.linked = true;
                rest
            }
            ["giving", text, rest @ ..] => {
                (*text).clone_into(&mut organization_access_role);
                rest
            }
            _ => return None,
        };
    }
    let request = v1::CreatePortfolioRequest {
        portfolio: Some(portfolio),
        organization_access_role,
        ..Default::default()
    };
    Some(Box::pin(async move {
        let created = client.portfolios().create_portfolio(request).await?.into_inner();
        Ok(self::portfolio(&created.portfolio.expect("a portfolio")))
    }))
}

/// Changes what is given.
fn update(client: Client, portfolio: v1::Portfolio) -> Call {
    let request = v1::UpdatePortfolioRequest { portfolio: Some(portfolio), ..Default::default() };
    Box::pin(async move {
        let updated = client.portfolios().update_portfolio(request).await?.into_inner();
        Ok(self::portfolio(&updated.portfolio.expect("a portfolio")))
    })
}

fn list(client: Client, organization: String, which: &[&str]) -> Option<Call> {
    let view = match which {
        ["of", "mine"] => v1::PortfolioView::Mine,
        ["of", "the", "organization"] => v1::PortfolioView::Organization,
        ["to", "administer"] => v1::PortfolioView::Administered,
        _ => return None,
    };
    let request = v1::ListPortfoliosRequest {
        organization,
        view: view.into(),
        consistency: question("user:x", "x", "x").consistency,
        ..Default::default()
    };
    Some(Box::pin(async move {
        let found = client.portfolios().list_portfolios(request).await?.into_inner().portfolios;
        let id = |found: v1::PortfolioSummary| found.portfolio.expect("a portfolio").id;
        Ok(Told::All(found.into_iter().map(id).collect()))
    }))
}

pub fn portfolio(portfolio: &v1::Portfolio) -> Told {
    Told::One(vec![
        format!("name {}", portfolio.display_name),
        openness(portfolio.visibility()),
        format!("owner {}", portfolio.owner),
        format!("author {}", name(portfolio.author.as_ref())),
        format!("type {}", portfolio.r#type),
        lower(portfolio.state().as_str_name(), "PORTFOLIO_STATE_"),
        format!("below {}", portfolio.parent),
        if portfolio.linked { "linked" } else { "not linked" }.to_owned(),
    ])
}

fn settings(settings: &v1::AccessSettings) -> Told {
    let role = format!("gives {}", settings.organization_access_role);
    Told::One(vec![openness(settings.visibility()), role])
}
