//! The write primitive under races and failures: each test proves one sentence about it.

use diesel::sql_types::{BigInt, Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use portcullis::app::{Error, RemoveMember};
use portcullis::domain::Subject;
use portcullis::domain::membership::AddOutcome;
use portcullis::domain::refusal::Reason;

use crate::house::{House, acting, adding, at_home, id, roadmap, system};

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[derive(diesel::QueryableByName)]
struct Holds {
    #[diesel(sql_type = Bool)]
    holds: bool,
}

async fn count(connection: &mut AsyncPgConnection, what: &str) -> i64 {
    let query = diesel::sql_query(format!("SELECT count(*) AS n FROM {what}"));
    query.get_result::<Count>(connection).await.expect("counted").n
}

/// Asks again and again until it is so; each question is a round trip, and the whole is bounded.
async fn until(connection: &mut AsyncPgConnection, condition: &str) {
    for _ in 0..20_000 {
        let query = diesel::sql_query(format!("SELECT {condition} AS holds"));
        if query.get_result::<Holds>(connection).await.expect("asked").holds {
            return;
        }
    }
    panic!("never so: {condition}");
}

/// Somebody waits for a lock in this database.
const SOMEBODY_WAITS: &str = "EXISTS (SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock')";

/// Makes every commit that logs a change wait for the row lock of a gate table.
const GATE: &str = "
    CREATE TABLE gate (open boolean);
    INSERT INTO gate VALUES (true);
    CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM 1 FROM gate FOR SHARE; RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON change_log
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pass_gate();";

fn removal(user: &str) -> RemoveMember {
    RemoveMember { portfolio: roadmap(), subject: Subject::User(id(user)), etag: None }
}

fn reason(error: &Error) -> Option<Reason> {
    match error {
        Error::Refused(refusal) => Some(refusal.reason),
        Error::Storage(_) | Error::Overloaded => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mem_6_of_two_managers_removing_each_other_one_succeeds() {
    let house = House::open().await;
    house.furnish(&["owner", "ann", "bob"]).await;
    house.managers(&["ann", "bob"]).await;
    // The owner no longer counts: ann and bob are the last.
    house.app.deactivate_user(&system(), &id("owner")).await.expect("deactivated");
    let mut gate = house.connection().await;
    house.sql(GATE).await;
    gate.batch_execute("BEGIN; SELECT * FROM gate FOR UPDATE").await.unwrap();
    // Both have passed the check before their transactions, and wait: one to commit, the other
    // for the scope that the first holds.
    let (ann, bob) = (acting("ann"), acting("bob"));
    let (removes_bob, removes_ann) = (removal("bob"), removal("ann"));
    let (twin, _stop) = house.twin().await;
    let first = house.app.remove_member(&ann, &removes_bob);
    let second = twin.remove_member(&bob, &removes_ann);
    let open = async {
        let waiting = "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event_type = 'Lock') = 2";
        until(&mut house.connection().await, waiting).await;
        gate.batch_execute("COMMIT").await.unwrap();
    };
    let (first, second, ()) = tokio::join!(first, second, open);
    let refused = match (&first, &second) {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => reason(error),
        both => panic!("one of them must succeed: {both:?}"),
    };
    // The loser is no manager any more, and knows nothing of a private portfolio.
    assert_eq!(refused, Some(Reason::PortfolioNotFound));
    let last = if first.is_ok() { "ann" } else { "bob" };
    let error = house.app.remove_member(&system(), &removal(last)).await.unwrap_err();
    assert_eq!(reason(&error), Some(Reason::LastManager));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_3_a_retry_waits_for_its_zombie_twin_and_answers_the_same() {
    let house = House::open().await;
    house.furnish(&["owner", "ann"]).await;
    house.sql(GATE).await;
    let mut gate = house.connection().await;
    gate.batch_execute("BEGIN; SELECT * FROM gate FOR UPDATE").await.unwrap();
    let (twin, _stop) = house.twin().await;
    let (context, request) = (acting("owner"), adding(&["ann"], "viewer"));
    let first = house.app.add_members(&context, &request);
    let retry = async {
        // The first attempt is at its commit; the retry comes from another process.
        until(&mut house.connection().await, SOMEBODY_WAITS).await;
        tokio::join!(twin.add_members(&context, &request), async {
            let both = "(SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock') = 2";
            until(&mut house.connection().await, both).await;
            gate.batch_execute("COMMIT").await.unwrap();
        })
        .0
    };
    let (first, retry) = tokio::join!(first, retry);
    let (first, retry) = (first.expect("added"), retry.expect("answered"));
    assert_eq!(first.value, vec![AddOutcome::Added(Subject::User(id("ann")))]);
    assert_eq!((retry.value, retry.token), (first.value, first.token));
    let mut connection = house.connection().await;
    assert_eq!(count(&mut connection, "grants WHERE subject_id = 'ann'").await, 1);
    assert_eq!(count(&mut connection, "change_log WHERE what = 'member.added'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_3_a_connection_lost_at_commit_does_the_work_once() {
    let house = House::open().await;
    house.furnish(&["owner", "ann"]).await;
    house.sql(GATE).await;
    let mut gate = house.connection().await;
    gate.batch_execute("BEGIN; SELECT * FROM gate FOR UPDATE").await.unwrap();
    let (context, request) = (acting("owner"), adding(&["ann"], "viewer"));
    let cut = async {
        let mut connection = house.connection().await;
        until(&mut connection, SOMEBODY_WAITS).await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        connection.batch_execute(kill).await.unwrap();
        gate.batch_execute("COMMIT").await.unwrap();
    };
    let (added, ()) = tokio::join!(house.app.add_members(&context, &request), cut);
    let added = added.expect("the write tries again by itself");
    assert_eq!(added.value, vec![AddOutcome::Added(Subject::User(id("ann")))]);
    let mut connection = house.connection().await;
    assert_eq!(count(&mut connection, "grants WHERE subject_id = 'ann'").await, 1);
}

#[tokio::test]
async fn bad_3_a_request_id_with_another_body_is_refused() {
    let house = House::open().await;
    house.furnish(&["owner", "ann", "bob"]).await;
    let context = acting("owner");
    house.app.add_members(&context, &adding(&["ann"], "viewer")).await.expect("added");
    let mut other = context.clone();
    other.fingerprint = [7; 32];
    let error = house.app.add_members(&other, &adding(&["bob"], "viewer")).await.unwrap_err();
    assert_eq!(reason(&error), Some(Reason::RequestIdReused));
    let mut connection = house.connection().await;
    assert_eq!(count(&mut connection, "grants WHERE subject_id = 'bob'").await, 0);
}

#[tokio::test]
async fn bad_3_a_retry_after_losing_sight_of_the_portfolio_gets_the_first_outcome() {
    let house = House::open().await;
    house.furnish(&["owner", "ann"]).await;
    house.managers(&["ann"]).await;
    let context = acting("ann");
    let first = house.app.remove_member(&context, &removal("ann")).await.expect("removed");
    let retry = house.app.remove_member(&context, &removal("ann")).await.expect("answered");
    assert_eq!((retry.value, retry.token), (first.value, first.token));
    let fresh = house.app.remove_member(&acting("ann"), &removal("ann")).await.unwrap_err();
    assert_eq!(reason(&fresh), Some(Reason::PortfolioNotFound));
}

#[tokio::test]
async fn rev_1_refused_and_empty_writes_move_no_feed_head() {
    let house = House::open().await;
    house.furnish(&["owner", "ann"]).await;
    let mut connection = house.connection().await;
    let before = count(&mut connection, "change_log").await;
    let sum = "(SELECT sum(sequence)::bigint AS n FROM feed_heads) AS heads, generate_series(1, n)";
    let heads = count(&mut connection, sum).await;
    assert_eq!(heads, before, "every sequence is a logged change");
    let owner = adding(&["owner"], "viewer");
    let again = house.app.add_members(&system(), &owner).await.expect("answered");
    assert_eq!(again.value, vec![AddOutcome::AlreadyMember(Subject::User(id("owner")))]);
    house.app.remove_member(&system(), &removal("owner")).await.unwrap_err();
    let same = house.app.upsert_users(&system(), &[Ok(at_home("ann"))]).await;
    same.expect("unchanged");
    assert_eq!(count(&mut connection, sum).await, heads);
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_1_writes_that_touch_many_scopes_never_deadlock() {
    let house = House::open().await;
    house.furnish(&["owner"]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for round in 0..40 {
        let app = house.app.clone();
        tasks.spawn(async move {
            // The same two e-mails, now in one order and now in the other.
            let mut users = [at_home("ann"), at_home("bob")];
            for user in &mut users {
                user.display_name = format!("round {round}");
            }
            if round % 2 == 0 {
                users.reverse();
            }
            app.upsert_users(&system(), &users.map(Ok)).await.expect("written");
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no deadlock");
    }
}
