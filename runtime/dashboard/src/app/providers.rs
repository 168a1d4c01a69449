//! Loading every configured provider, each on its own.

use super::loading::{Loading, StillLoading};
use crate::audit::{AuditLog, EventName, Record};
use crate::config::{ComponentRef, Config, Grants, ProviderConfig};
use crate::web::{Metrics, RefusedProvider};
use portcullis_auth::{
    BoxFuture, ProviderName, RefreshProvider, Registered, Scope, SessionProvider, SignOutProvider,
    TokenProvider,
};
use portcullis_sandbox::{
    Buckets, CachedProvider, CallMeter, Capabilities, CompilerProcess, ComponentSource, Health,
    HitMeter, Inspection, Limits, LoadError, LoadedProvider, MonitoredProvider, ProviderSpec,
    QuarantineChange, QuarantineListener, Sandbox, SandboxError, SandboxSettings, Unloadable,
    WasmProvider,
};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where compiled components are kept in the home.
pub const COMPONENT_CACHE: &str = "cache/components";
/// Where providers' buckets are kept in the home.
const BUCKETS: &str = "keyvalue";
const MIB: usize = 1024 * 1024;

/// What became of one provider.
pub struct ProviderReport {
    /// The name in the configuration.
    pub name: ProviderName,
    /// Where it, or the key that is refused, stands in the file, as `file:line:column`.
    pub place: String,
    /// What was loaded, or why nothing was.
    pub outcome: Result<Inspection, LoadError>,
    /// Whether it takes bearer tokens.
    pub takes_tokens: bool,
    /// What one call may use.
    pub limits: Limits,
    /// What the operator grants it.
    pub grants: Grants,
}

impl ProviderReport {
    /// The provider as one that was not loaded; `None` if it was.
    pub(super) fn refused(&self) -> Option<RefusedProvider> {
        let error = self.outcome.as_ref().err()?;
        let detail = format!("{error} ({})", self.place);
        Some(RefusedProvider {
            name: self.name.clone(),
            reason: error.kind(),
            detail,
        })
    }
}

/// Logs and audits what became of a provider.
pub(super) fn report(report: &ProviderReport, audit: &AuditLog) {
    match &report.outcome {
        Ok(inspection) => {
            tracing::info!(provider = %report.name, sha256 = inspection.sha256, "provider loaded");
            let record = Record::now(EventName::ProviderLoaded)
                .with("provider", report.name.as_str())
                .with("sha256", inspection.sha256.as_str())
                .with("limits", shown_limits(report.limits))
                .with("grants", shown_grants(&report.grants));
            audit.write(record);
        }
        Err(error) => {
            tracing::error!(provider = %report.name, place = report.place, %error, "provider refused");
            let record = Record::now(EventName::ProviderRefused)
                .with("provider", report.name.as_str())
                .with("reason", error.to_string());
            audit.write(record);
        }
    }
}

/// Scopes, and origins, of one provider that the audit log names. Of more, it has the number.
const MAX_AUDITED_GRANTS: usize = 16;

/// The limits in the audit log, by the names and in the units of the configuration.
fn shown_limits(limits: Limits) -> Value {
    json!({
        "memory_mib": limits.memory_bytes / MIB,
        "deadline_ms": u64::try_from(limits.deadline.as_millis()).unwrap_or(u64::MAX),
        "calls_per_second": limits.calls_per_second.get(),
        "component_mib": limits.component_bytes / MIB as u64,
        "table_elements": limits.table_elements,
        "core_instances": limits.core_instances,
    })
}

/// The grants in the audit log. The headers that the host adds to requests may be secrets: they are
/// no part of it.
fn shown_grants(grants: &Grants) -> Value {
    let scopes = grants.scopes.iter().map(Scope::as_str);
    let origins = grants.http.iter().map(|grant| grant.origin.to_string());
    json!({
        "scopes": scopes.take(MAX_AUDITED_GRANTS).collect::<Vec<_>>(),
        "more_scopes": grants.scopes.len().saturating_sub(MAX_AUDITED_GRANTS),
        "http": origins.take(MAX_AUDITED_GRANTS).collect::<Vec<_>>(),
        "more_http": grants.http.len().saturating_sub(MAX_AUDITED_GRANTS),
        "keyvalue": grants.keyvalue,
    })
}

/// Those that were loaded, and what became of each.
pub struct Providers {
    /// In the order of the configuration.
    pub registered: Vec<Registered>,
    /// In the order of the configuration.
    pub reports: Vec<ProviderReport>,
    loaded: Vec<Loaded>,
}

/// One that was loaded, kept to know it again at the next reload.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) config: ProviderConfig,
    pub(super) component: Arc<str>,
    pub(super) provider: Arc<WasmProvider>,
    health: Arc<Health>,
}

impl Loaded {
    /// Returns whether this is the provider of the same bytes under the same entry. The entry's
    /// place in the file does not count, nor does how its file says that there are no users.
    fn is_still(&self, config: &ProviderConfig, component: &str) -> bool {
        let here = ProviderConfig {
            place: self.config.place.clone(),
            key_places: self.config.key_places.clone(),
            blank_users_file: self.config.blank_users_file.clone(),
            ..config.clone()
        };
        *self.component == *component && self.config == here
    }
}

/// Receives the changes of providers' states.
#[derive(Clone)]
pub(super) struct Observers {
    pub(super) metrics: Arc<Metrics>,
    pub(super) audit: AuditLog,
}

/// Loads sets of providers. What does not belong to one set lives on from one to the next: the
/// engine, the buckets, and the health of providers that stay the same.
pub(super) struct ProviderLoader {
    cache: PathBuf,
    cache_is_read_only: bool,
    buckets: Buckets,
    observers: Option<Observers>,
    sandbox: Option<(SandboxSettings, Arc<Sandbox>)>,
    known: Vec<Loaded>,
}

/// What a command that loads providers once may touch in the home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Nothing: compiled components are read where they are, and no file is written.
    Nothing,
    /// Compiled components, and the buckets of the providers, which a running dashboard may hold.
    Everything,
}

/// Loads all providers once, for a command that only looks at them.
///
/// # Errors
/// The sandbox does not come up.
pub async fn load_providers(config: &Config, touch: Touch) -> Result<Providers, SandboxError> {
    let mut loader = ProviderLoader::new(config, None);
    if touch == Touch::Nothing {
        loader.cache_is_read_only = true;
        loader.buckets = Buckets::in_memory();
    }
    loader.load(config).await
}

/// One provider behind the interfaces whose answers may be remembered.
struct ProviderInterfaces {
    token: Arc<dyn TokenProvider>,
    session: Arc<dyn SessionProvider>,
    refresh: Arc<dyn RefreshProvider>,
    sign_out: Arc<dyn SignOutProvider>,
}

impl ProviderInterfaces {
    fn of<P>(provider: Arc<P>) -> Self
    where
        P: TokenProvider + SessionProvider + RefreshProvider + SignOutProvider + 'static,
    {
        Self {
            token: provider.clone(),
            session: provider.clone(),
            refresh: provider.clone(),
            sign_out: provider,
        }
    }
}

impl ProviderLoader {
    pub(super) fn new(config: &Config, observers: Option<Observers>) -> Self {
        Self {
            cache: config.home.join(COMPONENT_CACHE),
            cache_is_read_only: false,
            buckets: Buckets::in_folder(config.home.join(BUCKETS)),
            observers,
            sandbox: None,
            known: Vec::new(),
        }
    }

    /// Loads all providers, side by side. One that cannot be loaded disables itself alone.
    pub(super) async fn load(&mut self, config: &Config) -> Result<Providers, SandboxError> {
        let mut loading = self.begin(config)?;
        loading.finish().await;
        Ok(self.collect(config, &loading))
    }

    /// Begins to load all providers.
    pub(super) fn begin(&mut self, config: &Config) -> Result<Loading, SandboxError> {
        let sandbox = self.sandbox(config)?;
        let load = |provider: &ProviderConfig| -> BoxFuture<'static, _> {
            let (sandbox, spec) = (sandbox.clone(), self.spec_of(provider));
            Box::pin(async move { sandbox.load(spec).await })
        };
        let loads = config.dashboard.providers.iter().map(load).collect();
        // A command that loads them once prints its own answer.
        Ok(Loading::new(loads, self.observers.is_some()))
    }

    /// Those that are loaded so far. In the place of one that is not yet, there is one that answers
    /// "try again".
    pub(super) fn collect(&self, config: &Config, loading: &Loading) -> Providers {
        let mut providers = Providers {
            registered: Vec::new(),
            reports: Vec::new(),
            loaded: Vec::new(),
        };
        for (provider, outcome) in config.dashboard.providers.iter().zip(loading.outcomes()) {
            let Some(outcome) = outcome else {
                providers
                    .registered
                    .push(StillLoading::registered(provider));
                continue;
            };
            if let Ok(loaded) = outcome {
                let kept = self.keep(provider, loaded);
                providers.registered.push(self.register(&kept, loaded));
                providers.loaded.push(kept);
            }
            providers.reports.push(ProviderReport {
                name: provider.name.clone(),
                place: outcome
                    .as_ref()
                    .err()
                    .map_or(&provider.place, |error| place_of(provider, error))
                    .clone(),
                outcome: outcome
                    .as_ref()
                    .map(|loaded| loaded.inspection.clone())
                    .map_err(Clone::clone),
                takes_tokens: outcome.as_ref().is_ok_and(|loaded| loaded.takes_tokens),
                limits: provider.limits,
                grants: provider.grants.clone(),
            });
        }

        providers
    }

    /// These are the providers that serve from now on.
    pub(super) fn adopt(&mut self, providers: Providers) {
        self.known = providers.loaded;
    }

    /// Those that do not serve any more, or not as they were, fall silent.
    pub(super) fn retire_all_but(&self, providers: &Providers) {
        let goes_on = |known: &&Loaded| {
            let is_it = |loaded: &Loaded| known.is_still(&loaded.config, &loaded.component);
            providers.loaded.iter().any(is_it)
        };
        self.known
            .iter()
            .filter(|known| !goes_on(known))
            .for_each(|known| known.health.retire());
    }

    /// Those of a set that are not the same as before: the ones that a reload has to try out.
    pub(super) fn changed<'a>(&self, providers: &'a Providers) -> Vec<&'a Loaded> {
        let is_known = |loaded: &&Loaded| self.known(&loaded.config, &loaded.component).is_some();
        providers
            .loaded
            .iter()
            .filter(|loaded| !is_known(loaded))
            .collect()
    }

    fn known(&self, config: &ProviderConfig, component: &str) -> Option<&Loaded> {
        self.known
            .iter()
            .find(|known| known.is_still(config, component))
    }

    /// The engine of before, where it is large enough.
    fn sandbox(&mut self, config: &Config) -> Result<Arc<Sandbox>, SandboxError> {
        let limits = || {
            config
                .dashboard
                .providers
                .iter()
                .map(|provider| provider.limits)
        };
        let largest = |size: fn(Limits) -> usize| {
            let least = size(Limits::default());
            limits().map(size).fold(least, usize::max)
        };

        let wanted = SandboxSettings {
            providers: config.dashboard.providers.len(),
            max_memory_bytes: largest(|limits| limits.memory_bytes),
            max_table_elements: largest(|limits| limits.table_elements),
            max_core_instances: largest(|limits| limits.core_instances),
            guest_memory_bytes: config.dashboard.guest_memory_bytes,
            cache: Some(self.cache.clone()),
            cache_is_read_only: self.cache_is_read_only,
            compiler: Some(CompilerProcess::of_this_program()),
            system_roots: config.environment.system_roots.clone(),
            ..SandboxSettings::default()
        };

        match &self.sandbox {
            Some((settings, sandbox)) if settings.cover(&wanted) => Ok(sandbox.clone()),
            _ => {
                let sandbox = Sandbox::start(&wanted)?;
                self.sandbox = Some((wanted, sandbox.clone()));
                Ok(sandbox)
            }
        }
    }

    fn spec_of(&self, provider: &ProviderConfig) -> ProviderSpec {
        let source = match &provider.component {
            ComponentRef::Path(path) => ComponentSource::File(path.clone()),
            ComponentRef::Builtin(name) => {
                ComponentSource::Bundled(portcullis_bundled::component(name).unwrap_or_default())
            }
        };
        let bucket = provider
            .grants
            .keyvalue
            .then(|| self.buckets.of(&provider.name));

        ProviderSpec {
            name: provider.name.clone(),
            source,
            sha256: provider.sha256.clone(),
            settings: provider.settings.clone(),
            capabilities: Capabilities {
                http: provider.grants.http.clone(),
                bucket,
            },
            limits: provider.limits,
            link_modules: provider.link_modules,
        }
    }

    /// A provider that is still the same keeps its health, and so its quarantine.
    fn keep(&self, config: &ProviderConfig, loaded: &LoadedProvider) -> Loaded {
        let component: Arc<str> = loaded.inspection.sha256.as_str().into();
        let health = match self.known(config, &component) {
            Some(known) => known.health.clone(),
            None => Arc::new(Health::new(
                config.limits,
                self.listener(&config.name, &component),
            )),
        };

        Loaded {
            config: config.clone(),
            component,
            provider: loaded.provider.clone(),
            health,
        }
    }

    fn listener(&self, name: &ProviderName, component: &Arc<str>) -> QuarantineListener {
        let Some(observers) = self.observers.clone() else {
            return Box::new(|_| {});
        };
        let (name, component) = (name.clone(), component.clone());
        Box::new(move |change| tell_quarantine(&observers, &name, &component, change))
    }

    fn register(&self, kept: &Loaded, loaded: &LoadedProvider) -> Registered {
        let (config, inspection) = (&kept.config, &loaded.inspection);
        let meter: CallMeter = match &self.observers {
            Some(observers) => Box::new(observers.metrics.call_meter(&config.name)),
            None => Box::new(|_| {}),
        };

        let monitored = Arc::new(MonitoredProvider::new(
            loaded.provider.clone(),
            kept.health.clone(),
            meter,
        ));
        let cached = config
            .cache_ttl
            .and_then(|ttl| self.cached(kept, &monitored, ttl));
        let asked = match cached {
            Some(cached) => ProviderInterfaces::of(cached),
            None => ProviderInterfaces::of(monitored.clone()),
        };

        Registered {
            display_name: config.display_name.clone(),
            token: loaded.takes_tokens.then_some(asked.token),
            session: inspection.signs_people_in().then_some(asked.session),
            password: inspection.takes_passwords().then(|| monitored.clone() as _),
            redirect: inspection.redirects().then(|| monitored.clone() as _),
            refresh: inspection.refreshes().then_some(asked.refresh),
            sign_out: inspection.signs_out().then_some(asked.sign_out),
            component: Some(kept.component.clone()),
            is_linked: config.link_modules,
            health: Some(monitored.clone()),
            ..Registered::new(config.name.clone(), config.grants.scopes.clone())
        }
    }

    /// Without random bytes nothing is remembered: the provider is then asked every time.
    fn cached(
        &self,
        kept: &Loaded,
        monitored: &Arc<MonitoredProvider>,
        ttl: Duration,
    ) -> Option<Arc<CachedProvider<MonitoredProvider>>> {
        let hit: HitMeter = match &self.observers {
            Some(observers) => Box::new(observers.metrics.hit_meter(&kept.config.name)),
            None => Box::new(|| {}),
        };
        CachedProvider::new(monitored.clone(), kept.health.clone(), ttl, hit)
            .inspect_err(
                |error| tracing::warn!(provider = %kept.config.name, %error, "answers are not cached"),
            )
            .ok()
            .map(Arc::new)
    }
}

/// Where the key stands that an error speaks of; else, where the entry does.
fn place_of<'a>(provider: &'a ProviderConfig, error: &LoadError) -> &'a String {
    let key = match error {
        LoadError::DigestDiffers { .. } => "sha256",
        LoadError::OverLimit { .. } => "limits",
        LoadError::NotGranted { .. } => "grants",
        LoadError::Unloadable(Unloadable::NotLinked(_)) => "link_modules",
        LoadError::BadSettings(complaint) => return place_of_setting(provider, complaint),
        _ => "component",
    };
    provider.key_places.get(key).unwrap_or(&provider.place)
}

/// Where the setting stands that a complaint names first, such as `keys[0].sha256`, or what is
/// around it; else, where the settings do.
fn place_of_setting<'a>(provider: &'a ProviderConfig, complaint: &str) -> &'a String {
    let is_part = |c: char| c.is_alphanumeric() || "_-.[]".contains(c);
    let mut paths = complaint
        .split(|c: char| !is_part(c))
        .map(|path| path.trim_end_matches('.'))
        .filter(|path| !path.is_empty());
    paths
        .find_map(|path| innermost_place(provider, path))
        .or_else(|| provider.key_places.get("config"))
        .unwrap_or(&provider.place)
}

/// Where a path in the settings stands, or the longest part of it that is there.
fn innermost_place<'a>(provider: &'a ProviderConfig, path: &str) -> Option<&'a String> {
    let mut rest = path;
    loop {
        let place = provider.key_places.get(&format!("config.{rest}"));
        if place.is_some() {
            return place;
        }
        let end = rest.rfind(['.', '['])?;
        rest = &rest[..end];
    }
}

fn tell_quarantine(
    observers: &Observers,
    name: &ProviderName,
    component: &str,
    change: QuarantineChange,
) {
    let record = Record::now(EventName::ProviderQuarantined)
        .with("provider", name.as_str())
        .with("component", component);
    let record = match change {
        QuarantineChange::Opened { pause } => {
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(provider = %name, pause_ms, "provider quarantined after repeated faults");
            record.with("quarantine", "open").with("pause_ms", pause_ms)
        }
        QuarantineChange::Closed => {
            tracing::info!(provider = %name, "provider is out of quarantine");
            record.with("quarantine", "closed")
        }
    };

    observers.audit.write(record);
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_sandbox::{HttpGrant, Origin};

    #[test]
    fn audited_grants_are_bounded_and_have_no_headers() {
        let scopes = (0..20).map(|number| Scope::new(&format!("s{number:02}")).unwrap());
        let mut grant = HttpGrant::of(Origin::parse("https://idp.example.com").unwrap());
        grant.headers.push((
            http::header::AUTHORIZATION,
            http::HeaderValue::from_static("Basic canary"),
        ));
        let grants = Grants {
            scopes: scopes.collect(),
            http: vec![grant],
            keyvalue: true,
        };
        let shown = shown_grants(&grants);
        assert_eq!(shown["scopes"].as_array().map(Vec::len), Some(16));
        assert_eq!(
            (&shown["scopes"][0], &shown["more_scopes"]),
            (&json!("s00"), &json!(4))
        );
        assert_eq!(
            (&shown["http"], &shown["more_http"]),
            (&json!(["https://idp.example.com"]), &json!(0))
        );
        assert!(!shown.to_string().contains("canary"), "{shown}");
    }

    #[test]
    fn audited_limits_are_in_the_units_of_the_configuration() {
        let shown = shown_limits(Limits::default());
        assert_eq!(
            (
                &shown["memory_mib"],
                &shown["deadline_ms"],
                &shown["component_mib"]
            ),
            (&json!(64), &json!(1_000), &json!(32))
        );
    }
}
