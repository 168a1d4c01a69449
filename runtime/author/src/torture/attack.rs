//! One attack after the other, in one sandbox with one bystander.

use super::bystander::{CallTimes, Watch};
use super::catalogue::{Attack, Catch};
use super::loopback_host::LoopbackHost;
use super::process::{Footprint, host_name};
use futures_util::future::join_all;
use portcullis_auth::{
    BearerToken, CallFault, Caller, Decision, Denial, Gate, Judgement, People, PeopleGate, Permit,
    ProviderFault, ProviderName, Registered, Registry, RequestFacts, Required, Scope, SecretDigest,
    SessionVerdict, TokenProvider, TokenRoutes, TokenVerdict, Usage,
};
use portcullis_sandbox::{
    Buckets, Capabilities, CompilerProcess, ComponentSource, HttpGrant, Limits, LoadError, Origin,
    ProviderSpec, Sandbox, SandboxError, SandboxSettings, Unloadable, WasmProvider,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long after its deadline a call may end.
const MAX_LATE: Duration = Duration::from_millis(50);
/// The most that a bystander's slowest calls may take while another provider uses all its time.
const MAX_BYSTANDER_MS: f64 = 25.0;
/// Calls of one attack at a time.
const AT_ONCE: usize = 4;
const QUIET_TIME: Duration = Duration::from_millis(500);

const HOSTILE: &str = "hostile";
const GRANTED_SCOPE: &str = "metrics.read";
const DRAIN_SCOPE: &str = "drain";
const ANY: &str = "/any";
const DRAIN: &str = "/drain";
const TOKEN: &str = "a-token-that-nobody-issued";
const BYSTANDERS_TOKEN: &str = "the bystander's own key";

/// Whether the wall held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttackVerdict {
    /// The attack got nothing through.
    Held,
    /// The attack got nothing through, but was stopped later than the deadline allows, or by
    /// another limit.
    Strained,
    /// The attack got something through.
    Broken,
}

/// What became of one attack.
#[derive(Clone, Debug, Serialize)]
pub struct AttackRow {
    /// The name of the guest.
    pub attack: &'static str,
    /// What it tries, in a sentence.
    pub tries: &'static str,
    /// Whether the wall held.
    pub verdict: AttackVerdict,
    /// What stopped it, if anything did.
    pub caught_by: Option<Catch>,
    /// In words, with the limit.
    pub reason: String,
    /// How long the slowest of its calls (or its loading) took, in milliseconds.
    pub after_ms: f64,
    /// The most memory that one of its calls had, in bytes.
    pub memory_bytes: usize,
    /// Calls that were made.
    pub calls: usize,
    /// What the bystander felt meanwhile.
    pub bystander: CallTimes,
    /// Whether the bystander was slowed down too much.
    pub slowed: bool,
}

/// The report on all attacks.
#[derive(Clone, Debug, Serialize)]
pub struct TortureReport {
    /// What each call was allowed: memory in bytes, deadline in milliseconds.
    pub memory_bytes: usize,
    /// The deadline in milliseconds.
    pub deadline_ms: u64,
    /// The bystander before anything else ran.
    pub quiet: CallTimes,
    /// Before the attacks, and after each round of them.
    pub footprint: Vec<Footprint>,
    /// One row per guest and round.
    pub rows: Vec<AttackRow>,
}

/// Where attacks are run.
pub struct AttackRunner {
    sandbox: Arc<Sandbox>,
    limits: Limits,
    bystander: Arc<dyn TokenProvider>,
    granted: LoopbackHost,
    canary: LoopbackHost,
    buckets: TempDir,
    /// Compiled guests, and those that the compiler refused. None is compiled twice, as in a
    /// server.
    loaded: Mutex<BTreeMap<&'static str, Result<Arc<WasmProvider>, Unloadable>>>,
}

/// The attack runner could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum AttackRunnerError {
    /// The sandbox cannot be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The bystander did not load.
    #[error("the bystander does not load: {0}")]
    Bystander(#[from] LoadError),
    /// No sockets on loopback, or no temporary folder.
    #[error("cannot listen on 127.0.0.1, or make a temporary folder: {0}")]
    Peers(#[from] io::Error),
}

impl AttackRunner {
    /// A sandbox with these limits, a bystander in it, and two hosts on loopback. Without a
    /// `compiler` components are compiled in this process.
    ///
    /// # Errors
    /// One of them does not come up.
    pub async fn open(
        limits: Limits,
        guest_memory_bytes: Option<usize>,
        compiler: Option<CompilerProcess>,
    ) -> Result<Self, AttackRunnerError> {
        let settings = SandboxSettings {
            max_memory_bytes: limits.memory_bytes,
            max_table_elements: limits.table_elements,
            max_core_instances: limits.core_instances,
            providers: 2,
            guest_memory_bytes,
            compiler,
            ..SandboxSettings::default()
        };

        let sandbox = Sandbox::start(&settings)?;
        let bystander = sandbox.load(bystander_spec()).await?.provider;
        let canary = LoopbackHost::start("").await?;
        let granted = LoopbackHost::start(&canary.origin()).await?;

        Ok(Self {
            sandbox,
            limits,
            bystander,
            granted,
            canary,
            buckets: tempfile::tempdir()?,
            loaded: Mutex::default(),
        })
    }

    /// Measures the bystander's calls while nothing else runs.
    pub async fn quiet(&self) -> CallTimes {
        let watch = Watch::start(self.bystander.clone(), BYSTANDERS_TOKEN);
        tokio::time::sleep(QUIET_TIME).await;
        watch.end().await
    }

    /// Runs one attack with at least `calls` calls.
    pub async fn run(&self, attack: &Attack, calls: usize) -> AttackRow {
        let watch = Watch::start(self.bystander.clone(), BYSTANDERS_TOKEN);
        let reached = self.canary.reached();
        let start = Instant::now();

        let mut worst = match self.load(attack).await {
            Ok(provider) => self.assail(&provider, calls).await,
            Err(refused) => Seen::refused(&refused, start.elapsed(), self.limits.deadline),
        };
        if self.canary.reached() > reached {
            worst.through = Some("a host was reached that it was not granted".to_owned());
        }

        let bystander = watch.end().await;
        let slowed = bystander.p99_ms > MAX_BYSTANDER_MS || bystander.failed > 0;
        worst.into_row(attack, bystander, slowed)
    }

    async fn load(&self, attack: &Attack) -> Result<Arc<WasmProvider>, LoadError> {
        let known = self.loaded().get(attack.name).cloned();
        if let Some(known) = known {
            return known.map_err(LoadError::Unloadable);
        }

        let loaded = self
            .sandbox
            .load(self.spec_of(attack))
            .await
            .map(|loaded| loaded.provider);
        match &loaded {
            Ok(provider) => drop(self.loaded().insert(attack.name, Ok(provider.clone()))),
            Err(LoadError::Unloadable(why)) => {
                drop(self.loaded().insert(attack.name, Err(why.clone())));
            }
            // It was instantiated, which is an attack of its own in every round.
            Err(_) => {}
        }

        loaded
    }

    fn loaded(
        &self,
    ) -> MutexGuard<'_, BTreeMap<&'static str, Result<Arc<WasmProvider>, Unloadable>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn assail(&self, provider: &Arc<WasmProvider>, calls: usize) -> Seen {
        let gate = gate_over(provider.clone());
        let mut worst = self.session_call(provider).await.unwrap_or_default();
        // One first: the second identical call must not know of it.
        worst.add(self.token_call(&gate, ANY).await);
        worst.add(self.direct_call(provider).await);
        while worst.calls < calls.max(2) {
            let paths = [ANY, DRAIN].into_iter().cycle().take(AT_ONCE);
            for seen in join_all(paths.map(|path| self.token_call(&gate, path))).await {
                worst.add(seen);
            }
        }
        worst
    }

    async fn token_call(&self, gate: &Gate, path: &str) -> Seen {
        let start = Instant::now();
        let authorization = format!("Bearer {TOKEN}");
        let deadline = start + self.limits.deadline * 2;
        let facts =
            RequestFacts::of_a_machine(path, vec![authorization.as_bytes()], start, deadline);
        let judgement = gate.decide(&facts).await;
        Seen::judged(&judgement, start.elapsed(), self.limits.deadline)
    }

    /// Past the gate, to hear what the host refused.
    async fn direct_call(&self, provider: &WasmProvider) -> Seen {
        let start = Instant::now();
        let token = BearerToken::by_hand(TOKEN.to_owned());
        let observed = provider.observe(&token, start + self.limits.deadline).await;

        let seen = match &observed.verdict {
            Err(fault) => Seen::faulted(fault, start.elapsed(), self.limits.deadline),
            Ok(TokenVerdict::Unusable(why)) => {
                Seen::unusable(why, start.elapsed(), self.limits.deadline)
            }
            // What it says to the gate counts, not what it says here.
            Ok(TokenVerdict::NotRecognized | TokenVerdict::Recognized(_)) => {
                Seen::new(start.elapsed(), self.limits.deadline)
            }
        };

        let refused = observed.refusals.into_iter().next();
        Seen {
            memory_bytes: observed.used.memory_bytes,
            refused,
            ..seen
        }
    }

    /// Only what is wrong with a session says anything: most guests know none.
    async fn session_call(&self, provider: &WasmProvider) -> Option<Seen> {
        let start = Instant::now();
        match provider
            .observe_session(TOKEN, start + self.limits.deadline)
            .await
        {
            Err(fault) => Some(Seen::faulted(&fault, start.elapsed(), self.limits.deadline)),
            Ok(SessionVerdict::Unusable(why)) => {
                Some(Seen::unusable(&why, start.elapsed(), self.limits.deadline))
            }
            Ok(SessionVerdict::NotRecognized | SessionVerdict::Recognized(_)) => None,
        }
    }

    fn spec_of(&self, attack: &Attack) -> ProviderSpec {
        // A name that leads to this machine, mostly by loopback, and that is not `localhost`.
        let rebound = self.canary.origin_as(&host_name());
        let settings = [
            ("granted", self.granted.origin()),
            ("canary", self.canary.origin()),
            ("rebound", rebound.clone()),
        ];

        let grant = |origin: &str| Origin::parse(origin).map(HttpGrant::of);
        let http = [self.granted.origin(), rebound]
            .iter()
            .filter_map(|origin| grant(origin))
            .collect();
        let name = hostile_name();
        // Empty for each attack.
        let buckets = Buckets::in_folder(self.buckets.path().join(attack.name));

        ProviderSpec {
            capabilities: Capabilities {
                http,
                bucket: Some(buckets.of(&name)),
            },
            name,
            source: ComponentSource::Bundled(attack.component),
            sha256: None,
            settings: settings.map(|(key, value)| (key.to_owned(), value)).into(),
            limits: self.limits,
            link_modules: false,
        }
    }
}

fn hostile_name() -> ProviderName {
    ProviderName::new(HOSTILE).expect("a constant that is a name")
}

fn scope(name: &str) -> Scope {
    Scope::new(name).expect("a constant that is a scope")
}

fn bystander_spec() -> ProviderSpec {
    let digest = hex::encode(Sha256::digest(BYSTANDERS_TOKEN));
    let keys = format!(r#"[{{"sha256":"{digest}","principal":"bystander","scopes":[]}}]"#);

    ProviderSpec {
        name: ProviderName::new("bystander").expect("a constant that is a name"),
        source: ComponentSource::Bundled(
            portcullis_bundled::component("service-keys").unwrap_or_default(),
        ),
        sha256: None,
        settings: BTreeMap::from([("keys".to_owned(), keys)]),
        capabilities: Capabilities::default(),
        limits: Limits::default(),
        link_modules: false,
    }
}

/// The gate of a dashboard whose one provider is the hostile one, with one granted scope.
fn gate_over(provider: Arc<WasmProvider>) -> Gate {
    let routes = TokenRoutes::default()
        .with(ANY, Required::NoScope)
        .with(DRAIN, Required::Scope(scope(DRAIN_SCOPE)));
    let registered = Registered {
        token: Some(provider),
        ..Registered::new(hostile_name(), [scope(GRANTED_SCOPE)].into())
    };
    let registry = Registry::new(vec![registered]).expect("one provider has one name");

    Gate::new(
        routes,
        registry,
        Arc::new(People::new(PeopleGate::ProcessToken(SecretDigest::of(b"")))),
    )
}

/// The worst that was seen of an attack so far.
#[derive(Default)]
struct Seen {
    caught_by: Option<Catch>,
    reason: String,
    through: Option<String>,
    refused: Option<String>,
    elapsed: Duration,
    is_late: bool,
    memory_bytes: usize,
    calls: usize,
}

impl Seen {
    fn new(elapsed: Duration, deadline: Duration) -> Self {
        Self {
            elapsed,
            is_late: elapsed > deadline + MAX_LATE,
            calls: 1,
            ..Self::default()
        }
    }

    /// Loading is compiling, which has a limit of its own, and up to two calls.
    fn refused(error: &LoadError, elapsed: Duration, deadline: Duration) -> Self {
        let (caught_by, reason) = (Some(Catch::Refused), error.to_string());
        Self {
            caught_by,
            reason,
            is_late: false,
            ..Self::new(elapsed, deadline)
        }
    }

    fn judged(judgement: &Judgement, elapsed: Duration, deadline: Duration) -> Self {
        match (&judgement.decision, judgement.faults.first()) {
            (Decision::Permitted(permit), _) => Self::permitted(permit, elapsed, deadline),
            (_, Some((_, fault))) => Self::faulted(fault, elapsed, deadline),
            (Decision::Public, None) => {
                let through = Some("the route was open".to_owned());
                Self {
                    through,
                    ..Self::new(elapsed, deadline)
                }
            }
            (Decision::Refused(denial), None) => {
                // Known, but without the scope that the route requires.
                let caught_by = match denial {
                    Denial::MissingScope { .. } => Catch::Cut,
                    _ => Catch::Denied,
                };
                let reason = "it got hold of nothing".to_owned();
                Self {
                    caught_by: Some(caught_by),
                    reason,
                    ..Self::new(elapsed, deadline)
                }
            }
        }
    }

    fn permitted(permit: &Permit, elapsed: Duration, deadline: Duration) -> Self {
        let seen = Self::new(elapsed, deadline);
        let Caller::Service(principal) = permit.caller() else {
            return Self {
                through: Some("let in as a person".to_owned()),
                ..seen
            };
        };
        let is_its_own =
            principal.provider().as_str() == HOSTILE && !principal.has(&scope(DRAIN_SCOPE));
        if is_its_own && !principal.name().starts_with("breached") {
            let reason = format!("let in as `{HOSTILE}`, with no scope but {GRANTED_SCOPE}");
            return Self {
                caught_by: Some(Catch::Cut),
                reason,
                ..seen
            };
        }

        Self {
            through: Some(format!("let in: {}", principal.name())),
            ..seen
        }
    }

    fn faulted(fault: &CallFault, elapsed: Duration, deadline: Duration) -> Self {
        let caught_by = match &fault.fault {
            ProviderFault::DeadlineExceeded { .. } => Some(Catch::DeadlineExceeded),
            ProviderFault::OutOfMemory { .. } => Some(Catch::OutOfMemory),
            ProviderFault::Trapped(_) => Some(Catch::Trapped),
            ProviderFault::Malformed(_) => Some(Catch::Malformed),
            ProviderFault::Unavailable(_) => Some(Catch::Unavailable),
            ProviderFault::Saturated { .. } => Some(Catch::Saturated),
            ProviderFault::Quarantined { .. }
            | ProviderFault::NoTimeLeft
            | ProviderFault::Host(_) => None,
        };

        let Usage { memory_bytes, .. } = fault.used;
        Self {
            caught_by,
            reason: fault.fault.to_string(),
            memory_bytes,
            ..Self::new(elapsed, deadline)
        }
    }

    fn unusable(why: &str, elapsed: Duration, deadline: Duration) -> Self {
        let (caught_by, reason) = (Some(Catch::Unusable), why.to_owned());
        Self {
            caught_by,
            reason,
            ..Self::new(elapsed, deadline)
        }
    }

    fn add(&mut self, other: Self) {
        // A fault says more than "it got hold of nothing", which most guests also answer.
        self.refused = self.refused.take().or(other.refused);
        if other.caught_by.is_some() && self.caught_by.is_none_or(|caught| caught == Catch::Denied)
        {
            (self.caught_by, self.reason) = (other.caught_by, other.reason);
        }
        self.through = self.through.take().or(other.through);
        self.elapsed = self.elapsed.max(other.elapsed);
        self.is_late |= other.is_late;
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        self.calls += other.calls;
    }

    fn into_row(self, attack: &Attack, bystander: CallTimes, slowed: bool) -> AttackRow {
        let is_as_meant = self
            .caught_by
            .is_some_and(|caught| attack.meets.contains(&caught));
        let verdict = match &self.through {
            Some(_) => AttackVerdict::Broken,
            None if self.is_late || slowed || !is_as_meant => AttackVerdict::Strained,
            None => AttackVerdict::Held,
        };

        let said = match self.caught_by {
            Some(Catch::Denied) => self.refused.unwrap_or(self.reason),
            _ => self.reason,
        };

        AttackRow {
            attack: attack.name,
            tries: attack.tries,
            verdict,
            caught_by: self.caught_by,
            reason: self.through.unwrap_or(said),
            after_ms: self.elapsed.as_secs_f64() * 1e3,
            memory_bytes: self.memory_bytes,
            calls: self.calls,
            bystander,
            slowed,
        }
    }
}
