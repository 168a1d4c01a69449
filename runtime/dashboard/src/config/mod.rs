//! Settings: the configuration file and the environment, read once, with every mistake named.
//!
//! **Invariant:** nothing else reads the environment or the configuration file, and no secret that
//! was read can be printed from here.

mod access;
mod acme;
mod apps;
mod branding;
mod connections;
mod dashboard;
mod drain_secrets;
mod environment;
mod exposure;
mod finding;
mod fleet;
mod forms;
mod gateway;
mod integer;
mod load;
mod mistakes;
mod original;
mod providers;
mod proxies;
mod reference;
mod schema;
mod secret;
mod secret_value;
mod section;
mod sockets;
mod telemetry;
#[cfg(test)]
mod tests;
mod tls;

pub use environment::Environment;
pub use exposure::exposed_in_home;
pub use finding::SettingFinding;
pub use fleet::{FleetEntry, SecretSource, read_fleet};
pub use forms::{parse_bind_host, unknown_builtin};
pub use load::{Survey, load, load_for_gateway, load_text, survey};
pub use mistakes::{ConfigError, Mistake};
pub use schema::json_schema;
pub use secret::Secret;
pub use sockets::{HandedSocket, handed_sockets};

use crate::web::{AppSettings, Branding};
use crate::yaml::Position;
use ipnet::IpNet;
use portcullis_auth::{Access, ProviderName, Scope};
use portcullis_net::acme::AcmeSettings;
use portcullis_net::tls::TlsSettings;
use portcullis_observe::telemetry::OtlpSettings;
use portcullis_sandbox::{HttpGrant, Limits};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Full names of the keys whose places are kept.
const DASHBOARD_HOST: &str = "dashboard.host";
const PUBLIC_URL: &str = "dashboard.public_url";
const ALLOWED_HOSTS: &str = "dashboard.allowed_hosts";
const GATEWAY_LISTEN: &str = "gateway.listen";

/// All settings of one home.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder with the configuration and the state.
    pub home: PathBuf,
    /// The file that was read; `None`: there is none, and the defaults hold.
    pub file: Option<PathBuf>,
    /// Every file that was read for it: a change of one is a change of the settings.
    pub files: BTreeSet<PathBuf>,
    /// Whether there is no file, or no key in it has a value. An explicit `{}` is a value.
    pub is_blank: bool,
    /// Settings under `dashboard`.
    pub dashboard: DashboardConfig,
    /// Settings under `gateway`.
    pub gateway: GatewayConfig,
    /// What the environment said.
    pub environment: Environment,
    /// What the operator has to know of these settings.
    pub findings: Vec<SettingFinding>,
    /// Where the values stand that are judged together with others, by the full names of their
    /// keys.
    pub(crate) places: BTreeMap<&'static str, Position>,
}

/// Settings from the command line, which take precedence over the file at the start and at each
/// reload.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// A name or address to bind.
    pub host: Option<String>,
    /// The port to bind. 0 picks a free one.
    pub port: Option<u16>,
}

impl Config {
    /// These settings, with those of the command line in place of the file's.
    #[must_use]
    pub fn with(mut self, overrides: &Overrides) -> Self {
        if let Some(host) = &overrides.host {
            self.dashboard.host.clone_from(host);
        }
        if let Some(port) = overrides.port {
            self.dashboard.port = port;
        }
        self
    }

    /// Returns where the key stands by which people must sign in, as `file:line:column`. For a
    /// variable of the environment: its name. `None`: people need not sign in.
    pub fn gate_place(&self) -> Option<String> {
        let key = match self.dashboard.gate_reason()? {
            GateReason::Host(_) => DASHBOARD_HOST,
            GateReason::PublicUrl(_) => PUBLIC_URL,
            GateReason::AllowedHost(_) => ALLOWED_HOSTS,
        };
        match self.place_of(key) {
            None if key == PUBLIC_URL => Some(original::PUBLIC_URL.to_owned()),
            place => place,
        }
    }

    /// Returns where the value of `gateway.listen` stands, as `file:line:column`. `None`: the
    /// default holds.
    pub fn gateway_listen_place(&self) -> Option<String> {
        self.place_of(GATEWAY_LISTEN)
    }

    fn place_of(&self, key: &str) -> Option<String> {
        let place = self.places.get(key)?;
        Some(place.in_file(self.file.as_ref()?))
    }
}

/// Settings under `dashboard`.
#[derive(Clone, Debug)]
pub struct DashboardConfig {
    /// A name or address to bind.
    pub host: String,
    /// The port to bind. 0 picks a free one.
    pub port: u16,
    /// TLS of the dashboard's own. `None`: it speaks plain HTTP, and a proxy in front may end TLS.
    pub tls: Option<TlsSettings>,
    /// The certificate that is ordered for `tls`, whose files are then in the home. `None`: the
    /// operator gives the files.
    pub acme: Option<AcmeSettings>,
    /// The address whose plain HTTP is redirected to the TLS listener.
    pub redirect_http: Option<SocketAddr>,
    /// Where people reach it.
    pub public_url: Option<PublicUrl>,
    /// More names accepted in `Host` and `Origin`, in lower case.
    pub allowed_hosts: Vec<String>,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Most connections at once.
    pub connections: ConnectionSettings,
    /// The prefix of the cookies' names.
    pub cookie_name: String,
    /// Seal cookies: the first seals, all open. None: the home's own key does.
    pub session_keys: Vec<Secret>,
    /// The scope that the drain secret stands for.
    pub drain_scope: Scope,
    /// Fewest characters of the drain secret.
    pub min_secret_chars: usize,
    /// The drain secrets, unchecked: each is accepted, so that one can take over from the other.
    pub drain_secrets: DrainSecrets,
    /// How old a marker may get; zero: as old as it likes.
    pub max_marker_age: Duration,
    /// Memory of all providers' calls together, in bytes. `None`: a quarter of what the machine or
    /// the container has.
    pub guest_memory_bytes: Option<usize>,
    /// The providers, in the order in which they are asked.
    pub providers: Vec<ProviderConfig>,
    /// Token routes beside the built-in ones, each with its scope.
    pub token_routes: Vec<(String, Scope)>,
    /// Which people have which role.
    pub access: Access,
    /// The applications behind the gate.
    pub apps: Vec<AppSettings>,
    /// Where traces are sent. `None`: nowhere.
    pub telemetry: Option<OtlpSettings>,
    /// What the pages show of the operator's own.
    pub branding: Branding,
}

/// Most connections at once; `None`: the default, which depends on the descriptors that the process
/// may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// Connections of all clients together.
    pub in_all: Option<usize>,
    /// Connections of one address, or of one /64 of IPv6.
    pub per_address: Option<usize>,
}

/// The drain secrets as they were found.
#[derive(Clone, Debug)]
pub struct DrainSecrets {
    /// Where they are from, for people: a key, a variable or a file. `None`: there are none.
    pub source: Option<String>,
    /// The secrets, or why they cannot be read.
    pub read: Result<Vec<Secret>, String>,
}

/// The drain secret's file in a home, for a secret that is neither configured nor in the
/// environment.
pub const DRAIN_SECRET_FILE: &str = "drain-secret";
/// The file in a home with the key that seals cookies, where none is configured.
pub const SESSION_KEY_FILE: &str = "session_key";
/// The file in a starter home with a key for `builtin:service-keys`.
pub const SERVICE_KEY_FILE: &str = "service-key";

/// The parts of `dashboard.public_url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// Whether the scheme is `https` and not `http`.
    pub https: bool,
    /// The host in lower case, without brackets.
    pub host: String,
    /// The port, if it is not the scheme's own.
    pub port: Option<u16>,
    /// The path, without a slash at the end; empty for none.
    pub path: String,
}

/// An entry of `dashboard.providers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderConfig {
    /// Unique, and the only name that the host ever believes.
    pub name: ProviderName,
    /// Where its component is.
    pub component: ComponentRef,
    /// The digest that it must have.
    pub sha256: Option<String>,
    /// Its name for people.
    pub display_name: String,
    /// Its settings under `config`, which only this provider sees.
    pub settings: BTreeMap<String, String>,
    /// The users file, where no list stands in it, as in one that was emptied or cut off. `[]` is a
    /// list.
    pub blank_users_file: Option<PathBuf>,
    /// What the operator grants it.
    pub grants: Grants,
    /// What one call may use.
    pub limits: Limits,
    /// Whether the host links its core modules into one before it compiles them.
    pub link_modules: bool,
    /// How long a "yes" of it is believed without asking again; `None`: it is always asked.
    pub cache_ttl: Option<Duration>,
    /// Where it stands in the file, as `file:line:column`. For an entry that variables make: the
    /// name of one.
    pub place: String,
    /// Where its keys and those below them stand, by paths such as `config.keys[0].sha256`, as
    /// `file:line:column`.
    pub key_places: BTreeMap<String, String>,
}

/// Where a component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComponentRef {
    /// The component is this file.
    Path(PathBuf),
    /// The component of this name is in the binary.
    Builtin(String),
}

/// What an operator grants a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Scopes that it may ever hand out.
    pub scopes: BTreeSet<Scope>,
    /// Origins that it may call.
    pub http: Vec<HttpGrant>,
    /// Whether it has a bucket.
    pub keyvalue: bool,
}

/// Settings under `gateway`.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where turns are asked for.
    pub listen: SocketAddr,
    /// What a turn runs; empty: none.
    pub command: Vec<OsString>,
    /// Most turns in flight.
    pub max_turns: usize,
    /// How long turns in flight may run on after the gateway received SIGTERM.
    pub shutdown_grace: Duration,
    /// How long a turn may take. `None`: as long as it needs.
    pub turn_timeout: Option<Duration>,
    /// What callers of the HTTP listener present. `None`: nothing is asked, or the dashboard reads.
    pub api_key: Option<Secret>,
}

/// What the gateway needs of a home's settings. The secrets of the dashboard and its providers are
/// not read for it, so the gateway starts without them.
#[derive(Clone, Debug)]
pub struct GatewayView {
    /// The folder with the configuration and the state.
    pub home: PathBuf,
    /// The gateway's own settings.
    pub gateway: GatewayConfig,
    /// How old a marker may get; zero: as old as it likes.
    pub max_marker_age: Duration,
    /// The environment variables that may hold a secret: those that the file names, and those of
    /// the dashboard.
    pub secret_variables: BTreeSet<OsString>,
    /// What the operator has to know of these settings.
    pub findings: Vec<SettingFinding>,
}

/// Why people must sign in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateReason {
    /// The bind host is none of the three loopback names.
    #[error("{0} is not a loopback address")]
    Host(String),
    /// People reach the dashboard by another name.
    #[error("dashboard.public_url names {0}, which is not a loopback address")]
    PublicUrl(String),
    /// The dashboard answers to another name.
    #[error("dashboard.allowed_hosts names {0}, which is not a loopback address")]
    AllowedHost(String),
}

impl DashboardConfig {
    /// Returns why people must sign in: for every bind but the three loopback names, and for
    /// another name in `public_url` or `allowed_hosts`. `None`: they need not.
    pub fn gate_reason(&self) -> Option<GateReason> {
        let is_public = |host: &&String| !is_loopback_name(host);
        let host = || {
            Some(&self.host)
                .filter(is_public)
                .cloned()
                .map(GateReason::Host)
        };
        let url = || {
            self.public_url
                .as_ref()
                .map(|url| &url.host)
                .filter(is_public)
                .cloned()
        };

        let allowed = || {
            self.allowed_hosts
                .iter()
                .find(is_public)
                .cloned()
                .map(GateReason::AllowedHost)
        };

        host()
            .or_else(|| url().map(GateReason::PublicUrl))
            .or_else(allowed)
    }

    /// Returns whether people reach the dashboard over plain http from other machines. Passwords
    /// and cookies then cross a network in the clear. Where a proxy is trusted, it is taken to end
    /// TLS.
    pub fn is_reached_in_clear(&self) -> bool {
        let is_plain = match &self.public_url {
            Some(url) => !url.https && !is_loopback_name(&url.host),
            None => !is_loopback_name(&self.host) && self.trusted_proxies.is_empty(),
        };
        is_plain && self.tls.is_none()
    }

    /// Returns whether the dashboard answers to every name in `Host`: it listens on every address,
    /// and its own name is not configured.
    pub fn answers_to_every_name(&self) -> bool {
        let is_any = self
            .host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_unspecified());
        is_any && self.public_url.is_none()
    }

    /// Returns whether people must sign in.
    pub fn is_gated(&self) -> bool {
        self.gate_reason().is_some()
    }
}

/// Returns whether the host is a loopback name in exactly one spelling: `LOCALHOST`, 127.0.0.2 and
/// 0.0.0.0 are public.
pub fn is_loopback_name(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "::1")
}
