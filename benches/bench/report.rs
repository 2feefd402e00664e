//! The rows of a run.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Outcome;

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
    figures: BTreeMap<String, f64>,
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
        Ok(Self { began: Instant::now(), figures: BTreeMap::new() })
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
        self.figures.insert(name.to_owned(), value);
        let told = |reached: bool| if reached { "reached" } else { "MISSED" };
        match goal {
            Goal::AtMost(most) => format!("at most {most}: {}", told(value <= most)),
            Goal::AtLeast(least) => format!("at least {least}: {}", told(value >= least)),
            Goal::None => String::new(),
        }
    }

    pub fn write(self) -> Outcome<()> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench.json");
        std::fs::write(path, serde_json::to_string_pretty(&self.figures)?)?;
        println!("\n{} figures in target/bench.json", self.figures.len());
        Ok(())
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
