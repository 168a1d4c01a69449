//! nginx and Caddy as they are measured, with configurations of their own in temporary folders.

use portcullis_tests::{SOON, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::park_timeout;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A program that is measured beside the dashboard.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    Nginx,
    Caddy,
}

impl Program {
    const ALL: [Self; 2] = [Self::Nginx, Self::Caddy];

    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
        }
    }

    /// The package that has it in Debian.
    fn package(self) -> &'static str {
        match self {
            Self::Nginx => "nginx-light",
            Self::Caddy => "caddy",
        }
    }

    /// Returns where it is installed. `None`: it is not.
    pub(crate) fn path(self) -> Option<PathBuf> {
        FOLDERS
            .into_iter()
            .map(|folder| Path::new(folder).join(self.name()))
            .find(|path| path.exists())
    }
}

/// A sentence for each program that is not installed, and so is not measured.
pub(crate) fn missing() -> String {
    let missing = Program::ALL
        .into_iter()
        .filter(|program| program.path().is_none());
    let sentence = |program: Program| {
        format!(
            "**{} is not installed**, so nothing is measured beside it; on Debian: `apt-get install {}`.\n\n",
            program.name(),
            program.package()
        )
    };
    missing.map(sentence).collect()
}

/// Where Debian puts servers.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
/// How long a server may take to end when it is asked to.
const ENDS: Duration = Duration::from_secs(3);

/// One address of nginx or Caddy, to be filled into the configuration of the whole server.
pub(crate) struct Site {
    port: u16,
    config: String,
}

impl Site {
    /// An address on a free port. `template` has `@PORT@` and the names in `values`.
    pub(crate) fn new(template: &str, values: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let config = fill(&fill(template, values), &[("PORT", &port.to_string())]);
        Self { port, config }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// A server that was started, ended when it is dropped.
pub(crate) struct Server {
    process: Child,
    _folder: TempDir,
}

impl Server {
    /// nginx with as many workers as there are cores, for these sites. `app` is the port of the
    /// application behind them. `None`: it is not installed.
    pub(crate) fn nginx(app: u16, sites: &[&Site]) -> Option<Self> {
        let program = Program::Nginx.path()?;
        let workers = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .to_string();
        let template = include_str!("proxies/nginx.conf.in");
        let folder = configured("nginx.conf", template, app, sites, &[("WORKERS", &workers)]);
        let path = folder.path();
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(path)
            .args(["-e", "stderr", "-c"])
            .arg(path.join("nginx.conf"));
        Some(Self::start(command, folder, sites))
    }

    /// Caddy for these sites. `None`: it is not installed.
    pub(crate) fn caddy(app: u16, sites: &[&Site]) -> Option<Self> {
        let program = Program::Caddy.path()?;
        let folder = configured(
            "Caddyfile",
            include_str!("proxies/Caddyfile.in"),
            app,
            sites,
            &[],
        );
        let path = folder.path();
        let mut command = Command::new(program);
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(path.join("Caddyfile"));
        for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(name, path);
        }
        command.stderr(Stdio::null());
        Some(Self::start(command, folder, sites))
    }

    fn start(mut command: Command, folder: TempDir, sites: &[&Site]) -> Self {
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        // Ended as well when it does not come up.
        let server = Self {
            process,
            _folder: folder,
        };
        for site in sites {
            eventually("the server listens", SOON, || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, site.port)).ok()
            });
        }
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.process.id().cast_signed()).expect("a child has an id");
        let _ = kill_process(pid, Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < ENDS {
            if let Ok(Some(_)) = self.process.try_wait() {
                return;
            }
            park_timeout(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder with the configuration of a server for these sites.
fn configured(
    name: &str,
    template: &str,
    app: u16,
    sites: &[&Site],
    values: &[(&str, &str)],
) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("a path in UTF-8");
    let servers: String = sites.iter().map(|site| site.config.as_str()).collect();
    let text = fill(template, &[("SERVERS", &servers), ("DIR", path)]);
    let text = fill(
        &fill(&text, &[("APP", &format!("127.0.0.1:{app}"))]),
        values,
    );
    fs::write(folder.path().join(name), text).expect("a file in the folder");
    folder
}

/// The template with each `@NAME@` replaced.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    values
        .iter()
        .fold(template.to_owned(), |text, (name, value)| {
            text.replace(&format!("@{name}@"), value)
        })
}
