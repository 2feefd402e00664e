//! What a run is told as: a table and a drawing for people, an object for programs.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::generator::Measured;
use crate::cli::output;
use crate::cli::table::Table;

/// The quantiles of a latency, and what they are called.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
/// The first step of the drawing, in microseconds; each is twice the one before.
const FIRST_STEP: u64 = 125;
/// The longest bar of the drawing.
const BAR: u64 = 50;
/// A lag above this, in microseconds, is worth a remark.
const LARGE_LAG: u64 = 5_000;

/// Prints what was measured.
pub(super) fn print(measured: &Measured, json: bool, plan: Value) {
    if json {
        output::line(object(measured, plan));
    } else {
        lines(measured).for_each(output::line);
    }
}

fn lines(measured: &Measured) -> impl Iterator<Item = String> {
    let Measured { outcomes, lag, due, not_sent, interrupted, .. } = measured;
    let mut lines = Vec::new();
    if *interrupted {
        lines.push(format!("interrupted after {:.1} s", measured.elapsed.as_secs_f64()));
    }
    let (offered, achieved) = (measured.offered(), measured.rate("OK"));
    lines.push(format!("offered {offered:.1} calls/s, ok {achieved:.1} calls/s"));
    let sent = due - not_sent;
    lines.push(format!(
        "{due} calls were due, {sent} left, {not_sent} could not: too many in flight"
    ));
    let mut heading = vec!["code", "calls", "share"];
    heading.extend(QUANTILES.iter().map(|(name, _)| *name));
    heading.push("max (ms)");
    let mut table = Table::new(&heading);
    for (code, latencies) in outcomes {
        let mut row = vec![(*code).to_owned(), latencies.len().to_string()];
        row.push(percent(latencies.len(), *due));
        row.extend(QUANTILES.iter().map(|(_, at)| milliseconds(latencies.value_at_quantile(*at))));
        row.push(milliseconds(latencies.max()));
        table.row(row);
    }
    lines.extend(table.lines());
    if let Some(latencies) = outcomes.get("OK") {
        lines.push("latency of OK, from when the call was due:".to_owned());
        lines.extend(drawing(latencies));
    }
    let lag = lag.value_at_quantile(0.99);
    if lag > LARGE_LAG {
        lines.push(format!(
            "one call in a hundred left {} ms late or more: this machine cannot keep the schedule, \
             and the latencies are also its own",
            milliseconds(lag)
        ));
    }
    lines.into_iter()
}

/// A bar for each doubling of the latency, from the first to the last that has calls.
fn drawing(latencies: &Histogram<u64>) -> Vec<String> {
    let (mut steps, mut from, mut to) = (Vec::new(), 0, FIRST_STEP);
    while from <= latencies.max() {
        steps.push((to, latencies.count_between(from, to - 1)));
        (from, to) = (to, to * 2);
    }
    let most = steps.iter().map(|(_, calls)| *calls).max().unwrap_or(1).max(1);
    let began = |(_, calls): &&(u64, u64)| *calls == 0;
    let steps = steps.iter().skip_while(began);
    steps
        .map(|(to, calls)| {
            // Whatever there is, is seen.
            let length = (calls * BAR).div_ceil(most);
            let bar = "#".repeat(usize::try_from(length).unwrap_or_default());
            format!("  below {:>9} ms {calls:>9}  {bar}", milliseconds(*to)).trim_end().to_owned()
        })
        .collect()
}

fn object(measured: &Measured, plan: Value) -> Value {
    let Measured { outcomes, lag, due, not_sent, interrupted, .. } = measured;
    let outcomes: serde_json::Map<String, Value> = outcomes
        .iter()
        .map(|(code, latencies)| ((*code).to_owned(), histogram(latencies)))
        .collect();
    json!({
        "plan": plan,
        "interrupted": interrupted,
        "elapsed_seconds": measured.elapsed.as_secs_f64(),
        "due": due,
        "sent": due - not_sent,
        "not_sent": not_sent,
        "offered_per_second": measured.offered(),
        "ok_per_second": measured.rate("OK"),
        "outcomes": outcomes,
        "lag": histogram(lag),
    })
}

fn histogram(latencies: &Histogram<u64>) -> Value {
    json!({
        "count": latencies.len(),
        "p50_us": latencies.value_at_quantile(0.5),
        "p90_us": latencies.value_at_quantile(0.9),
        "p99_us": latencies.value_at_quantile(0.99),
        "p999_us": latencies.value_at_quantile(0.999),
        "max_us": latencies.max(),
    })
}

/// Microseconds as milliseconds.
fn milliseconds(micros: u64) -> String {
    format!("{}.{:03}", micros / 1_000, micros % 1_000)
}

fn percent(part: u64, whole: u64) -> String {
    let tenths = (part * 1_000).checked_div(whole).unwrap_or_default();
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drawing_has_a_bar_for_each_doubling_and_hides_nothing() {
        let mut latencies = Histogram::new(3).unwrap();
        latencies.record_n(200, 1_000).unwrap();
        latencies.record(900).unwrap();
        assert_eq!(
            drawing(&latencies),
            [
                format!("  below     0.250 ms      1000  {}", "#".repeat(50)),
                "  below     0.500 ms         0".to_owned(),
                "  below     1.000 ms         1  #".to_owned(),
            ]
        );
        assert!(drawing(&Histogram::new(3).unwrap()).is_empty());
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!((milliseconds(1_234), milliseconds(7)), ("1.234".into(), "0.007".into()));
        assert_eq!((percent(1, 3), percent(0, 0)), ("33.3 %".into(), "0.0 %".into()));
    }
}
