//! What a check costs that memory cannot answer, over reading one row by its key.
//!
//! In this process: `App::check_permission` with a token of another history, which the primary
//! always answers, and by turns with it a prepared look-up of one row on a pooled connection like
//! those that the check takes.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use portcullis::app::{App, CheckPermission, Context, Requirement};
use portcullis::cache::{self, Cache};
use portcullis::clock::Clock;
use portcullis::domain::caller::{Actor, Caller, Principal};
use portcullis::domain::revision::{Epoch, Token};
use portcullis::storage::{self, Storage};
use tokio_util::sync::CancellationToken;

use super::Outcome;
use super::database::Database;
use super::report::{Goal, Report};
use super::stored::Crowd;

const ROUNDS: usize = 2_000;
/// Statements are prepared, and caches filled, before anything is counted.
const WARM_UP: usize = 200;

diesel::table! {
    users (id) {
        id -> Text,
        email -> Text,
    }
}

pub async fn measure(report: &mut Report) -> Outcome<()> {
    let database = Database::start().await?;
    let few = Crowd::write(&database.url, "few", 100).await?;
    let many = Crowd::write(&database.url, "many", 100_000).await?;
    let ends = CancellationToken::new();
    let cold = Cold::on(&database.url, &ends).await?;
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(&database.url);
    let pool = Pool::builder().max_size(1).test_on_check_out(false).build(manager).await?;
    let row = async |id: &str| {
        let began = Instant::now();
        let mut connection = pool.get().await?;
        let found: String =
            users::table.find(id).select(users::email).first(&mut *connection).await?;
        assert!(found.ends_with("example"));
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(micros(began))
    };
    // By turns: a row, and a check of somebody in no group and in 20, on few members and on many.
    let mut turns = Vec::new();
    for round in 0..WARM_UP + ROUNDS {
        let (near, far) = (1 + round % 99, 1 + (round * 7_919) % 99_999);
        let turn = [
            row(&many.user(far)).await?,
            cold.check(&few.user(0), &few.portfolio()).await?,
            cold.check(&few.user(near), &few.portfolio()).await?,
            cold.check(&many.user(far), &many.portfolio()).await?,
        ];
        if round >= WARM_UP {
            turns.push(turn);
        }
    }
    report.note(&format!("{ROUNDS} rounds, a call of each kind; 100 and 100000 members"));
    let each = |figure: fn(&[f64; 4]) -> f64| turns.iter().map(figure).collect::<Vec<f64>>();
    report.samples("pk_select_us", each(|it| it[0]), Goal::None);
    report.samples("cold_check_us", each(|it| it[1]), Goal::None);
    report.samples("cold_check_20_groups_us", each(|it| it[2]), Goal::None);
    report.samples("cold_check_100k_members_us", each(|it| it[3]), Goal::None);
    let over = each(|it| it[1] / it[0]);
    report.samples("cold_check_over_pk_select", over, Goal::AtMost(3.0));
    let over = each(|it| it[2] / it[0]);
    report.samples("cold_check_over_pk_select_20_groups", over, Goal::AtMost(10.0));
    let over = each(|it| it[3] / it[2]);
    report.samples("cold_check_100k_members_over_100", over, Goal::AtMost(1.3));
    report.value("cold_checks_per_second", cold.throughput(&many).await?, Goal::None);
    ends.cancel();
    database.stop().await;
    Ok(())
}

/// An application that is asked for what memory may not answer.
#[derive(Clone)]
struct Cold {
    app: App,
}

impl Cold {
    async fn on(url: &str, ends: &CancellationToken) -> Outcome<Self> {
        let options = storage::Options {
            url: url.to_owned(),
            write_connections: 1,
            read_connections: 8,
            pool_wait: Duration::from_secs(1),
        };
        let storage = Storage::connect(&options).await?;
        let (clock, options) = (Clock::system(), cache::Options::default());
        let cache = Cache::start(storage.clone(), clock, options, ends.clone());
        cache.ready().await;
        Ok(Self { app: App::new(storage, cache) })
    }

    /// Microseconds.
    async fn check(&self, user: &str, portfolio: &str) -> Outcome<f64> {
        let principal = Principal { caller: Caller::trusted(), actor: Actor::System };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let request = CheckPermission {
            subject: format!("user:{user}").parse()?,
            permission: "portfolio.view".to_owned(),
            portfolio: portfolio.parse()?,
            author: None,
            item: None,
            requirement: Requirement::AtLeast(Token {
                epoch: Epoch(uuid::Uuid::nil()),
                entries: Vec::new(),
            }),
            at: None,
        };
        let began = Instant::now();
        let checked = self.app.check_permission(&Context { principal, deadline }, &request).await;
        let took = micros(began);
        let checked = checked.map_err(|error| format!("{error:?}"))?;
        // A cold answer names all shards.
        if !checked.decision.allowed || checked.token.entries.len() < 17 {
            return Err(format!("{user} on {portfolio}: {checked:?}").into());
        }
        Ok(took)
    }

    /// Cold checks a second, eight at a time, PostgreSQL on the same cores.
    async fn throughput(&self, crowd: &Crowd) -> Outcome<f64> {
        const EACH: usize = 1_000;
        let began = Instant::now();
        let mut askers = tokio::task::JoinSet::new();
        for asker in 0..8 {
            let (cold, crowd) = (self.clone(), crowd.clone());
            askers.spawn(async move {
                for number in 0..EACH {
                    let user = crowd.user(1 + (asker * EACH + number) * 7_919 % 99_999);
                    cold.check(&user, &crowd.portfolio()).await?;
                }
                Outcome::Ok(())
            });
        }
        while let Some(asked) = askers.join_next().await {
            asked??;
        }
        Ok((8 * EACH) as f64 / began.elapsed().as_secs_f64())
    }
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000_000.0
}
