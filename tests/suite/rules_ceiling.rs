//! No act gives more than its actor holds (ROL-7): random acts of random people, in all places that
//! links reach, and acts that are under way while their actor loses what they give.

use std::collections::{BTreeMap, BTreeSet};

use diesel_async::SimpleAsyncConnection as _;
use portcullis::proto::v1;
use portcullis::proto::v1::{Reach, Visibility};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tonic::Status;

use crate::calls::{connect, custom_role, question, until};
use crate::harness::{Client, TestServer, reason, subject};
use crate::linked::{Access, access};

const PEOPLE: [&str; 6] = ["u0", "u1", "u2", "u3", "u4", "u5"];
const PLACES: [&str; 4] = ["space", "child", "leaf", "other"];
const ROLES: [&str; 6] = ["manager", "contributor", "viewer", "one", "two", "three"];

/// What roles of the test's own are made of.
const CELLS: [&str; 11] = [
    "access.manage",
    "comment.edit own",
    "epic.link",
    "initiative.edit",
    "initiative.transfer",
    "members.invite",
    "members.remove",
    "members.update",
    "portfolio.manage_settings",
    "portfolio.update",
    "view.delete",
];

/// `leaf` below `child` below `space`, and `other` apart, each of somebody else, each with some of
/// the people in any role; and a board that an open portfolio shows.
async fn grown(rng: &mut StdRng) -> TestServer {
    let server = TestServer::start().await;
    let mut given = server.given().organization("acme");
    for who in PEOPLE {
        given = given.user(who);
    }
    let given = given.group("crew", &["user:u4"]);
    let given = given.portfolio("space").owned_by("u0");
    let given = given.portfolio("child").owned_by("u1").below("space");
    let given = given.portfolio("leaf").owned_by("u2").below("child");
    let given = given.portfolio("other").owned_by("u3");
    given.portfolio("gallery").owned_by("u0").open().openly_giving("viewer").await;
    let system = server.system();
    for key in &ROLES[3..] {
        let mut cells = vec!["portfolio.view", "members.view"];
        cells.extend(CELLS.iter().filter(|_| rng.random_ratio(1, 2)));
        system.create_role(custom_role(key, &cells)).await.unwrap();
    }
    for place in PLACES {
        for who in PEOPLE {
            if rng.random_ratio(1, 3) {
                continue;
            }
            // The owner stays.
            let role = ROLES.choose(rng).unwrap();
            system.add_member(place, &format!("user:{who}"), role).await.unwrap();
        }
    }
    let grants = PEOPLE.iter().map(|who| grant(who, ROLES.choose(rng).unwrap())).collect();
    let request = v1::RegisterItemRequest {
        item: Some(v1::Item {
            portfolios: vec!["gallery".to_owned()],
            author: Some(subject("user:u5")),
            independent: true,
            grants,
            ..board()
        }),
        ..Default::default()
    };
    system.items().register_item(request).await.unwrap();
    server
}

fn board() -> v1::Item {
    let (organization, id) = ("acme".to_owned(), "b1".to_owned());
    v1::Item { organization, r#type: "board".to_owned(), id, ..Default::default() }
}

fn grant(who: &str, role: &str) -> v1::ItemGrant {
    let subject = Some(subject(&format!("user:{who}")));
    v1::ItemGrant { subject, role: role.to_owned(), ..Default::default() }
}

fn subjects() -> Vec<String> {
    let people = PEOPLE.iter().map(|who| format!("user:{who}"));
    people.chain(["group:crew".to_owned()]).collect()
}

/// What everybody may do everywhere, the board included.
async fn everything(server: &TestServer) -> Access {
    let subjects = subjects();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    let mut all = access(server, &PLACES, &subjects).await;
    for who in subjects {
        let mut held = BTreeSet::new();
        for cell in CELLS {
            let (permission, author) = match cell.split_once(' ') {
                Some((permission, _)) => (permission, Some(subject(who))),
                None => (cell, None),
            };
            let (r#type, id) = ("board".to_owned(), "b1".to_owned());
            let item = Some(v1::ItemReference { r#type, id, author });
            let question = question(who, permission, "gallery");
            let request = v1::CheckPermissionRequest { item, ..question };
            let answer = server.system().policy().check_permission(request).await.unwrap();
            if answer.into_inner().allowed {
                held.insert((permission.to_owned(), Reach::Any.into()));
            }
        }
        all.insert(("board".to_owned(), who.to_owned()), Ok(held));
    }
    all
}

/// An act of one kind, of any person, anywhere.
async fn act(client: &Client, rng: &mut StdRng, kind: usize) -> Result<(), Status> {
    let place = *PLACES.choose(rng).unwrap();
    let who = subjects().choose(rng).unwrap().clone();
    let role = *ROLES.choose(rng).unwrap();
    match kind {
        0 => {
            let added = client.add_member(place, &who, role).await?;
            return match added.status() {
                v1::AddMemberStatus::Added => Ok(()),
                _ => Err(Status::aborted("refused by itself")),
            };
        }
        1 => drop(client.set_role(place, &who, role).await?),
        2 => drop(client.set_access_role(place, role).await?),
        3 => {
            let visibility = [Visibility::Private, Visibility::Open];
            drop(client.set_visibility(place, *visibility.choose(rng).unwrap()).await?);
        }
        4 => drop(client.link(place).await?),
        5 => drop(client.unlink(place, rng.random_ratio(2, 3)).await?),
        6 => {
            let parent = *["space", "other", "child", ""].choose(rng).unwrap();
            drop(client.place(place, parent, rng.random_ratio(2, 3)).await?);
        }
        7 => drop(client.transfer(place, PEOPLE.choose(rng).unwrap()).await?),
        8 => drop(client.remove_member(place, &who).await?),
        _ => change_board(client, rng).await?,
    }
    Ok(())
}

async fn change_board(client: &Client, rng: &mut StdRng) -> Result<(), Status> {
    let v1::Item { organization, r#type, id, .. } = board();
    let request = v1::GetItemRequest { organization, r#type, id };
    let mut item = client.items().get_item(request).await?.into_inner().item.unwrap();
    let path = match rng.random_range(0..3) {
        0 => {
            item.visibility =
                [Visibility::Private, Visibility::Open].choose(rng).copied().unwrap().into();
            "visibility"
        }
        1 => {
            (*ROLES.choose(rng).unwrap()).clone_into(&mut item.organization_access_role);
            "organization_access_role"
        }
        _ => {
            let who = subject(&format!("user:{}", PEOPLE.choose(rng).unwrap()));
            item.grants.retain(|grant| grant.subject.as_ref() != Some(&who));
            let role = (*ROLES.choose(rng).unwrap()).to_owned();
            item.grants.push(v1::ItemGrant { subject: Some(who), role, ..Default::default() });
            "grants"
        }
    };
    let update_mask = Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
    let request = v1::UpdateItemRequest { item: Some(item), update_mask, ..Default::default() };
    client.items().update_item(request).await.map(drop)
}

/// Nobody gained what the actor did not hold in that place before.
fn within_what_was_held(before: &Access, after: &Access, actor: &str, what: &str) {
    let any = i32::from(Reach::Any);
    for ((place, who), is) in after {
        let of = |who: &str| before[&(place.clone(), who.to_owned())].clone().unwrap_or_default();
        let (was, held) = (of(who), of(actor));
        for (permission, reach) in is.clone().unwrap_or_default() {
            let covers = |table: &BTreeSet<(String, i32)>| {
                table.contains(&(permission.clone(), reach))
                    || table.contains(&(permission.clone(), any))
            };
            assert!(
                covers(&was) || covers(&held),
                "{what} by {actor}: {who} gained {permission} on {place}"
            );
        }
    }
}

#[tokio::test]
async fn rol_7_no_act_gives_more_than_its_actor_holds() {
    let (mut done, mut above) = (BTreeMap::<usize, usize>::new(), 0);
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let server = grown(&mut rng).await;
        let mut before = everything(&server).await;
        for round in 0..150 {
            let actor = format!("user:{}", PEOPLE.choose(&mut rng).unwrap());
            let kind = rng.random_range(0..11);
            match act(&server.acting(&actor), &mut rng, kind).await {
                Ok(()) => *done.entry(kind.min(9)).or_default() += 1,
                Err(status) if status.details().is_empty() => continue,
                Err(status) => {
                    above += usize::from(reason(&status) == "ROLE_ABOVE_OWN");
                    continue;
                }
            }
            let after = everything(&server).await;
            within_what_was_held(&before, &after, &actor, &format!("{seed} {round}: act {kind}"));
            before = after;
        }
    }
    assert!(done.len() == 10 && above >= 20, "done {done:?}, above their own {above}");
}

async fn give(client: &Client, kind: usize) -> Result<(), Status> {
    match kind {
        0 => client.set_role("child", "user:new", "manager").await.map(drop),
        1 => client.add_member("child", "user:far", "contributor").await.map(drop),
        2 => client.set_access_role("child", "contributor").await.map(drop),
        3 => client.link("child").await.map(drop),
        4 => client.place("child", "mine", true).await.map(drop),
        _ => client.set_visibility("child", Visibility::Open).await.map(drop),
    }
}

/// Each of these acts has passed what it looks at before it has the organization to itself, and
/// waits; whoever does it loses their role meanwhile, by a write that came first.
#[tokio::test(flavor = "multi_thread")]
async fn rol_7_no_act_gives_what_its_actor_loses_at_the_same_instant() {
    for kind in 0..6 {
        let server = TestServer::start().await;
        let twin = server.twin().await;
        let given = server.given().organization("acme").user("ann").user("far").user("new");
        let given = given.user("sam");
        let given = given.portfolio("space").owned_by("sam").with_manager("ann");
        let given = given.portfolio("child").owned_by("sam").below("space").with_manager("ann");
        given.with("user:new", "viewer").portfolio("mine").owned_by("ann").await;
        let url = &server.database.url;
        let mut gate = connect(url).await;
        let hold = "BEGIN; SELECT FROM organizations WHERE id = 'acme' FOR UPDATE";
        gate.batch_execute(hold).await.unwrap();
        let waiting = |count: usize| {
            format!(
                "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                  AND wait_event_type = 'Lock') = {count}"
            )
        };
        let system = server.system();
        let demotion = system.set_role("child", "user:ann", "viewer");
        let gives = async {
            until(url, &waiting(1)).await;
            give(&twin.acting("user:ann"), kind).await
        };
        let open = async {
            until(url, &waiting(2)).await;
            gate.batch_execute("COMMIT").await.unwrap();
        };
        let (demoted, given, ()) = tokio::join!(demotion, gives, open);
        demoted.unwrap();
        let refused = given.expect_err("they hold nothing to give any more");
        assert_eq!(reason(&refused), "PERMISSION_MISSING", "act {kind}");
        // Nothing else was in the way.
        system.set_role("child", "user:ann", "manager").await.unwrap();
        give(&twin.acting("user:ann"), kind).await.unwrap();
    }
}
