//! Every figure that we claim, measured in one run: `make bench`, or `cargo bench -- decide cold`
//! for some sections of it.
//!
//! A section is a file with a function `measure`; the rows that it reports are printed as they
//! come, and written to `target/bench.json` after each section, name to number; what other runs
//! have measured stays in there. What needs a process of its own (a server, a measured memory) is
//! this same program, started again as a child.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unused_self,
    clippy::wildcard_imports,
    reason = "it measures real time, rounds, prints, and may fail like a test"
)]

mod batch;
mod child;
mod cold;
mod database;
mod decide;
mod empty;
mod front_door;
mod links;
mod load;
mod overload;
mod report;
mod servers;
mod stored;
mod visible;
mod wire;
mod world;
mod writes;

use std::error::Error;

use report::Report;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const SECTIONS: &[&str] =
    &["wire", "batch", "decide", "cold", "load", "visible", "links", "overload", "writes"];

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    runtime.block_on(async {
        match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [child::FLAG, role, rest @ ..] => child::run(role, rest).await,
            // What cargo itself passes begins with dashes.
            wanted => measure(wanted.iter().copied().filter(|it| !it.starts_with('-'))).await,
        }
    })
}

async fn measure<'a>(wanted: impl Iterator<Item = &'a str>) -> Outcome<()> {
    let wanted: Vec<&str> = wanted.collect();
    if let Some(unknown) = wanted.iter().find(|name| !SECTIONS.contains(name)) {
        return Err(format!("no section `{unknown}`; there are {}", SECTIONS.join(", ")).into());
    }
    let mut report = Report::begin()?;
    let mut ended = Ok(());
    for name in SECTIONS.iter().filter(|name| wanted.is_empty() || wanted.contains(name)) {
        report.section(name);
        ended = section(name, &mut report).await;
        // Of a section that fails, too, what it has told was measured.
        report.write()?;
        if ended.is_err() {
            break;
        }
    }
    report.end();
    ended
}

async fn section(name: &str, report: &mut Report) -> Outcome<()> {
    match name {
        "wire" => wire::measure(report).await,
        "batch" => batch::measure(report).await,
        "decide" => decide::measure(report),
        "cold" => cold::measure(report).await,
        "load" => load::measure(report).await,
        "visible" => visible::measure(report).await,
        "links" => links::measure(report).await,
        "overload" => overload::measure(report).await,
        "writes" => writes::measure(report).await,
        _ => Err(format!("section `{name}` is not served").into()),
    }
}
