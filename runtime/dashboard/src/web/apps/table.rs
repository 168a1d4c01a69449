//! The applications, and which of them owns a request.

use super::super::authority::Host;
use super::connector::Connector;
use super::headers::PutOn;
use super::hermes::{self, PageToken};
use super::ownership::{self, Place};
use super::paths::{as_read, is_of_the_page};
use super::settings::{AppSettings, Preset};
use super::slots::{Holder, MAX_PER_CALLER, Slot, Slots};
use axum::body::Body;
use axum::http::{HeaderValue, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use portcullis_auth::{Access, Allow, Allowed, Session};
use portcullis_net::trust::SystemRoots;
use rustls::ClientConfig;
use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Connections to one application that are kept open: as many as the requests of one caller may use
/// at once. With fewer, its requests would close each other's connections, and each closed one
/// costs a later request a connection.
const MAX_IDLE_CONNECTIONS: usize = MAX_PER_CALLER;
/// How long they are. Servers that close earlier cost a retry.
const KEPT_OPEN: Duration = Duration::from_secs(30);
/// The head of an answer on the wire.
pub(super) const MAX_HEAD_BYTES: usize = 128 * 1024;
/// Most lines of headers of an answer: hyper's default. A limit that is set makes every answer
/// allocate.
pub(super) const MAX_HEADER_LINES: usize = 100;

/// An application with its state.
pub(in crate::web) struct App {
    pub(super) settings: AppSettings,
    name: Arc<str>,
    /// The name that a request must use. `None`: any.
    host: Option<Host>,
    pub(super) client: Client<Connector, Body>,
    /// One for each request and socket in flight.
    slots: Slots,
    /// The same at paths that are open to everyone: strangers who hold all of these keep no known
    /// caller out.
    open_slots: Slots,
    /// Scheme, host and port of the upstream.
    pub(super) origin: String,
    /// The same with the path `/`.
    pub(super) uri: Uri,
    /// The value of `Host` for the upstream.
    pub(super) authority: HeaderValue,
    /// The token of its page, for the preset that has one.
    pub(super) token: Option<PageToken>,
    /// The headers that every request gets.
    pub(super) put_on: PutOn,
    public: Allowed,
    /// Whether its gateway was last seen to be another than that of the dashboard's home.
    is_of_another_home: AtomicBool,
}

impl App {
    fn new(settings: AppSettings, tls: ClientConfig) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT_OPEN)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build(Connector::new(&settings.upstream, tls));
        let origin = settings.upstream.origin();
        let authority = origin
            .split_once("://")
            .map_or("", |(_, authority)| authority);
        let authority = HeaderValue::from_str(authority)
            .expect("an authority that was parsed is visible ASCII");
        let uri: Uri = origin.parse().expect("an origin that was parsed is a URI");
        let token = settings
            .preset
            .map(|Preset::Hermes| PageToken::new(&settings));
        let names = settings.headers.iter().map(|(name, _)| name);
        let token_name = token.is_some().then_some(hermes::TOKEN);
        let put_on = PutOn::new(names.chain(&token_name));

        Self {
            name: settings.name.as_str().into(),
            host: settings.host.as_deref().map(Host::configured),
            settings,
            client,
            slots: Slots::new(),
            open_slots: Slots::new(),
            origin,
            uri,
            authority,
            token,
            put_on,
            public: Allowed::any_of(vec![Allow::Public]),
            is_of_another_home: AtomicBool::new(false),
        }
    }

    /// Notes whether its gateway is that of the dashboard's home, and logs once when it is not.
    pub(super) fn note_home(&self, is_ours: bool) {
        let was_of_another = self.is_of_another_home.swap(!is_ours, Ordering::Relaxed);
        if !is_ours && !was_of_another {
            tracing::warn!(
                app = self.name(),
                "the application says that its gateway runs, and this home's gateway does not: both must have \
                 the same home, or drains do not reach that gateway"
            );
        }
    }

    /// Returns who may use it, at the paths that are not open to everyone.
    pub(in crate::web) fn allowed(&self) -> &Allowed {
        &self.settings.allowed
    }

    /// Returns who may use this path of it.
    pub(in crate::web) fn allowed_at(&self, path: &str) -> &Allowed {
        let is_public = self.settings.public_paths.contains(path) || self.is_public_by_preset(path);
        if is_public {
            &self.public
        } else {
            &self.settings.allowed
        }
    }

    /// Returns whether it admits the person of a session, by these roles.
    pub(super) fn admits(&self, access: &Access, session: &Session) -> bool {
        let claims = session.claims();
        let role = access.role_of(session.provider(), claims);
        role.is_some_and(|role| self.settings.allowed.admits_person(role, &claims.groups))
    }

    /// A place for a request or socket, at a path that is open to everyone or at another. `None`:
    /// as many are in flight as may be, in all or of this holder.
    pub(super) fn slot(&self, is_open: bool, holder: Option<Holder>) -> Option<Slot> {
        let slots = if is_open {
            &self.open_slots
        } else {
            &self.slots
        };
        slots.take(holder)
    }

    pub(in crate::web) fn name(&self) -> &str {
        &self.name
    }

    /// The name, without a copy of its text.
    pub(in crate::web) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    fn is_public_by_preset(&self, path: &str) -> bool {
        match self.settings.preset {
            Some(Preset::Hermes) => self
                .settings
                .inner_path(path)
                .is_some_and(hermes::is_public),
            None => false,
        }
    }
}

/// The applications of one configuration.
#[derive(Default)]
pub struct AppTable {
    /// Those with the longest path first.
    apps: Vec<Arc<App>>,
}

impl AppTable {
    /// The applications of these settings. One whose settings are those of `before` is kept with
    /// its connections. Blocks while it reads the system's authorities, if an https upstream has
    /// none of its own.
    pub fn build(settings: &[AppSettings], roots: &SystemRoots, before: &Self) -> Self {
        let mut public_tls = None;
        let build = |settings: &AppSettings| {
            if let Some(app) = before.apps.iter().find(|app| app.settings == *settings) {
                return app.clone();
            }
            let tls = match settings.upstream.ca() {
                Some(ca) => trusting(ca.store()),
                None if settings.upstream.is_https() => public_tls
                    .get_or_insert_with(|| trusting(roots.public_store()))
                    .clone(),
                None => trusting(rustls::RootCertStore::empty()),
            };
            Arc::new(App::new(settings.clone(), tls))
        };

        let mut apps: Vec<_> = settings.iter().map(build).collect();
        apps.sort_by_key(|app| Reverse(app.settings.path.len()));
        Self { apps }
    }

    fn places(&self) -> impl Iterator<Item = Place<'_>> + Clone {
        self.apps
            .iter()
            .map(|app| (app.host.as_ref(), &app.settings))
    }

    /// The application that owns a request. `None`: the dashboard does.
    pub(in crate::web) fn owner(&self, host: Option<&Host>, path: &str) -> Option<&Arc<App>> {
        if self.apps.is_empty() {
            return None;
        }
        let (index, _) = ownership::owner(&self.places(), host, path)?;
        self.apps.get(index)
    }

    /// Returns whether the upstream of an application may read a path that the application owns as
    /// another's.
    pub(in crate::web) fn is_ambiguous(
        &self,
        owner: &App,
        host: Option<&Host>,
        path: &str,
    ) -> bool {
        ownership::is_ambiguous(&self.places(), &owner.settings, host, path)
    }

    /// Returns whether this path of the dashboard is kept from this host, since an application has
    /// the whole host for itself: a script of the application has the dashboard's origin there, and
    /// would use the dashboard in its user's name.
    pub(in crate::web) fn keeps_out(&self, host: &Host, path: &str) -> bool {
        let has_all =
            |app: &Arc<App>| app.settings.path.is_empty() && app.host.as_ref() == Some(host);
        self.apps.iter().any(has_all) && is_of_the_page(&as_read(path))
    }

    /// The application of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Arc<App>> {
        self.apps.iter().find(|app| app.settings.name == name)
    }
}

fn trusting(authorities: rustls::RootCertStore) -> ClientConfig {
    ClientConfig::builder()
        .with_root_certificates(authorities)
        .with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::super::settings::{AppLimits, Upstream};
    use super::super::slots::MAX_IN_FLIGHT;
    use super::*;
    use std::collections::BTreeSet;

    fn app(name: &str, host: Option<&str>, path: &str) -> AppSettings {
        AppSettings {
            name: name.to_owned(),
            path: path.to_owned(),
            host: host.map(str::to_owned),
            upstream: Upstream::parse("http://127.0.0.1:1").unwrap(),
            allowed: Allowed::any_of(vec![Allow::People]),
            public_paths: BTreeSet::from(["/tools/hook".to_owned()]),
            headers: Vec::new(),
            limits: AppLimits::default(),
            preset: None,
        }
    }

    fn table() -> AppTable {
        let settings = [
            app("root", None, ""),
            app("tools", None, "/tools"),
            app("deep", None, "/tools/deep"),
            app("named", Some("named.example"), "/tools"),
        ];
        AppTable::build(&settings, &SystemRoots::default(), &AppTable::default())
    }

    #[tokio::test]
    async fn host_and_then_the_longest_path_decide() {
        let table = table();
        for (host, path, owner) in [
            ("a.example", "/", Some("root")),
            ("a.example", "/tools", Some("tools")),
            ("a.example", "/tools/", Some("tools")),
            ("a.example", "/toolsmith", Some("root")),
            ("a.example", "/tools/deep/x", Some("deep")),
            ("a.example", "/tools/deeper", Some("tools")),
            ("a.example", "/%74ools/x", Some("tools")),
            ("a.example", "//tools//deep", Some("deep")),
            ("named.example", "/tools/deep/x", Some("named")),
            ("named.example", "/x", Some("root")),
            ("a.example", "/api/status", Some("root")),
            ("a.example", "/login", None),
            ("a.example", "/auth/anything", None),
            ("a.example", "/%61uth/login", None),
            ("a.example", "/_portcullis/", None),
            ("a.example", "*", None),
        ] {
            let found = table
                .owner(Some(&Host::configured(host)), path)
                .map(|app| app.name());
            assert_eq!(found, owner, "{host} {path}");
        }
        assert_eq!(table.owner(None, "/x").map(|app| app.name()), Some("root"));
    }

    #[tokio::test]
    async fn host_of_an_application_has_no_page_of_the_dashboard() {
        let settings = [
            app("own", Some("own.example"), ""),
            app("part", Some("part.example"), "/tools"),
        ];
        let table = AppTable::build(&settings, &SystemRoots::default(), &AppTable::default());
        for (host, path, is_kept_out) in [
            ("own.example", "/_portcullis/api/drain", true),
            ("own.example", "/api/auth/ws-ticket", true),
            ("own.example", "/login", false),
            ("part.example", "/_portcullis/", false),
            ("a.example", "/_portcullis/", false),
        ] {
            assert_eq!(
                table.keeps_out(&Host::configured(host), path),
                is_kept_out,
                "{host} {path}"
            );
        }
    }

    #[tokio::test]
    async fn page_is_kept_from_the_host_of_an_application_in_every_spelling() {
        let settings = [app("own", Some("own.example"), "")];
        let table = AppTable::build(&settings, &SystemRoots::default(), &AppTable::default());
        for path in [
            "/%5fportcullis/api/drain",
            "//_portcullis/",
            "/_portcullis;v=1/",
            "/api/auth/ws%2Dticket",
        ] {
            let host = Host::configured("own.example");
            assert!(table.keeps_out(&host, path), "{path}");
        }
    }

    #[tokio::test]
    async fn public_paths_are_exact() {
        let table = table();
        let tools = table.named("tools").unwrap();
        assert!(tools.allowed_at("/tools/hook").is_public());
        for path in [
            "/tools/hook/",
            "/tools/hook/x",
            "/tools/%68ook",
            "//tools/hook",
            "/tools",
        ] {
            assert!(!tools.allowed_at(path).is_public(), "{path}");
        }
    }

    #[tokio::test]
    async fn public_paths_of_a_preset_stand_below_the_path_of_the_application() {
        let settings = AppSettings {
            preset: Some(Preset::Hermes),
            ..app("hermes", None, "/hermes")
        };
        let table = AppTable::build(&[settings], &SystemRoots::default(), &AppTable::default());
        let hermes = table.named("hermes").unwrap();
        for (path, is_public) in [
            ("/hermes/assets/index.js", true),
            ("/hermes/api/status", true),
            ("/hermes", false),
            ("/hermes/", false),
            ("/hermes/assets", false),
            ("/hermes/hermes/assets/index.js", false),
            ("/%68ermes/assets/index.js", false),
            ("//hermes/assets/index.js", false),
            ("/assets/index.js", false),
        ] {
            assert_eq!(hermes.allowed_at(path).is_public(), is_public, "{path}");
        }
    }

    #[tokio::test]
    async fn strangers_keep_no_known_caller_out() {
        let table = table();
        let tools = table.named("tools").unwrap();
        let held: Vec<_> = std::iter::from_fn(|| tools.slot(true, None)).collect();
        assert_eq!(held.len(), MAX_IN_FLIGHT);
        assert!(tools.slot(false, None).is_some());
    }

    #[tokio::test]
    async fn application_whose_settings_stay_is_kept() {
        let before = table();
        let settings = [app("root", None, ""), app("tools", None, "/other")];
        let after = AppTable::build(&settings, &SystemRoots::default(), &before);
        assert!(Arc::ptr_eq(
            before.named("root").unwrap(),
            after.named("root").unwrap()
        ));
        assert!(!Arc::ptr_eq(
            before.named("tools").unwrap(),
            after.named("tools").unwrap()
        ));
    }
}
