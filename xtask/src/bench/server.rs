//! A server process on this machine, while it is measured.

use anyhow::{Context, bail};
use rustix::param::clock_ticks_per_second;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to start. A peer is installed first.
const COMES_UP: Duration = Duration::from_secs(600);

/// A running server. Dropping it ends the process and its children.
pub(super) struct Server {
    process: Child,
    port: u16,
    /// Its folder, which is removed after it has ended.
    _home: Option<TempDir>,
}

impl Server {
    /// Starts a server that prints its port: the last number of the first line of stdout that ends
    /// with one.
    pub(super) fn start(command: &mut Command, home: Option<TempDir>) -> anyhow::Result<Self> {
        let shown = format!("{command:?}");
        let process = command
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| shown.clone())?;
        let mut server = Self {
            process,
            port: 0,
            _home: home,
        };
        let mut out = BufReader::new(server.process.stdout.take().context("stdout is piped")?);
        server.port = port_of(&mut out).with_context(|| format!("{shown} says no port"))?;
        // A server that prints more must not meet a full pipe.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));

        Ok(server)
    }

    /// Starts a server on a given port. It is up when it accepts connections.
    pub(super) fn start_on(
        command: &mut Command,
        port: u16,
        home: Option<TempDir>,
    ) -> anyhow::Result<Self> {
        let shown = format!("{command:?}");
        let process = command
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| shown.clone())?;
        let mut server = Self {
            process,
            port,
            _home: home,
        };
        let start = Instant::now();

        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.process.try_wait()? {
                bail!("{shown} ended: {status}");
            }
            if start.elapsed() > COMES_UP {
                bail!("{shown} does not come up");
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }

        Ok(server)
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// CPU time of the process and of all that it started.
    pub(super) fn cpu_time(&self) -> Duration {
        family(self.process.id())
            .into_iter()
            .filter_map(cpu_time_of)
            .sum()
    }

    /// Bytes in memory that are not shared with others (`Rss` without what is mapped from files).
    pub(super) fn memory(&self) -> u64 {
        family(self.process.id())
            .into_iter()
            .filter_map(anonymous_memory_of)
            .sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Children first: a supervisor would start them anew.
        for process in family(self.process.id()).into_iter().skip(1) {
            end(process);
        }

        end(self.process.id());
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            if let Ok(Some(_)) = self.process.try_wait() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }

        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn end(process: u32) {
    let _ = Command::new("kill")
        .arg(process.to_string())
        .stderr(Stdio::null())
        .status();
}

fn port_of(out: &mut impl BufRead) -> Option<u16> {
    out.take(64 * 1024)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            let number = line
                .trim_end()
                .rsplit(|c: char| !c.is_ascii_digit())
                .next()?;
            number.parse().ok()
        })
}

/// The process and its descendants.
fn family(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut next = 0;
    while let Some(process) = all.get(next).copied() {
        let tasks = fs::read_dir(format!("/proc/{process}/task"))
            .into_iter()
            .flatten()
            .flatten();
        let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let children: Vec<u32> = lists
            .flat_map(|list| {
                list.split_whitespace()
                    .filter_map(|id| id.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect();
        all.extend(children);
        next += 1;
    }

    all
}

fn cpu_time_of(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which may hold anything, come the state and ten more fields before utime and
    // stime.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_secs_f64(
        ticks as f64 / clock_ticks_per_second() as f64,
    ))
}

fn anonymous_memory_of(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// A file of the workspace.
pub(super) fn workspace(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

/// A port that is free now.
pub(super) fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}
