//! Portfolios that are linked to others: what it costs to compare, and how long after its answer a
//! link is seen by another process on everything that is linked further down.
//!
//! Two children are servers on one database, as in `visible`. A portfolio of ten thousand grants
//! lies below another one, and ten thousand are linked to it. It is linked and unlinked through one
//! server; the other is asked in the default mode, once a millisecond, about the last of the ten
//! thousand, until it knows.

use std::time::{Duration, Instant};

use portcullis::proto::v1::access_settings_service_client::AccessSettingsServiceClient;
use portcullis::proto::v1::policy_service_client::PolicyServiceClient;
use portcullis::proto::v1::*;
use tokio::time::sleep;
use tonic::transport::{Channel, Endpoint};

use super::Outcome;
use super::child::Child;
use super::database::Database;
use super::report::{Goal, Report, quantile};
use super::stored::Family;

/// Grants on each of both, and portfolios that are linked to the lower one.
const SIZE: usize = 10_000;
/// Comparisons, and writes.
const SAMPLES: usize = 60;
/// The poll at its default, in milliseconds.
const POLL: f64 = 50.0;

pub async fn measure(report: &mut Report) -> Outcome<()> {
    let database = Database::start().await?;
    let family = Family::write(&database.url, "family", SIZE, SIZE).await?;
    let servers =
        [Child::start("follow", &[&database.url])?, Child::start("follow", &[&database.url])?];
    let mut channels = Vec::new();
    for server in &servers {
        channels.push(Endpoint::from_shared(format!("http://{}", server.line))?.connect().await?);
    }
    let (writer, reader) = (&channels[0], &channels[1]);
    // Both have it in memory: comparisons and lists are made of memory alone.
    compare(writer, &family).await?;
    compare(reader, &family).await?;
    let mut comparisons = Vec::new();
    for _ in 0..SAMPLES {
        let began = Instant::now();
        compare(writer, &family).await?;
        comparisons.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    report.samples("compare_10k_ms", comparisons, Goal::AtMost(100.0));
    let delays = delays(writer, reader, &family).await?;
    let slow = quantile(&delays, 0.99) / POLL;
    report.value("link_10k_descendants_visible_over_poll", slow, Goal::AtMost(2.0));
    drop(servers);
    database.stop().await;
    Ok(())
}

/// The first page of a comparison, at its largest.
async fn compare(server: &Channel, family: &Family) -> Outcome<()> {
    let request = CompareAccessSettingsRequest {
        portfolio: family.child(),
        page_size: 1_000,
        page_token: String::new(),
    };
    let mut settings = AccessSettingsServiceClient::new(server.clone());
    let compared = settings.compare_access_settings(request).await?.into_inner();
    if compared.differences.len() != 1_000 {
        return Err(format!("{} differences", compared.differences.len()).into());
    }
    Ok(())
}

/// Milliseconds from the answers to writes until another server tells of them.
async fn delays(writer: &Channel, reader: &Channel, family: &Family) -> Outcome<Vec<f64>> {
    let mut settings = AccessSettingsServiceClient::new(writer.clone());
    let mut delays = Vec::new();
    for number in 0..SAMPLES {
        sleep(Duration::from_micros(rand::random_range(0..50_000))).await;
        let (portfolio, link) = (family.child(), number % 2 == 0);
        if link {
            let request = LinkAccessSettingsRequest { portfolio, ..Default::default() };
            settings.link_access_settings(request).await?;
        } else {
            let request =
                UnlinkAccessSettingsRequest { portfolio, restore: true, ..Default::default() };
            settings.unlink_access_settings(request).await?;
        }
        let answered = Instant::now();
        while may(reader, family).await? != link {
            sleep(Duration::from_millis(1)).await;
        }
        delays.push(answered.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(delays)
}

/// Whether a user who has a grant at the top alone may do something at the very bottom.
async fn may(reader: &Channel, family: &Family) -> Outcome<bool> {
    let request = CheckPermissionRequest {
        subject: Some(Subject { kind: Some(subject::Kind::User(family.user(1))) }),
        permission: "initiative.edit".to_owned(),
        portfolio: family.descendant(SIZE - 1),
        ..Default::default()
    };
    let answer = PolicyServiceClient::new(reader.clone()).check_permission(request).await?;
    Ok(answer.into_inner().allowed)
}
