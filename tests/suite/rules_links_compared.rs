//! What linking would change, told before it is done (INH-5).

use std::collections::{BTreeMap, BTreeSet};

use portcullis::proto::v1;
use portcullis::proto::v1::{AccessDifferenceKind, Visibility};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tonic::Code;

use crate::calls::{HOUR, adding, instant, number};
use crate::harness::{TestServer, refusal, subject};
use crate::linked::{EVERYBODY, access, server};

#[tokio::test]
async fn inh_5_a_comparison_tells_entry_by_entry_who_gains_loses_or_changes() {
    let server = server().await;
    let system = server.system();
    system.set_visibility("space", Visibility::Open).await.unwrap();
    system.add_member("space", "user:vic", "contributor").await.unwrap();
    let log = "SELECT count(*) FROM change_log";
    let written = number(&server.database.url, log).await;
    let compared = server.acting("user:max").compare("child").await.unwrap();
    assert_eq!((compared.parent.as_str(), compared.linked), ("space", false));
    let (before, after) = (compared.before.unwrap(), compared.after.unwrap());
    assert_eq!((before.visibility(), after.visibility()), (Visibility::Private, Visibility::Open));
    let line = |difference: &v1::AccessDifference| {
        let roles = |roles: &[v1::TimedRole]| {
            roles.iter().map(|role| role.role.clone()).collect::<Vec<_>>().join(" ")
        };
        let kind = difference.kind();
        (
            difference.subject.clone().unwrap(),
            kind,
            roles(&difference.before),
            roles(&difference.after),
        )
    };
    let expected = [
        ("user:ben", AccessDifferenceKind::Gains, "", "contributor"),
        ("user:sam", AccessDifferenceKind::Gains, "", "manager"),
        ("user:vic", AccessDifferenceKind::Changes, "viewer", "contributor"),
        ("group:core", AccessDifferenceKind::Gains, "", "viewer"),
        ("group:team", AccessDifferenceKind::Loses, "contributor", ""),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(who, kind, before, after)| {
            (subject(who), *kind, (*before).to_owned(), (*after).to_owned())
        })
        .collect();
    assert_eq!(compared.differences.iter().map(line).collect::<Vec<_>>(), expected);
    let vic = &compared.differences[2];
    let gained: Vec<_> = vic.gained.iter().map(|held| held.permission.as_str()).collect();
    assert!(gained.contains(&"initiative.edit") && gained.is_sorted(), "{gained:?}");
    assert_eq!(vic.lost, []);
    // What a group loses others may keep by openness: it is told of the group itself.
    let team = &compared.differences[4];
    assert!(team.gained.is_empty() && !team.lost.is_empty());
    assert_eq!(number(&server.database.url, log).await, written);
    system.link("child").await.unwrap();
    let compared = server.acting("user:max").compare("child").await.unwrap();
    assert!(compared.linked && compared.differences.is_empty());
    assert_eq!(compared.before, compared.after);
    assert_eq!(compared.before.unwrap().visibility(), Visibility::Open);
}

#[tokio::test]
async fn inh_5_a_comparison_is_paged_and_bound_to_its_question() {
    let server = server().await;
    let request = |portfolio: &str, page_size, page_token: &str| {
        let (portfolio, page_token) = (portfolio.to_owned(), page_token.to_owned());
        v1::CompareAccessSettingsRequest { portfolio, page_size, page_token }
    };
    let mut settings = server.acting("user:max").settings();
    let first = settings.compare_access_settings(request("child", 1, "")).await.unwrap();
    let first = first.into_inner();
    assert_eq!(first.differences.len(), 1);
    let token = first.next_page_token;
    let all = settings.compare_access_settings(request("child", 0, "")).await.unwrap().into_inner();
    let rest = settings.compare_access_settings(request("child", 9, &token)).await.unwrap();
    assert_eq!(rest.into_inner().differences, all.differences[1..]);
    assert_eq!(all.next_page_token, "");
    let foreign = (Code::InvalidArgument, "PAGE_TOKEN_INVALID".to_owned());
    let refused = settings.compare_access_settings(request("leaf", 1, &token)).await;
    assert_eq!(refusal(refused), foreign);
    let mut others = server.system().settings();
    let refused = others.compare_access_settings(request("child", 1, &token)).await;
    assert_eq!(refusal(refused), foreign);
    let malformed = (Code::InvalidArgument, "INVALID_FIELD".to_owned());
    let refused = settings.compare_access_settings(request("", -1, "")).await;
    assert_eq!(refusal(refused), malformed);
}

/// Roles of the subject itself, in force or to begin, with begin and end: what a member has.
pub type Granted = BTreeSet<(String, Option<i64>, Option<i64>)>;

/// Milliseconds since the Unix epoch.
fn millis(time: &prost_types::Timestamp) -> i64 {
    time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000
}

pub async fn granted(server: &TestServer, portfolio: &str) -> BTreeMap<String, Granted> {
    let mut granted = BTreeMap::new();
    for who in EVERYBODY {
        let Ok(member) = server.system().get_member(portfolio, who).await else { continue };
        let time = |time: Option<prost_types::Timestamp>| time.as_ref().map(millis);
        let lasting = member.grants.into_iter();
        let lasting = lasting.filter(|grant| grant.state() != v1::AccessState::Ended);
        let told = |grant: v1::Grant| {
            let scheduled = grant.state() == v1::AccessState::Scheduled;
            let start = time(grant.start_time).filter(|_| scheduled);
            (grant.role, start, time(grant.expire_time))
        };
        let roles: Granted = lasting.map(told).collect();
        if !roles.is_empty() {
            granted.insert((*who).to_owned(), roles);
        }
    }
    granted
}

/// Random members, settings and ends.
pub async fn shuffle(server: &TestServer, rng: &mut StdRng, portfolio: &str) {
    let system = server.system();
    let later = number(&server.database.url, "extract(epoch FROM now()) * 1000").await + HOUR;
    let visibility = [Visibility::Private, Visibility::Restricted, Visibility::Open];
    system.set_visibility(portfolio, *visibility.choose(rng).unwrap()).await.unwrap();
    system
        .set_access_role(portfolio, ["viewer", "contributor"].choose(rng).unwrap())
        .await
        .unwrap();
    for who in EVERYBODY {
        if rng.random_ratio(1, 2) {
            continue;
        }
        let role = *["manager", "contributor", "viewer", "assessor"].choose(rng).unwrap();
        let mut request = adding(portfolio, &[who], role);
        if rng.random_ratio(1, 4) {
            request.start_time = Some(instant(later));
        }
        if rng.random_ratio(1, 4) {
            use v1::add_members_request::End;
            request.end = Some(End::ExpireTime(instant(later + HOUR)));
        }
        // Some are external, or nobody: refused each by itself.
        system.add_members(request).await.unwrap();
    }
}

fn permissions(held: &[v1::RolePermission]) -> BTreeSet<(String, i32)> {
    held.iter().map(|held| (held.permission.clone(), held.reach)).collect()
}

#[tokio::test]
async fn inh_5_a_comparison_predicts_exactly_what_linking_does() {
    let mut rng = StdRng::seed_from_u64(16);
    let server = server().await;
    let system = server.system();
    system.deactivate("idle").await;
    for round in 0..12 {
        let owners = ["ann", "ben", "max", "sam"];
        let [top, mid, low] = ["top", "mid", "low"].map(|name| format!("{name}{round}"));
        let given = server.given().in_organization("acme");
        let given = given.portfolio(&top).owned_by(owners.choose(&mut rng).unwrap());
        let given = given.portfolio(&mid).owned_by(owners.choose(&mut rng).unwrap()).below(&top);
        let given = given.portfolio(&low).owned_by(owners.choose(&mut rng).unwrap()).below(&mid);
        given.await;
        for id in [&top, &mid, &low] {
            shuffle(&server, &mut rng, id).await;
        }
        if rng.random_ratio(1, 2) {
            system.link(&mid).await.unwrap();
        }
        let compared = system.compare(&low).await.unwrap();
        let before = (granted(&server, &low).await, access(&server, &[&low], EVERYBODY).await);
        system.link(&low).await.unwrap();
        let after = (granted(&server, &low).await, access(&server, &[&low], EVERYBODY).await);
        let told: BTreeMap<_, _> = compared
            .differences
            .iter()
            .map(|difference| (format!("{:?}", difference.subject), difference))
            .collect();
        assert_eq!(told.len(), compared.differences.len());
        for who in EVERYBODY {
            let name = format!("{:?}", Some(subject(who)));
            let none = Granted::new();
            let [was, is] = [&before.0, &after.0].map(|side| side.get(*who).unwrap_or(&none));
            let difference = told.get(&name);
            assert_eq!(was != is, difference.is_some(), "{round} {who}: {was:?} {is:?}");
            let Some(difference) = difference else { continue };
            let roles = |roles: &[v1::TimedRole]| -> Granted {
                let time = |time: &Option<prost_types::Timestamp>| time.as_ref().map(millis);
                let told = |role: &v1::TimedRole| {
                    (role.role.clone(), time(&role.start_time), time(&role.expire_time))
                };
                roles.iter().map(told).collect()
            };
            assert_eq!((&roles(&difference.before), &roles(&difference.after)), (was, is), "{who}");
            let key = (low.clone(), (*who).to_owned());
            let [could, can] = [&before.1, &after.1].map(|side| side[&key].clone());
            let (could, can) = (could.unwrap_or_default(), can.unwrap_or_default());
            let gained: BTreeSet<_> = can.difference(&could).cloned().collect();
            let lost: BTreeSet<_> = could.difference(&can).cloned().collect();
            assert_eq!(permissions(&difference.gained), gained, "{round} {who} gains");
            assert_eq!(permissions(&difference.lost), lost, "{round} {who} loses");
        }
        let settings = system.settings_of(&low).await.unwrap();
        let predicted = compared.after.unwrap();
        assert_eq!(predicted.visibility(), settings.visibility());
        assert_eq!(predicted.organization_access_role, settings.organization_access_role);
        undo(&server, [&top, &mid, &low], &before.1).await;
    }
}

/// Undone with a copy nobody gains or loses; restored it is as it was.
async fn undo(server: &TestServer, ids: [&String; 3], before: &crate::linked::Access) {
    let system = server.system();
    let ids = ids.map(String::as_str);
    let linked = access(server, &ids, EVERYBODY).await;
    let [_, mid, low] = ids;
    if system.get_portfolio(mid).await.unwrap().linked {
        system.unlink(mid, false).await.unwrap();
        assert_eq!(access(server, &ids, EVERYBODY).await, linked, "{mid}");
    }
    system.unlink(low, true).await.unwrap();
    assert_eq!(access(server, &[low], EVERYBODY).await, *before, "{low} restored");
    system.link(low).await.unwrap();
    assert_eq!(access(server, &ids, EVERYBODY).await, linked, "{low} linked again");
    system.unlink(low, false).await.unwrap();
    assert_eq!(access(server, &ids, EVERYBODY).await, linked, "{low} copied");
    system.link(low).await.unwrap();
    assert_eq!(access(server, &ids, EVERYBODY).await, linked, "{low} copied and linked");
}
