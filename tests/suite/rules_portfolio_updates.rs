//! Changing a portfolio's display name and type (AUT-1, VIS-4).

use portcullis::proto::v1;
use tonic::{Code, Status};

use crate::calls::{execute, number, texts};
use crate::harness::{Client, TestServer, fields, refusal};

async fn server() -> TestServer {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben").user("cid");
    given.portfolio("roadmap").owned_by("ann").with("user:ben", "contributor").await;
    server
}

fn named(display_name: &str, r#type: &str) -> v1::Portfolio {
    v1::Portfolio {
        id: "roadmap".to_owned(),
        display_name: display_name.to_owned(),
        r#type: r#type.to_owned(),
        ..Default::default()
    }
}

async fn update(
    client: &Client,
    portfolio: v1::Portfolio,
    paths: &[&str],
) -> Result<v1::Portfolio, Status> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = v1::UpdatePortfolioRequest {
        portfolio: Some(portfolio),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    };
    let updated = client.portfolios().update_portfolio(request).await?.into_inner();
    Ok(updated.portfolio.expect("a portfolio"))
}

#[tokio::test]
async fn aut_1_a_manager_changes_name_and_type_as_the_mask_says() {
    let server = server().await;
    let ann = server.acting("user:ann");
    let before = ann.get_portfolio("roadmap").await.unwrap();
    let both = update(&ann, named("Road map", "plan"), &[]).await.unwrap();
    assert_eq!((both.display_name.as_str(), both.r#type.as_str()), ("Road map", "plan"));
    assert_ne!(both.etag, before.etag);
    assert_eq!(both.create_time, before.create_time);
    assert_eq!(ann.get_portfolio("roadmap").await.unwrap(), both);
    let named_only = update(&ann, named("Map", "ignored"), &["display_name"]).await.unwrap();
    assert_eq!((named_only.display_name.as_str(), named_only.r#type.as_str()), ("Map", "plan"));
    let cleared = update(&ann, named("", ""), &["type"]).await.unwrap();
    assert_eq!((cleared.display_name.as_str(), cleared.r#type.as_str()), ("Map", ""));

    let url = &server.database.url;
    let events = "SELECT (before ->> 'display_name') || ',' || (before ->> 'portfolio_type') || ' '
            || (after ->> 'display_name') || ',' || (after ->> 'portfolio_type') || ' ' || portfolio
        FROM change_log WHERE what = 'portfolio.updated' ORDER BY shard, sequence";
    let expected = [
        "roadmap, Road map,plan roadmap",
        "Road map,plan Map,plan roadmap",
        "Map,plan Map, roadmap",
    ];
    assert_eq!(texts(url, events).await, expected);
    // What is so already is not written.
    let everything = "SELECT count(*) FROM change_log";
    let count = number(url, everything).await;
    assert_eq!(update(&ann, named("Map", ""), &["display_name", "type"]).await.unwrap(), cleared);
    assert_eq!(number(url, everything).await, count);
}

#[tokio::test]
async fn aut_1_the_name_needs_update_the_type_manage_settings_and_both_need_both() {
    let server = server().await;
    let ben = server.acting("user:ben");
    let missing = (Code::PermissionDenied, "PERMISSION_MISSING".to_owned());
    for (portfolio, paths) in [
        (named("x", ""), &["display_name"][..]),
        (named("", "x"), &["type"]),
        (named("x", "x"), &[]),
    ] {
        assert_eq!(refusal(update(&ben, portfolio, paths).await), missing, "{paths:?}");
    }
    let grant = |permission: &str| {
        format!(
            "INSERT INTO role_permissions VALUES ('acme', 'contributor', '{permission}', 'any')"
        )
    };
    execute(&server.database.url, &grant("portfolio.update")).await;
    assert_eq!(update(&ben, named("x", ""), &[]).await.unwrap().display_name, "x");
    assert_eq!(refusal(update(&ben, named("", "x"), &[]).await), missing);
    // Also to what it is already: the mask names it.
    assert_eq!(refusal(update(&ben, named("y", ""), &["display_name", "type"]).await), missing);
    execute(&server.database.url, &grant("portfolio.manage_settings")).await;
    let both = update(&ben, named("y", "z"), &[]).await.unwrap();
    assert_eq!((both.display_name.as_str(), both.r#type.as_str()), ("y", "z"));
}

#[tokio::test]
async fn vis_4_bad_1_who_may_not_see_it_cannot_change_it_and_nonsense_is_refused() {
    let server = server().await;
    let ann = server.acting("user:ann");
    let unseen = update(&server.acting("user:cid"), named("x", ""), &[]).await;
    assert_eq!(refusal(unseen), (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned()));
    let old = ann.get_portfolio("roadmap").await.unwrap().etag;
    let stale = async |etag: &str| {
        let portfolio = v1::Portfolio { etag: etag.to_owned(), ..named("Map", "") };
        update(&ann, portfolio, &[]).await
    };
    stale(&old).await.unwrap();
    assert_eq!(refusal(stale(&old).await), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
    for (portfolio, paths, field) in [
        (named("", ""), &[][..], "update_mask"),
        (named("x", ""), &["owner"], "update_mask"),
        (named("", ""), &["display_name"], "portfolio.display_name"),
        (named("a\nb", ""), &[], "portfolio.display_name"),
        (named("", "no type"), &[], "portfolio.type"),
        (v1::Portfolio { id: String::new(), ..named("x", "") }, &[], "portfolio.id"),
    ] {
        let status = update(&ann, portfolio, paths).await.unwrap_err();
        assert_eq!(fields(&status), [field]);
    }
    let empty = ann.portfolios().update_portfolio(v1::UpdatePortfolioRequest::default()).await;
    assert_eq!(fields(&empty.unwrap_err()), ["portfolio"]);
}
