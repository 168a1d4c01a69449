//! The metrics of the process, by the names that Prometheus' own client libraries give them.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::sync::atomic::AtomicU64;

type Float = Gauge<f64, AtomicU64>;

/// Figures of this process. `None`: the system does not give it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Figures {
    cpu_seconds: Option<f64>,
    start_time_seconds: Option<f64>,
    resident_bytes: Option<f64>,
    virtual_bytes: Option<f64>,
    threads: Option<f64>,
    open_files: Option<f64>,
    max_files: Option<f64>,
}

/// The figures of this moment.
pub(super) fn registry() -> Registry {
    let figures = Figures::read();
    let mut registry = Registry::default();

    if let Some(seconds) = figures.cpu_seconds {
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(seconds);
        registry.register(
            "process_cpu_seconds",
            "Processor time of this process, user and system",
            cpu,
        );
    }

    for (name, help, value) in [
        (
            "process_start_time_seconds",
            "Start of this process, in seconds since the Unix epoch",
            figures.start_time_seconds,
        ),
        (
            "process_resident_memory_bytes",
            "Resident memory of this process",
            figures.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Address space of this process",
            figures.virtual_bytes,
        ),
        (
            "process_threads",
            "Threads of this process",
            figures.threads,
        ),
        (
            "process_open_fds",
            "Open file descriptors of this process",
            figures.open_files,
        ),
        (
            "process_max_fds",
            "Most file descriptors that this process may open",
            figures.max_files,
        ),
    ] {
        if let Some(value) = value {
            let gauge = Float::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        }
    }

    registry
}

impl Figures {
    fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let ticks = clock_ticks_per_second();
        let figures = Self::parse(
            &read("/proc/self/stat"),
            &read("/proc/self/status"),
            &read("/proc/stat"),
            ticks,
        );
        // One of the descriptors is that of the folder itself.
        let open = fs::read_dir("/proc/self/fd")
            .ok()
            .map(|entries| entries.count().saturating_sub(1));
        let limit = getrlimit(Resource::Nofile).current;

        Self {
            open_files: open.map(|open| as_float(open as u64)),
            max_files: limit.map(as_float),
            ..figures
        }
    }

    /// Reads `/proc/self/stat`, `/proc/self/status` and `/proc/stat` (proc(5)).
    fn parse(stat: &str, status: &str, system: &str, ticks_per_second: u64) -> Self {
        // The name of the program stands in brackets, and may hold spaces and brackets itself.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());

        // Fields are numbered from 1, and the third is the first after the name.
        let seconds = |number: usize| {
            let ticks: u64 = fields.get(number - 3)?.parse().ok()?;
            (ticks_per_second > 0).then(|| as_float(ticks) / as_float(ticks_per_second))
        };
        let word = |text: &str, name: &str| -> Option<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
                .map(as_float)
        };

        let boot = word(system, "btime ");
        Self {
            cpu_seconds: seconds(14)
                .zip(seconds(15))
                .map(|(user, system)| user + system),
            start_time_seconds: boot
                .zip(seconds(22))
                .map(|(boot, since_boot)| boot + since_boot),
            resident_bytes: word(status, "VmRSS:").map(|kib| kib * 1024.0),
            virtual_bytes: word(status, "VmSize:").map(|kib| kib * 1024.0),
            threads: word(status, "Threads:"),
            open_files: None,
            max_files: None,
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a metric is a float, and these are far below 2^52"
)]
fn as_float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 12300 1 1 1";
        let status = "Name:\ta\nVmSize:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t9\n";
        let figures = Figures::parse(stat, status, "cpu 1 2\nbtime 1000\n", 100);
        assert_eq!(figures.cpu_seconds, Some(3.0));
        assert_eq!(figures.start_time_seconds, Some(1123.0));
        assert_eq!(
            (figures.resident_bytes, figures.virtual_bytes),
            (Some(1_048_576.0), Some(2_097_152.0))
        );
        assert_eq!(figures.threads, Some(9.0));
    }

    #[test]
    fn what_the_system_does_not_give_is_not_known() {
        assert_eq!(Figures::parse("", "", "", 100), Figures::default());
        assert_eq!(
            Figures::parse("7 (a) S 1", "VmRSS: many kB", "btime", 100),
            Figures::default()
        );
    }
}
