//! The rows of a run.

use std::io::ErrorKind;
use std::time::Instant;

use serde_json::{Map, Value};

use super::Outcome;

/// Where the figures are kept, of this run and of those before. Cargo may build elsewhere, so that
/// the directory need not be there.
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target");
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench.json");

/// What a figure is to reach.
#[derive(Clone, Copy)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Printed to be known.
    None,
}

/// Everything measured so far; rows are printed as they come.
pub struct Report {
    began: Instant,
    /// Those of earlier runs too, as long as they are not measured anew.
    figures: Map<String, Value>,
    measured: usize,
    missed: usize,
}

impl Report {
    pub fn begin() -> Outcome<Self> {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        println!(
            "{} x {}, {} {}",
            std::thread::available_parallelism()?,
            model.map_or("an unknown processor", |(_, name)| name),
            std::env::consts::OS,
            std::env::consts::ARCH,
        );
        std::fs::create_dir_all(DIRECTORY)?;
        Ok(Self { began: Instant::now(), figures: earlier()?, measured: 0, missed: 0 })
    }

    pub fn section(&self, name: &str) {
        println!("\n{name} ({:.0} s)", self.began.elapsed().as_secs_f64());
        println!("  {:<40} {:>10} {:>10} {:>10}  goal", "figure", "quartile", "median", "quartile");
    }

    /// What the rows of a section were measured on.
    pub fn note(&self, text: &str) {
        println!("  {text}");
    }

    /// The median of samples, between their quartiles.
    pub fn samples(&mut self, name: &str, samples: Vec<f64>, goal: Goal) {
        let [low, median, high] = quartiles(samples);
        let goal = self.judge(name, median, goal);
        println!("  {name:<40} {low:>10.2} {median:>10.2} {high:>10.2}  {goal}");
    }

    /// One number.
    pub fn value(&mut self, name: &str, value: f64, goal: Goal) {
        let goal = self.judge(name, value, goal);
        println!("  {name:<40} {:>10} {value:>10.2} {:>10}  {goal}", "", "");
    }

    fn judge(&mut self, name: &str, value: f64, goal: Goal) -> String {
        self.figures.insert(name.to_owned(), value.into());
        self.measured += 1;
        let mut told = |reached: bool| {
            self.missed += usize::from(!reached);
            if reached { "reached" } else { "MISSED" }
        };
        match goal {
            Goal::AtMost(most) => format!("at most {most}: {}", told(value <= most)),
            Goal::AtLeast(least) => format!("at least {least}: {}", told(value >= least)),
            Goal::None => String::new(),
        }
    }

    /// Keeps what was measured so far, whatever becomes of the sections that follow.
    pub fn write(&self) -> Outcome<()> {
        Ok(std::fs::write(FILE, serde_json::to_string_pretty(&self.figures)?)?)
    }

    pub fn end(&self) {
        let Self { measured, missed, .. } = self;
        println!("\n{measured} figures measured, kept in target/bench.json");
        println!("goals missed: {missed}");
    }
}

/// What is in the file, so that a run of some sections leaves the others as they are.
fn earlier() -> Outcome<Map<String, Value>> {
    match std::fs::read_to_string(FILE) {
        Ok(text) => Ok(serde_json::from_str(&text)
            .map_err(|error| format!("{FILE} holds no figures ({error}); remove it"))?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Map::new()),
        Err(error) => Err(format!("cannot read {FILE}: {error}").into()),
    }
}

/// The quartiles of some numbers.
pub fn quartiles(numbers: Vec<f64>) -> [f64; 3] {
    [0.25, 0.5, 0.75].map(|share| quantile(&numbers, share))
}

/// The number below which this share of the numbers lies.
pub fn quantile(numbers: &[f64], share: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
