//! Keys from an address: rotating, slow, down, wrong, and asked for by a flood.

use std::time::Duration;

use futures::future::join_all;
use portcullis::authn::{Authenticator, Issuer, Options, Refused, Source, Tokens};
use portcullis::clock::Clock;
use portcullis::domain::Timestamp;
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::issuer::{AUDIENCE, ISSUER, KeyServer, TestKey, operator};

const NOW: i64 = 1_800_000_000;
const COOLDOWN: Duration = Duration::from_secs(10);

/// Nothing happens by itself, and a fetch may take as long as the test.
fn patient() -> Options {
    let hour = Duration::from_secs(3_600);
    Options { cooldown: COOLDOWN, address_interval: hour, file_interval: hour, fetch_timeout: hour }
}

struct Gate {
    authenticator: Authenticator,
    clock: Clock,
    _background: DropGuard,
}

impl Gate {
    async fn new(server: &KeyServer, options: Options) -> Self {
        let clock = Clock::manual(Timestamp(NOW * 1_000));
        let background = CancellationToken::new();
        let (issuer, audience) = (ISSUER.to_owned(), AUDIENCE.to_owned());
        let keys = Source::Address(server.url().parse().unwrap());
        let issuer = Issuer { issuer, audience, keys };
        let tokens = Tokens::start(issuer, &options, clock.clone(), background.clone()).await;
        let authenticator = Authenticator::demanding(Some(tokens.unwrap()), None, None);
        Self { authenticator, clock, _background: background.drop_guard() }
    }

    /// What becomes of a token: accepted, or the kind of refusal.
    async fn tell(&self, token: &str) -> &'static str {
        match self.authenticator.caller(Some(token), None).await {
            Ok(_) => "accepted",
            Err(Refused::Rejected(_)) => "rejected",
            Err(Refused::KeysUnavailable) => "unavailable",
            Err(other) => panic!("{other}"),
        }
    }
}

fn token(key: &TestKey) -> String {
    key.token(&operator(NOW))
}

#[tokio::test]
async fn aut_2_a_flood_of_unknown_key_ids_costs_one_fetch_per_cooldown() {
    let known = TestKey::eddsa("known");
    let server = KeyServer::of(&[&known]);
    let gate = Gate::new(&server, patient()).await;
    assert_eq!(server.fetches(), 1, "at the start");
    let flood: Vec<String> =
        (0..200).map(|number| token(&TestKey::eddsa(&format!("unknown-{number}")))).collect();
    let told = async || {
        let told = join_all(flood.iter().map(|token| gate.tell(token))).await;
        assert!(told.iter().all(|told| *told == "rejected"));
    };
    told().await;
    assert_eq!(server.fetches(), 1, "the first fetch was just now");
    for fetches in [2, 3] {
        gate.clock.advance(COOLDOWN);
        told().await;
        // The cooldown has begun: these are answered without anybody being asked.
        server.set_open(false);
        told().await;
        server.set_open(true);
        assert_eq!(server.fetches(), fetches);
    }
    assert_eq!(gate.tell(&token(&known)).await, "accepted");
}

#[tokio::test]
async fn aut_2_a_slow_address_holds_up_nobody_whose_key_is_known() {
    let (known, new) = (TestKey::es256("known"), TestKey::es256("new"));
    let server = KeyServer::of(&[&known]);
    let gate = Gate::new(&server, patient()).await;
    server.answer(&[&known, &new]);
    server.set_open(false);
    gate.clock.advance(COOLDOWN);
    let new = token(&new);
    let (known_token, known_again) = (token(&known), known.token(&operator(NOW + 1)));
    let waiting = gate.tell(&new);
    let meanwhile = async {
        server.fetched(2).await;
        assert_eq!(gate.tell(&known_token).await, "accepted");
        assert_eq!(gate.tell(&known_again).await, "accepted");
        server.set_open(true);
    };
    let (told, ()) = tokio::join!(waiting, meanwhile);
    assert_eq!(told, "accepted", "it was waited for");
    assert_eq!(server.fetches(), 2);
}

#[tokio::test]
async fn aut_2_nobody_waits_for_a_fetch_beyond_its_time() {
    let known = TestKey::eddsa("known");
    let server = KeyServer::of(&[&known]);
    let brief = Duration::from_millis(50);
    let gate = Gate::new(&server, Options { fetch_timeout: brief, ..patient() }).await;
    server.set_open(false);
    gate.clock.advance(COOLDOWN);
    assert_eq!(gate.tell(&token(&TestKey::eddsa("unknown"))).await, "rejected");
    assert_eq!(gate.tell(&token(&known)).await, "accepted");
}

#[tokio::test]
async fn aut_2_while_the_address_is_down_known_keys_go_on_working() {
    let key = TestKey::eddsa("d");
    let mut server = KeyServer::down();
    server.answer(&[&key]);
    let gate = Gate::new(&server, patient()).await;
    assert_eq!(gate.tell(&token(&key)).await, "unavailable");
    server.up();
    assert_eq!(gate.tell(&token(&key)).await, "unavailable", "failure is remembered too");
    gate.clock.advance(COOLDOWN);
    assert_eq!(gate.tell(&token(&key)).await, "accepted");

    server.close().await;
    gate.clock.advance(COOLDOWN);
    assert_eq!(gate.tell(&token(&TestKey::eddsa("unknown"))).await, "rejected");
    assert_eq!(gate.tell(&key.token(&operator(NOW + 1))).await, "accepted");
}

#[tokio::test]
async fn aut_2_a_remembered_token_dies_with_its_key() {
    let (old, new) = (TestKey::rs256("old"), TestKey::es256("new"));
    let server = KeyServer::of(&[&old]);
    let gate = Gate::new(&server, patient()).await;
    let remembered = token(&old);
    assert_eq!(gate.tell(&remembered).await, "accepted");
    server.answer(&[&new]);
    gate.clock.advance(COOLDOWN);
    assert_eq!(gate.tell(&remembered).await, "accepted", "nobody has looked yet");
    assert_eq!(gate.tell(&token(&new)).await, "accepted");
    assert_eq!(gate.tell(&remembered).await, "rejected");

    // The same id for another key.
    let remembered = token(&new);
    let (renewed, third) = (TestKey::eddsa("new"), TestKey::eddsa("third"));
    assert_eq!(gate.tell(&remembered).await, "accepted");
    server.answer(&[&renewed, &third]);
    gate.clock.advance(COOLDOWN);
    assert_eq!(gate.tell(&token(&third)).await, "accepted");
    assert_eq!(gate.tell(&remembered).await, "rejected");
    assert_eq!(gate.tell(&token(&renewed)).await, "accepted");
}

#[tokio::test]
async fn aut_2_a_key_that_was_removed_dies_without_being_asked_for() {
    let (old, new) = (TestKey::eddsa("old"), TestKey::eddsa("new"));
    let server = KeyServer::of(&[&old]);
    let often = Duration::from_millis(5);
    let gate = Gate::new(&server, Options { address_interval: often, ..patient() }).await;
    let remembered = token(&old);
    assert_eq!(gate.tell(&remembered).await, "accepted");
    server.answer(&[&new]);
    // One may be underway; the one before the last is over when the last begins.
    server.fetched(server.fetches() + 3).await;
    assert_eq!(gate.tell(&remembered).await, "rejected");
}

#[tokio::test]
async fn aut_2_an_answer_that_is_no_key_set_changes_nothing() {
    let known = TestKey::eddsa("known");
    let unknown = token(&TestKey::eddsa("unknown"));
    let server = KeyServer::of(&[&known]);
    let elsewhere = KeyServer::of(&[&known]);
    let gate = Gate::new(&server, patient()).await;
    let redirect = format!("location: {}\r\n", elsewhere.url());
    let long = vec![b' '; 1024 * 1024 + 1];
    for (status, headers, body) in [
        ("500 Internal Server Error", "", &b"{\"keys\": []}"[..]),
        ("302 Found", redirect.as_str(), b""),
        ("200 OK", "", b"<html>"),
        ("200 OK", "", b"{\"keys\": 7}"),
        ("200 OK", "", b"{\"keys\": []}"),
        ("200 OK", "", b"{\"keys\": [{\"kty\": \"oct\", \"k\": \"c2VjcmV0\"}]}"),
        ("200 OK", "", &long),
    ] {
        server.answer_with(status, headers, body);
        gate.clock.advance(COOLDOWN);
        let before = server.fetches();
        assert_eq!(gate.tell(&unknown).await, "rejected");
        assert_eq!(server.fetches(), before + 1, "it was asked");
        assert_eq!(gate.tell(&known.token(&operator(NOW + 1))).await, "accepted", "{status}");
    }
    assert_eq!(elsewhere.fetches(), 0, "nobody was sent elsewhere");
}

#[tokio::test]
async fn aut_2_a_key_without_an_id_does_not_stand_for_one_that_is_yet_to_be_fetched() {
    let (nameless, named) = (TestKey::eddsa("any"), TestKey::eddsa("named"));
    let mut jwk = nameless.jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    let server = KeyServer::of(&[&nameless]);
    server.answer_with("200 OK", "", json!({ "keys": [jwk] }).to_string().as_bytes());
    let gate = Gate::new(&server, patient()).await;
    assert_eq!(gate.tell(&token(&nameless)).await, "accepted", "whatever id it names");
    server.answer(&[&named]);
    assert_eq!(gate.tell(&token(&named)).await, "rejected", "the keys were just read");
    assert_eq!(server.fetches(), 1);
    gate.clock.advance(COOLDOWN);
    assert_eq!(gate.tell(&token(&named)).await, "accepted");
    assert_eq!(server.fetches(), 2);
    assert_eq!(gate.tell(&token(&nameless)).await, "rejected", "its key is gone");
}
