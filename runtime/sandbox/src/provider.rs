//! A loaded provider.

use crate::call::call_span::CallSpan;
use crate::call::caller::{CallSlot, Called, GuestCaller};
use crate::call::fresh::Prelinked;
use crate::call::{
    Asks, GuestCall, LoadCheck, SupportsToken, VerifySession, VerifyToken, VerifyTwice,
};
use crate::contract::Contract;
use crate::engine::heap::GivesBack;
use crate::engine::limits::{DEFAULT_COMPONENT_BYTES, Limits};
use crate::guest_text::words;
use crate::host::grants::Capabilities;
use crate::host::outbound::HttpCapability;
use crate::host::{self, HostState, ProviderResources};
use crate::load::{Code, CodeKey, ComponentSource, Facts, Inspection, LoadError, Unloadable};
use crate::sandbox::Sandbox;
use portcullis_auth::{
    BearerToken, CallFault, Placements, ProviderFault, ProviderName, SessionVerdict, Spent,
    TokenVerdict, Usage,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;
use wasmtime::component::Linker;
use zeroize::Zeroizing;

/// How often a provider that could not be asked when it was loaded is asked again.
const INTRODUCTIONS: usize = 10;
/// How long to wait in between.
const INTRODUCTION_PAUSE: Duration = Duration::from_millis(200);
const MIB: usize = 1024 * 1024;

/// What the configuration says of one provider.
#[derive(Clone)]
pub struct ProviderSpec {
    /// Its name, for the log.
    pub name: ProviderName,
    /// Where its component is.
    pub source: ComponentSource,
    /// The digest that the component must have.
    pub sha256: Option<String>,
    /// Its own settings, which no other provider sees.
    pub settings: BTreeMap<String, String>,
    /// What the operator grants it beyond them.
    pub capabilities: Capabilities,
    /// What one call of it may use.
    pub limits: Limits,
    /// Whether its core modules are linked into one before it is compiled, so that a call takes
    /// less time to begin. The code that runs is then not the file's own: an author links better
    /// with `portcullis provider link`.
    pub link_modules: bool,
}

/// A provider that was loaded and asked what it supports.
pub struct LoadedProvider {
    /// What its component is.
    pub inspection: Inspection,
    /// Whether it takes bearer tokens.
    pub takes_tokens: bool,
    /// The provider, ready for calls.
    pub provider: Arc<WasmProvider>,
}

/// A provider in the sandbox.
pub struct WasmProvider {
    pub(crate) caller: GuestCaller,
}

/// One call, seen from outside.
#[derive(Debug)]
pub struct Observed {
    /// The verdict, or the fault of the call.
    pub verdict: Result<TokenVerdict, CallFault>,
    /// Time and memory that the call used.
    pub used: Usage,
    /// What the host refused it, in words.
    pub refusals: Vec<String>,
    /// Settings that it looked for and does not have.
    pub missed_settings: Vec<String>,
}

/// What a component must be, and what is made of it.
#[derive(Clone, Copy, Default)]
struct Wanted<'a> {
    /// The digest that it must have.
    sha256: Option<&'a str>,
    /// What it may consist of.
    limits: Option<&'a Limits>,
    /// Whether its core modules are linked before it is compiled.
    link_modules: bool,
}

impl Sandbox {
    /// Loads a provider: reads, compiles and links it, and asks it about its settings and what it
    /// supports.
    ///
    /// # Errors
    /// It is not loaded, and why.
    pub async fn load(self: &Arc<Self>, spec: ProviderSpec) -> Result<LoadedProvider, LoadError> {
        let wanted = Wanted {
            sha256: spec.sha256.as_deref(),
            limits: Some(&spec.limits),
            link_modules: spec.link_modules,
        };
        // Loading takes memory for a moment, also of a component that is refused.
        let _gives_back = GivesBack;
        let (code, inspection) = self.code_of(&spec.source, wanted).await?;
        self.check_memory(&spec, &code.facts)?;
        let sandbox = self.clone();
        let checked = inspection.clone();
        let linking = tokio::task::spawn_blocking(move || sandbox.link(spec, code, &checked));
        let linked = linking
            .await
            .map_err(|lost| Unloadable::CompilerFailed(words(lost)))??;
        let provider = WasmProvider {
            caller: GuestCaller::new(self.machinery.clone(), linked),
        };

        let takes_tokens = provider.introduce().await?;
        if !takes_tokens && !inspection.signs_people_in() {
            return Err(LoadError::Useless);
        }
        Ok(LoadedProvider {
            inspection,
            takes_tokens,
            provider: Arc::new(provider),
        })
    }

    /// Looks at a component without running anything of it.
    ///
    /// # Errors
    /// It is not a component, or it does not compile.
    pub async fn inspect(&self, source: &ComponentSource) -> Result<Inspection, LoadError> {
        self.code_of(source, Wanted::default())
            .await
            .map(|(_, inspection)| inspection)
    }

    /// The same for a provider whose core modules are linked: the size and the instances are those
    /// of the linked code.
    ///
    /// # Errors
    /// It is not a component, its modules cannot be linked, or it does not compile.
    pub async fn inspect_linked(&self, source: &ComponentSource) -> Result<Inspection, LoadError> {
        let wanted = Wanted {
            link_modules: true,
            ..Wanted::default()
        };
        self.code_of(source, wanted)
            .await
            .map(|(_, inspection)| inspection)
    }

    /// Reads a component, checks its digest, and finds or makes its native code.
    async fn code_of(
        &self,
        source: &ComponentSource,
        wanted: Wanted<'_>,
    ) -> Result<(Code, Inspection), LoadError> {
        let Wanted {
            sha256,
            limits,
            link_modules,
        } = wanted;
        let (source, expected) = (source.clone(), sha256.map(str::to_owned));
        let reading = tokio::task::spawn_blocking(move || {
            let bytes = source.read()?;
            check_format(&bytes)
                .map_err(|error| source.instead_of(error, bytes.len(), DEFAULT_COMPONENT_BYTES))?;
            let digest = check_digest(&bytes, expected.as_deref())?;
            Ok::<_, LoadError>((bytes, digest))
        });

        let (bytes, digest) = reading
            .await
            .map_err(|lost| Unloadable::CompilerFailed(words(lost)))??;

        let length = bytes.len();
        let check = |facts: &Facts| limits.map_or(Ok(()), |limits| check_limits(facts, limits));
        let key = CodeKey {
            digest,
            link_modules,
        };
        let code = self.compilers.code(bytes, &key, check).await?;
        let inspection = Inspection::new(length, key.digest, &code.facts, self.contracts);
        Ok((code, inspection))
    }

    /// Compares what a provider's calls begin with, and what they may have, with what all calls
    /// together leave to one. A growth that does not fit is refused in a call, so here it is a
    /// warning.
    fn check_memory(&self, spec: &ProviderSpec, facts: &Facts) -> Result<(), LoadError> {
        let memory = &self.machinery.memory;
        let (reach, limit_mib) = (memory.reach_bytes(), memory.limit_mib());
        let needed = facts.initial_bytes();
        if needed > reach {
            return Err(LoadError::BeyondAllMemory {
                mib: needed.div_ceil(MIB),
                reach_mib: reach / MIB,
                limit_mib,
            });
        }

        if spec.limits.memory_bytes > reach {
            tracing::warn!(
                provider = %spec.name,
                memory_mib = spec.limits.memory_bytes / MIB,
                leaves_mib = reach / MIB,
                "`dashboard.sandbox.memory_mib` ({limit_mib}) is too small for `limits.memory_mib` of this provider: a call \
                 that grows beyond what it leaves to one call is refused as saturated"
            );
        }
        Ok(())
    }

    fn link(
        &self,
        spec: ProviderSpec,
        code: Code,
        inspection: &Inspection,
    ) -> Result<Prelinked, LoadError> {
        let version = inspection.check(&spec.capabilities, self.contracts)?;
        if let Some(bucket) = &spec.capabilities.bucket {
            bucket.look_for_damage();
        }
        let unfit = |error: wasmtime::Error| LoadError::Unfit(words(format_args!("{error:#}")));
        let linked = self
            .linker_for(&spec.capabilities)
            .and_then(|linker| linker.instantiate_pre(&code.component))
            .map_err(unfit)?;
        let contract = Contract::of(&linked, version).map_err(unfit)?;

        let grants = &spec.capabilities.http;
        let http = (!grants.is_empty()).then(|| {
            Arc::new(HttpCapability::new(
                spec.name.clone(),
                grants,
                &self.public_tls,
            ))
        });
        let resources = ProviderResources {
            settings: Arc::new(spec.settings),
            limits: spec.limits,
            http,
            bucket: spec.capabilities.bucket,
        };

        Ok(Prelinked {
            name: spec.name,
            linked,
            contract,
            resources,
            facts: code.facts,
            _gives_back: GivesBack,
        })
    }

    /// Links only the interfaces that the operator granted, so an ungranted import fails at load.
    fn linker_for(&self, capabilities: &Capabilities) -> wasmtime::Result<Linker<HostState>> {
        let mut linker = self.linker.clone();
        host::link_granted(
            &mut linker,
            !capabilities.http.is_empty(),
            capabilities.bucket.is_some(),
        )?;
        Ok(linker)
    }
}

impl WasmProvider {
    /// Waits for the provider's turn to make a call of this kind.
    pub(crate) async fn admit<C: GuestCall>(
        &self,
        deadline: Instant,
    ) -> Result<CallSlot, ProviderFault> {
        self.caller.admit(deadline, C::LANE).await
    }

    /// Makes a call in its turn, and checks the answer.
    pub(crate) async fn ask_in<C: GuestCall>(
        &self,
        turn: CallSlot,
        call: C,
        span: CallSpan,
    ) -> Result<C::Verdict, CallFault> {
        let Called { answer, used, .. } = self.caller.call(turn, call).await;
        span.ended(answer.as_ref().err(), used);
        answer.map_err(|fault| CallFault { fault, used })
    }

    /// Returns the processor time of all calls so far.
    pub fn spent(&self) -> Spent {
        self.caller.spent()
    }

    /// Returns how many calls so far ran where.
    pub(crate) fn placements(&self) -> Placements {
        self.caller.placements()
    }

    /// The caller of a call of this kind has disconnected.
    pub(crate) fn give_up<C: GuestCall>(&self, call: AbortHandle) {
        self.caller.give_up(C::LANE, call);
    }

    /// Begins the span of a call of this kind.
    pub(crate) fn span_of<C: GuestCall>(&self) -> CallSpan {
        CallSpan::begin::<C>(&self.caller)
    }

    /// Makes one token call, and returns what is seen of it from outside.
    pub async fn observe(&self, token: &BearerToken, deadline: Instant) -> Observed {
        let turn = match self.admit::<VerifyToken>(deadline).await {
            Ok(turn) => turn,
            Err(fault) => return Observed::of_a_fault(fault),
        };
        let Called {
            answer,
            used,
            notes,
        } = self.caller.call(turn, VerifyToken(token.clone())).await;
        let verdict = answer.map_err(|fault| CallFault { fault, used });

        Observed {
            verdict,
            used,
            refusals: notes.refusals,
            missed_settings: notes.missed,
        }
    }

    /// The same token twice in ONE instance, as no host would do it: a provider that keeps nothing
    /// answers alike.
    ///
    /// # Errors
    /// One of the two calls gave no verdict.
    pub async fn ask_twice(&self, token: &BearerToken) -> Result<[TokenVerdict; 2], CallFault> {
        self.ask(self.own_deadline(), VerifyTwice(VerifyToken(token.clone())))
            .await
    }

    /// One session call.
    ///
    /// # Errors
    /// The provider gave no answer that can be believed.
    pub async fn observe_session(
        &self,
        access_token: &str,
        deadline: Instant,
    ) -> Result<SessionVerdict, CallFault> {
        self.ask(
            deadline,
            VerifySession(Zeroizing::new(access_token.to_owned())),
        )
        .await
    }

    /// Asks about a token that was made up: it must be unknown. A store out of reach is no failure.
    ///
    /// # Errors
    /// The provider fails, or accepts the made-up token.
    pub async fn check_itself(&self, made_up: &BearerToken) -> Result<(), LoadError> {
        match self.observe(made_up, self.own_deadline()).await.verdict {
            Ok(TokenVerdict::NotRecognized) => Ok(()),
            Ok(TokenVerdict::Recognized(_) | TokenVerdict::Unusable(_)) => {
                Err(LoadError::AcceptsAnything)
            }
            Err(CallFault { fault, .. }) if !fault.is_own_doing() => Ok(()),
            Err(CallFault { fault, .. }) => Err(LoadError::FailedSelfCheck(fault)),
        }
    }

    /// Asks anew whether it takes tokens.
    ///
    /// # Errors
    /// It gives no answer.
    pub async fn supports_token(&self) -> Result<bool, LoadError> {
        self.ask(self.own_deadline(), SupportsToken)
            .await
            .map_err(|fault| LoadError::Faulted(fault.fault))
    }

    /// Has it check its settings, and returns whether it takes tokens.
    async fn introduce(&self) -> Result<bool, LoadError> {
        let mut said = self.ask(self.own_deadline(), LoadCheck).await;
        // Other providers may be serving already, and have all the memory or the processor for a
        // moment.
        for _ in 0..INTRODUCTIONS {
            match &said {
                Err(fault) if fault.fault.is_without_asking() => {
                    tokio::time::sleep(INTRODUCTION_PAUSE).await;
                    said = self.ask(self.own_deadline(), LoadCheck).await;
                }
                _ => break,
            }
        }

        said.map_err(|fault| LoadError::Faulted(fault.fault))?
            .map_err(LoadError::BadSettings)
    }

    /// Returns the wall clock time that one call may take.
    pub fn deadline(&self) -> Duration {
        self.caller.deadline()
    }

    /// Returns when a call that begins now must be over.
    pub fn own_deadline(&self) -> Instant {
        Instant::now() + self.caller.deadline()
    }
}

/// Makes calls without recording health, for tests of a component: a quarantine would hide later
/// answers.
impl Asks for WasmProvider {
    async fn ask<C: GuestCall>(&self, deadline: Instant, call: C) -> Result<C::Verdict, CallFault> {
        let turn = self.admit::<C>(deadline).await?;
        self.ask_in(turn, call, CallSpan::default()).await
    }
}

impl Observed {
    fn of_a_fault(fault: ProviderFault) -> Self {
        Self {
            verdict: Err(fault.into()),
            used: Usage::default(),
            refusals: Vec::new(),
            missed_settings: Vec::new(),
        }
    }
}

/// Compares the digest with the one that the configuration names, if it names one. Returns it.
fn check_digest(bytes: &[u8], expected_digest: Option<&str>) -> Result<String, LoadError> {
    let digest = hex::encode(Sha256::digest(bytes));
    match expected_digest {
        Some(expected) if !expected.eq_ignore_ascii_case(&digest) => {
            Err(LoadError::DigestDiffers {
                found: digest,
                expected: expected.to_owned(),
            })
        }
        _ => Ok(digest),
    }
}

const WASM_MAGIC: &[u8] = b"\0asm";
/// The layer and version fields after the magic: a core module has version 1 and layer 0.
const CORE_VERSION: &[u8] = &[1, 0, 0, 0];
/// The module that imports of the older WASI name.
const PREVIEW_1: &[u8] = b"wasi_snapshot_preview1";
/// What an `.rlib` begins with.
const ARCHIVE_MAGIC: &[u8] = b"!<arch>\n";

/// Checks the first bytes: anything but a component is an error that says what the file is.
fn check_format(bytes: &[u8]) -> Result<(), LoadError> {
    let contains = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    match bytes.strip_prefix(WASM_MAGIC) {
        Some(rest) if !rest.starts_with(CORE_VERSION) => Ok(()),
        Some(_) if contains(PREVIEW_1) => Err(LoadError::Preview1Module),
        Some(_) => Err(LoadError::CoreModule),
        None if bytes.starts_with(ARCHIVE_MAGIC) => Err(LoadError::RustLibrary),
        None => Err(LoadError::NotWasm),
    }
}

/// Compares what a component consists of with the provider's limits.
fn check_limits(facts: &Facts, limits: &Limits) -> Result<(), LoadError> {
    let check = |found: u64, limit: u64, unit, setting| match found > limit {
        true => Err(LoadError::OverLimit {
            found,
            limit,
            unit,
            setting,
        }),
        false => Ok(()),
    };

    let mib = |bytes: u64| bytes.div_ceil(1024 * 1024);
    let (component_bytes, table_elements) = (limits.component_bytes, limits.table_elements as u64);
    check(
        mib(facts.code_bytes),
        mib(component_bytes),
        "MiB without custom sections",
        "component_mib",
    )?;
    let memory_bytes = limits.memory_bytes as u64;
    check(
        mib(facts.memory_bytes),
        mib(memory_bytes),
        "MiB of memory to begin with",
        "memory_mib",
    )?;
    check(
        facts.table_elements,
        table_elements,
        "elements in a table",
        "table_elements",
    )?;

    check(
        facts.core_instances,
        limits.core_instances as u64,
        "core instances",
        "core_instances",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SandboxSettings;

    /// A provider with this memory and table, and what it is loaded beside.
    async fn load(
        module: &str,
        guest_memory_mib: usize,
        providers: usize,
    ) -> Result<LoadedProvider, LoadError> {
        let settings = SandboxSettings {
            guest_memory_bytes: Some(guest_memory_mib * MIB),
            max_table_elements: 200_000,
            providers,
            ..SandboxSettings::default()
        };
        let text =
            format!("(component (core module $m {module}) (core instance (instantiate $m)))");
        let spec = ProviderSpec {
            name: ProviderName::new("large").unwrap(),
            source: ComponentSource::Bundled(wat::parse_str(text).unwrap().leak()),
            sha256: None,
            settings: BTreeMap::new(),
            capabilities: Capabilities::default(),
            limits: Limits {
                table_elements: 200_000,
                ..Limits::default()
            },
            link_modules: false,
        };
        Sandbox::start(&settings).unwrap().load(spec).await
    }

    #[tokio::test]
    async fn memory_that_no_call_can_have_is_refused_by_the_settings_name() {
        // 640 pages are 40 MiB. What fits is refused later, since it is no provider.
        let fits = |loaded: Result<LoadedProvider, LoadError>| {
            matches!(loaded, Err(LoadError::NotAProvider { .. }))
        };
        assert!(fits(load("(memory 640)", 64, 1).await));
        let refused = load("(memory 640)", 64, 8).await.err().unwrap();
        assert!(
            matches!(
                refused,
                LoadError::BeyondAllMemory {
                    mib: 40,
                    reach_mib: 36,
                    limit_mib: 64,
                }
            ),
            "{refused}"
        );
        assert!(
            refused
                .to_string()
                .contains("`dashboard.sandbox.memory_mib` (64)")
        );

        let tables = "(table 200000 funcref)".repeat(12);
        assert!(fits(load(&tables, 20, 1).await));
        let refused = load(&tables, 16, 1).await.err().unwrap();
        assert!(
            matches!(refused, LoadError::BeyondAllMemory { mib: 19, .. }),
            "{refused}"
        );
    }

    #[test]
    fn component_over_its_providers_limits_is_refused_by_the_settings_name() {
        let limits = Limits::default();
        let setting = |facts: Facts| match check_limits(&facts, &limits) {
            Err(LoadError::OverLimit { setting, .. }) => Some(setting),
            _ => None,
        };
        let facts = |core_instances, table_elements, code_bytes| Facts {
            core_instances,
            table_elements,
            code_bytes,
            ..Facts::default()
        };

        assert_eq!(setting(facts(16, 20_000, 32 << 20)), None);
        let memory = Facts {
            memory_bytes: (64 << 20) + 1,
            ..Facts::default()
        };
        assert_eq!(setting(memory), Some("memory_mib"));
        assert_eq!(setting(facts(17, 0, 0)), Some("core_instances"));
        assert_eq!(setting(facts(0, 20_001, 0)), Some("table_elements"));
        assert_eq!(setting(facts(0, 0, (32 << 20) + 1)), Some("component_mib"));
    }
}
