//! The one decision, over the wire (ACC).

use portcullis::proto::v1;
use portcullis::proto::v1::DecisionReason;
use tonic::Code;

use crate::calls::{HOUR, adding, instant, now};
use crate::harness::{TestServer, refusal};

#[tokio::test]
async fn acc_1_a_check_never_answers_not_found() {
    let server = TestServer::start().await;
    server
        .given()
        .organization("acme")
        .user("ann")
        .user("ben")
        .user("idle")
        .portfolio("roadmap")
        .with("user:ann", "viewer")
        .portfolio("gone")
        .with("user:ann", "viewer")
        .deactivated("idle")
        .await;
    server.system().delete("gone").await.unwrap();
    for (who, at, reason) in [
        ("user:ann", "nowhere", DecisionReason::PortfolioUnknown),
        ("user:ann", "gone", DecisionReason::PortfolioUnknown),
        ("user:nobody", "roadmap", DecisionReason::SubjectUnknown),
        ("group:nobody", "roadmap", DecisionReason::SubjectUnknown),
        ("service_account:nobody", "roadmap", DecisionReason::SubjectUnknown),
        ("user:idle", "roadmap", DecisionReason::SubjectDeactivated),
        ("user:ben", "roadmap", DecisionReason::NoAccess),
    ] {
        let answer = server.system().check(who, "portfolio.view", at).await.expect("an answer");
        assert_eq!((answer.allowed, answer.reason()), (false, reason), "{who} {at}");
    }
}

#[tokio::test]
async fn acc_1_whoever_may_not_list_a_portfolio_hears_that_it_is_unknown() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben").external("eve");
    let given = given.user("idle").portfolio("hidden").owned_by("ann");
    given.with("user:idle", "viewer").deactivated("idle").await;
    for actor in ["user:ben", "user:eve", "user:idle", "user:nobody", "service_account:nobody"] {
        for who in [actor, "user:ann", "user:nobody"] {
            let answer = server.acting(actor).check(who, "portfolio.view", "hidden").await;
            let answer = answer.expect("an answer");
            let expected = (false, DecisionReason::PortfolioUnknown);
            assert_eq!((answer.allowed, answer.reason()), expected, "{actor} about {who}");
        }
        // What is no permission is a mistake of the program, whoever asks.
        let unknown = server.acting(actor).check(actor, "portfolio.veiw", "hidden").await;
        let expected = (Code::InvalidArgument, "PERMISSION_NAME_UNKNOWN".to_owned());
        assert_eq!(refusal(unknown), expected, "{actor}");
    }
}

#[tokio::test]
async fn acc_1_others_are_asked_about_with_members_view_and_oneself_without() {
    let server = TestServer::start().await;
    server
        .given()
        .organization("acme")
        .user("ann")
        .user("ben")
        .user("vic")
        .user("asa")
        .portfolio("club")
        .owned_by("ann")
        .restricted()
        .with("user:vic", "viewer")
        .with("user:asa", "assessor")
        .await;
    let seen = server.acting("user:vic").check("user:ann", "portfolio.delete", "club").await;
    assert!(seen.unwrap().allowed, "a viewer sees the members");
    for actor in ["user:ben", "user:asa"] {
        let client = server.acting(actor);
        let other = client.check("user:ann", "portfolio.view", "club").await;
        let missing = (Code::PermissionDenied, "PERMISSION_MISSING".to_owned());
        assert_eq!(refusal(other), missing, "{actor} lists it and sees no members");
    }
    let ben = server.acting("user:ben").check("user:ben", "portfolio.view", "club").await.unwrap();
    assert_eq!((ben.allowed, ben.reason()), (false, DecisionReason::NoAccess));
    let asa = server.acting("user:asa").check("user:asa", "portfolio.view", "club").await.unwrap();
    assert!(asa.allowed);
}

#[tokio::test]
async fn acc_2_acc_10_access_begins_and_ends_to_the_millisecond() {
    let server = TestServer::start().await;
    let start = now(&server.database.url).await + HOUR;
    let end = start + HOUR + 1;
    server
        .given()
        .organization("acme")
        .user("ben")
        .group("core", &["user:ben"])
        .portfolio("roadmap")
        .granting("user:ben", "viewer", Some(instant(start)), Some(instant(end)))
        .granting("group:core", "contributor", Some(instant(start + 7)), Some(instant(end - 7)))
        .await;
    let system = server.system();
    // Cold first, and then from memory.
    for round in ["cold", "warm"] {
        for (at, views, edits) in [
            (start - 1, false, false),
            (start, true, false),
            (start + 6, true, false),
            (start + 7, true, true),
            (end - 8, true, true),
            (end - 7, true, false),
            (end - 1, true, false),
            (end, false, false),
        ] {
            for (permission, allowed) in [("portfolio.view", views), ("initiative.edit", edits)] {
                let answer = system.check_at("user:ben", permission, "roadmap", at).await.unwrap();
                assert_eq!(answer.allowed, allowed, "{round}: {permission} at {}", at - start);
            }
        }
        system.warm_up("user:ben", "portfolio.view", "roadmap").await;
    }
}

#[tokio::test]
async fn acc_2_access_that_has_ended_is_over_whether_or_not_anybody_looked() {
    let server = TestServer::start().await;
    let url = &server.database.url;
    server.given().organization("acme").user("ben").portfolio("roadmap").await;
    let system = server.system();
    system.warm_up("user:ben", "portfolio.view", "roadmap").await;
    let end = now(url).await + 1_000;
    let expire_time = Some(v1::add_members_request::End::ExpireTime(instant(end)));
    let request =
        v1::AddMembersRequest { end: expire_time, ..adding("roadmap", &["user:ben"], "viewer") };
    system.add_members(request).await.unwrap();
    // Nothing is written from here on.
    let denied = loop {
        let asked = now(url).await;
        let answer = system.check("user:ben", "portfolio.view", "roadmap").await.unwrap();
        if !answer.allowed {
            break answer;
        }
        // The clocks are read in whole milliseconds, twice.
        assert!(asked <= end + 2, "allowed {} ms after the end", asked - end);
        assert_eq!(answer.hold_until, Some(instant(end)));
    };
    assert_eq!((denied.reason(), denied.hold_until), (DecisionReason::NoAccess, None));
}

#[tokio::test]
async fn acc_4_own_things_are_those_that_the_subject_made() {
    let server = TestServer::start().await;
    server
        .given()
        .organization("acme")
        .user("ann")
        .user("ben")
        .group("core", &["user:ben"])
        .portfolio("roadmap")
        .owned_by("ann")
        .with("group:core", "viewer")
        .await;
    let system = server.system();
    // Not even a manager edits somebody else's comment.
    for who in ["user:ann", "user:ben"] {
        for permission in ["comment.edit", "comment.delete"] {
            let on = async |author| {
                let answer = system.check_on(who, permission, "roadmap", author).await;
                (answer.allowed, answer.reason())
            };
            assert!(on(Some(who)).await.0, "{who} {permission}");
            let other = if who == "user:ann" { "user:ben" } else { "user:ann" };
            assert_eq!(on(Some(other)).await, (false, DecisionReason::NotAuthor));
            assert_eq!(on(Some("group:core")).await, (false, DecisionReason::NotAuthor));
            assert_eq!(on(None).await, (false, DecisionReason::AuthorUnknown));
        }
        // What is held on everything asks for no author.
        let answer = system.check_on(who, "comment.view", "roadmap", Some("user:nobody")).await;
        assert!(answer.allowed);
    }
    // Having made a thing gives nothing without the permission.
    let answer = system.check_on("user:eve", "comment.edit", "roadmap", Some("user:eve")).await;
    assert_eq!(answer.reason(), DecisionReason::SubjectUnknown);
}

#[tokio::test]
async fn acc_10_the_past_is_refused_and_the_future_moves_begins_and_ends_alone() {
    let server = TestServer::start().await;
    let time = now(&server.database.url).await;
    let given = server.given().organization("acme").user("ben").user("idle");
    let given = given.portfolio("roadmap").with("user:ben", "viewer").with("user:idle", "viewer");
    given.deactivated("idle").await;
    let system = server.system();
    let past = system.check_at("user:ben", "portfolio.view", "roadmap", time - 1).await;
    assert_eq!(refusal(past), (Code::InvalidArgument, "AT_IN_THE_PAST".to_owned()));
    for who in ["user:ben", "user:idle"] {
        let later = system.check_at(who, "portfolio.view", "roadmap", time + HOUR).await.unwrap();
        assert_eq!(later.allowed, who == "user:ben", "{who}");
    }
}

#[tokio::test]
async fn acc_10_an_answer_says_until_when_it_holds() {
    let server = TestServer::start().await;
    let time = now(&server.database.url).await + HOUR;
    server
        .given()
        .organization("acme")
        .user("ann")
        .user("ben")
        .user("cid")
        .group("first", &["user:ben"])
        .group("second", &["user:ben"])
        .portfolio("roadmap")
        .owned_by("ann")
        .granting("group:first", "viewer", None, Some(instant(time)))
        .granting("group:second", "viewer", Some(instant(time)), Some(instant(time + HOUR)))
        .granting("user:cid", "viewer", Some(instant(time + 5)), None)
        .await;
    let until = async |who: &str, permission: &str, at: i64| {
        let answer = server.system().check_at(who, permission, "roadmap", at).await.unwrap();
        (answer.allowed, answer.hold_until)
    };
    let end = Some(instant(time + HOUR));
    assert_eq!(until("user:ann", "portfolio.view", time).await, (true, None));
    // Periods that touch are one: the answer does not change in between.
    assert_eq!(until("user:ben", "portfolio.view", time - 1).await, (true, end));
    assert_eq!(until("user:ben", "portfolio.view", time + HOUR).await, (false, None));
    assert_eq!(until("user:ben", "initiative.edit", time).await, (false, None));
    let begin = Some(instant(time + 5));
    assert_eq!(until("user:cid", "portfolio.view", time).await, (false, begin));
    assert_eq!(until("user:cid", "portfolio.view", time + 5).await, (true, None));
}
