//! The lines in which calls wait for a connection.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use portcullis::storage::{Error, Failure, Options, Storage};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::cluster::database;

/// How many may wait for the one connection.
const LINE: usize = 16;

#[tokio::test]
async fn bad_2_who_finds_too_many_waiting_for_a_connection_is_refused_at_once() {
    let database = database().await;
    let options = Options {
        url: database.url.clone(),
        write_connections: 1,
        read_connections: 1,
        pool_wait: Duration::from_secs(60),
    };
    let storage = Storage::connect(&options).await.expect("connects");
    let far = Instant::now() + Duration::from_secs(60);
    let (begins, mut begun) = mpsc::channel(1);
    let end = Notify::new();
    let mut holding = Box::pin(storage.read(far, async |_| {
        begins.send(()).await.expect("the test listens");
        end.notified().await;
        Ok::<_, Failure>(())
    }));
    tokio::select! {
        ended = &mut holding => panic!("{ended:?}"),
        held = begun.recv() => held.expect("it holds the connection"),
    }
    let read = || Box::pin(storage.read(far, async |_| Ok::<_, Failure>(())));
    let mut waiting: Vec<_> = (0..LINE).map(|_| read()).collect();
    for waits in &mut waiting {
        assert!(waits.now_or_never().is_none(), "it waits");
    }
    let refused = read().now_or_never().expect("an answer without a wait");
    assert!(matches!(refused, Err(Failure::Storage(Error::PoolExhausted))), "{refused:?}");
    end.notify_one();
    holding.await.expect("is read");
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    assert!(read().await.is_ok(), "nobody is left in the line");
}
