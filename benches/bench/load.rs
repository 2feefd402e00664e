//! How long an organization takes to be loaded, and how much memory that takes beyond what stays.
//!
//! Each load is a child's first, from a PostgreSQL that has just written it. The child asks for one
//! organization and waits until the published world has it: reading, compiling, one round.
//!
//! The kernel tells the peak. It cannot tell what stays, since the allocator keeps what was freed.
//! So the child loads the organization again, into another cache: what the first load has freed
//! serves the second, and by what the process has grown then, that is what stays of one.

use std::time::{Duration, Instant};

use portcullis::cache::{Cache, Options};
use portcullis::clock::Clock;
use portcullis::storage::{self, Storage};
use tokio_util::sync::CancellationToken;

use super::Outcome;
use super::child::{self, Child};
use super::database::Database;
use super::report::{Goal, Report};
use super::stored::Stored;

const SIZES: [(&str, usize, usize); 2] = [("100k", 100_000, 3), ("1m", 1_000_000, 3)];

pub async fn measure(report: &mut Report) -> Outcome<()> {
    let database = Database::start().await?;
    for (name, grants, times) in SIZES {
        Stored::write(&database.url, name, grants).await?;
        let [mut seconds, mut peaks, mut bytes, mut counts] = [const { Vec::new() }; 4];
        for _ in 0..times {
            let loaded = Child::start("load", &[&database.url, name])?;
            let numbers: Result<Vec<f64>, _> =
                loaded.line.split_whitespace().map(str::parse).collect();
            let [took, peak, stays, counted] = numbers?[..] else {
                return Err(format!("the child says `{}`", loaded.line).into());
            };
            seconds.push(took);
            peaks.push(peak / stays);
            bytes.push(stays / grants as f64);
            counts.push(counted / stays);
        }
        report.samples(&format!("load_seconds_{name}"), seconds, Goal::None);
        if name == "1m" {
            report.samples("load_peak_over_resident_1m", peaks, Goal::AtMost(2.0));
            report.samples("load_bytes_per_grant_1m", bytes, Goal::None);
            report.samples("load_counted_over_resident_1m", counts, Goal::None);
        }
    }
    database.stop().await;
    Ok(())
}

/// Loads one organization; prints seconds, and bytes: those of the load at its peak, those that
/// stay, and those that the memory budget counts.
pub async fn load(url: &str, organization: &str) -> Outcome<()> {
    let options = storage::Options {
        url: url.to_owned(),
        write_connections: 1,
        read_connections: 1,
        pool_wait: Duration::from_secs(5),
    };
    let storage = Storage::connect(&options).await?;
    let cancel = CancellationToken::new();
    let options = Options { memory_budget: usize::MAX, ..Options::default() };
    let cache = Cache::start(storage.clone(), Clock::system(), options, cancel.clone());
    cache.ready().await;
    let (before, began) = (memory("VmRSS:")?, Instant::now());
    hold(&cache, organization).await?;
    let took = began.elapsed().as_secs_f64();
    let (after, peak, counted) = (memory("VmRSS:")?, memory("VmHWM:")?, cache.usage().published);
    let again = Cache::start(storage, Clock::system(), options, cancel.clone());
    again.ready().await;
    hold(&again, organization).await?;
    let stays = memory("VmRSS:")? - after;
    child::ready(format_args!("{took} {} {stays} {counted}", peak - before)).await?;
    cancel.cancel();
    Ok(())
}

async fn hold(cache: &Cache, organization: &str) -> Outcome<()> {
    cache.want(organization.parse()?);
    cache.until(|world| world.organization(organization).is_some()).await;
    Ok(())
}

/// What the kernel says of this process's memory, in bytes.
fn memory(what: &str) -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).ok_or("no such line")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024.0)
}
