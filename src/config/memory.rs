//! How much memory decisions may take, and how they are watched.

use std::fs;

use clap::Args;

use super::parse_bytes_up_to;

/// What the server keeps in memory. The comments are the help texts.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that organizations in memory may take; half of the memory unless given
    #[arg(long, env = "PORTCULLIS_MEMORY_BUDGET", value_name = "BYTES")]
    #[arg(value_parser = |text: &str| parse_bytes_up_to(text, LARGEST_BUDGET))]
    pub memory_budget: Option<usize>,

    /// One in how many answers from memory is checked against the database; 0: none
    #[arg(long, env = "PORTCULLIS_SHADOW_CHECK_RATE", value_name = "NUMBER")]
    #[arg(default_value = "10000")]
    pub shadow_check_rate: u32,
}

impl Default for Memory {
    fn default() -> Self {
        Self { memory_budget: None, shadow_check_rate: 10_000 }
    }
}

const LARGEST_BUDGET: usize = 1 << 44;
/// Where the memory of this machine cannot be found out.
const FALLBACK: usize = 1 << 30;

impl Memory {
    /// Bytes that organizations in memory may take: as set, else half of what this process may
    /// have at most, by its control group or by the machine.
    #[must_use]
    pub fn budget(&self) -> usize {
        self.memory_budget.unwrap_or_else(|| available().map_or(FALLBACK, |bytes| bytes / 2))
    }
}

/// The memory of the control group (version 2 or 1) or of the machine, whichever is less.
fn available() -> Option<usize> {
    let of_group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<usize>().ok());
    let of_machine = fs::read_to_string("/proc/meminfo").ok();
    let of_machine = of_machine.as_deref().and_then(total_of_meminfo);
    of_group.chain(of_machine).min()
}

fn total_of_meminfo(text: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_what_is_set_or_half_of_the_memory() {
        let text = "MemTotal:       24593184 kB\nMemFree:        11919324 kB\n";
        assert_eq!(total_of_meminfo(text), Some(24_593_184 * 1024));
        assert_eq!(total_of_meminfo("MemFree: 1 kB"), None);
        let set = Memory { memory_budget: Some(5), ..Memory::default() };
        assert_eq!(set.budget(), 5);
        assert!(Memory::default().budget() > 1 << 20);
    }
}
