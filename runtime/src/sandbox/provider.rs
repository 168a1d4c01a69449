//! A loaded provider.

use super::call::{GuestCall, Introduce, SupportsToken, VerifySession, VerifyToken, VerifyTwice};
use super::caller::{Called, Caller};
use super::component::{ComponentSource, Inspection, LoadError};
use super::contract::Contract;
use super::convert;
use super::engine::Sandbox;
use super::fault::words;
use super::fresh::Prelinked;
use super::grants::Powers;
use super::host::{self, Equipment, HostState};
use super::limits::Limits;
use super::outbound::HttpPower;
use super::sign_in::{CheckPassword, CompleteLogin, RefreshSession, RevokeSession, StartLogin};
use crate::auth::{
    BearerToken, BoxFuture, CallFault, CodeVerdict, LoginRequest, LoginResponse, PasswordProvider,
    PasswordVerdict, ProviderFault, ProviderName, RedirectProvider, RefreshProvider, RefreshVerdict,
    SessionClaims, SessionProvider, TokenProvider, TokenVerdict, Usage,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasmtime::component::Linker;
use zeroize::Zeroizing;

/// Reading and compiling one component. Python's takes 8 s of one core, so this is for what never ends.
const MAX_LOAD_TIME: Duration = Duration::from_secs(120);

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
    pub powers: Powers,
    /// What one call of it may use.
    pub limits: Limits,
}

/// A provider that was loaded and asked what it supports.
pub struct LoadedProvider {
    /// What its component is.
    pub inspection: Inspection,
    /// Does it take bearer tokens?
    pub takes_tokens: bool,
    /// The provider.
    pub provider: Arc<WasmProvider>,
}

/// A provider in the sandbox.
pub struct WasmProvider {
    caller: Caller,
}

/// One call, seen from outside.
#[derive(Debug)]
pub struct Observed {
    /// What it said.
    pub verdict: Result<TokenVerdict, CallFault>,
    /// What it used.
    pub used: Usage,
    /// What the host refused it, in words.
    pub refusals: Vec<String>,
    /// Settings that it looked for and does not have.
    pub missed_settings: Vec<String>,
}

impl Sandbox {
    /// Loads a provider: reads, compiles, links it, and asks it about its settings and what it supports.
    ///
    /// # Errors
    /// It is not loaded, and why.
    pub async fn load(self: &Arc<Self>, spec: ProviderSpec) -> Result<LoadedProvider, LoadError> {
        let turn = self.loads.acquire().await;
        let sandbox = self.clone();
        let linking = tokio::task::spawn_blocking(move || sandbox.link(spec));
        // The compiler is not covered by wasmtime's promises: a panic or a crawl in it costs one provider, and a crawl
        // keeps the others waiting for its turn to end. (The thread itself cannot be ended.)
        let (component, inspection) = match tokio::time::timeout(MAX_LOAD_TIME, linking).await {
            Ok(Ok(linked)) => linked?,
            Ok(Err(panic)) => return Err(LoadError::Invalid(format!("the compiler failed: {panic}"))),
            Err(_) => return Err(LoadError::TooSlow),
        };
        drop(turn);
        let provider = WasmProvider { caller: Caller::new(self.clone(), component) };
        let takes_tokens = provider.introduce().await?;
        if !takes_tokens && !inspection.signs_people_in() {
            return Err(LoadError::Useless);
        }
        Ok(LoadedProvider { inspection, takes_tokens, provider: Arc::new(provider) })
    }

    pub(super) fn link(&self, spec: ProviderSpec) -> Result<(Prelinked, Inspection), LoadError> {
        let (component, inspection) = self.compile_source(&spec.source, spec.sha256.as_deref())?;
        let version = inspection.check(&spec.powers, self.contracts)?;
        let unfit = |error: wasmtime::Error| LoadError::Unfit(words(&format!("{error:#}")));
        let linked = self
            .linker_for(&spec.powers)
            .and_then(|linker| linker.instantiate_pre(&component))
            .map_err(unfit)?;
        let contract = Contract::of(&linked, version).map_err(unfit)?;
        let http = (!spec.powers.http.is_empty()).then(|| Arc::new(HttpPower::new(&spec.powers.http)));
        let equipment = Equipment {
            settings: Arc::new(spec.settings),
            limits: spec.limits,
            http,
            bucket: spec.powers.bucket,
        };
        Ok((Prelinked { name: spec.name, linked, contract, equipment }, inspection))
    }

    /// What is not granted is not there to be called.
    fn linker_for(&self, powers: &Powers) -> wasmtime::Result<Linker<HostState>> {
        let mut linker = self.linker.clone();
        host::link_granted(&mut linker, !powers.http.is_empty(), powers.bucket.is_some())?;
        Ok(linker)
    }
}

impl WasmProvider {
    /// One token call, and what can be told of it.
    pub async fn observe(&self, token: &BearerToken, by: Instant) -> Observed {
        let call = VerifyToken(Zeroizing::new(token.expose().to_owned()));
        let called = self.caller.call(by, call).await;
        let verdict = called.answer.and_then(|answer| convert::token_verdict(answer, token.expose()));
        let used = called.used;
        let verdict = verdict.map_err(|fault| CallFault { fault, used });
        Observed { verdict, used, refusals: called.notes.refusals, missed_settings: called.notes.missed }
    }

    /// The same token twice in ONE instance, as no host would do it: a provider that keeps nothing answers alike.
    ///
    /// # Errors
    /// One of the two calls gave no verdict.
    pub async fn ask_twice(&self, token: &BearerToken) -> Result<[TokenVerdict; 2], CallFault> {
        let call = VerifyTwice(VerifyToken(Zeroizing::new(token.expose().to_owned())));
        let Called { answer, used, .. } = self.caller.call(self.own_deadline(), call).await;
        let verdicts = answer.and_then(|[first, second]| {
            let verdict = |answer| convert::token_verdict(answer, token.expose());
            Ok([verdict(first)?, verdict(second)?])
        });
        verdicts.map_err(|fault| CallFault { fault, used })
    }

    /// One session call.
    ///
    /// # Errors
    /// The provider gave no answer that can be believed.
    pub async fn observe_session(
        &self,
        access_token: &str,
        by: Instant,
    ) -> Result<Option<SessionClaims>, CallFault> {
        let call = VerifySession(Zeroizing::new(access_token.to_owned()));
        self.ask(by, call, |answer| convert::session(answer, access_token, now())).await
    }

    /// One call of another kind, converted.
    async fn ask<C: GuestCall, T>(
        &self,
        by: Instant,
        call: C,
        convert: impl FnOnce(C::Answer) -> Result<T, ProviderFault>,
    ) -> Result<T, CallFault> {
        let Called { answer, used, .. } = self.caller.call(by, call).await;
        answer.and_then(convert).map_err(|fault| CallFault { fault, used })
    }

    /// Asks about a token that was made up: it must be unknown. A store out of reach is no failure.
    ///
    /// # Errors
    /// The provider fails, or vouches for anyone.
    pub async fn check_itself(&self, made_up: &BearerToken) -> Result<(), LoadError> {
        match self.observe(made_up, self.own_deadline()).await.verdict {
            Ok(TokenVerdict::NotRecognized) => Ok(()),
            Ok(TokenVerdict::Recognized(_)) => Err(LoadError::AcceptsAnything),
            Err(CallFault { fault, .. }) if !fault.is_own_doing() => Ok(()),
            Err(CallFault { fault, .. }) => Err(LoadError::FailedSelfCheck(fault)),
        }
    }

    /// Asks anew whether it takes tokens.
    ///
    /// # Errors
    /// It gives no answer.
    pub async fn supports_token(&self) -> Result<bool, LoadError> {
        self.caller.call(self.own_deadline(), SupportsToken).await.answer.map_err(LoadError::Faulted)
    }

    /// Does it take tokens, and its settings?
    async fn introduce(&self) -> Result<bool, LoadError> {
        let said = self.caller.call(self.own_deadline(), Introduce).await.answer;
        said.map_err(LoadError::Faulted)?.map_err(|mistake| LoadError::BadSettings(words(&mistake)))
    }

    /// What one call may take, wall clock.
    pub fn deadline(&self) -> Duration {
        self.caller.deadline()
    }

    /// When a call that begins now must be over.
    pub fn own_deadline(&self) -> Instant {
        Instant::now() + self.caller.deadline()
    }
}

impl TokenProvider for WasmProvider {
    fn verify_token<'a>(
        &'a self,
        token: &'a BearerToken,
        by: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
        Box::pin(async move { self.observe(token, by).await.verdict })
    }
}

impl SessionProvider for WasmProvider {
    fn verify_session<'a>(
        &'a self,
        access_token: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<Option<SessionClaims>, CallFault>> {
        Box::pin(self.observe_session(access_token, by))
    }
}

impl PasswordProvider for WasmProvider {
    fn check_password<'a>(
        &'a self,
        username: &'a str,
        password: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<PasswordVerdict, CallFault>> {
        let call =
            CheckPassword { username: username.to_owned(), password: Zeroizing::new(password.to_owned()) };
        Box::pin(self.ask(by, call, move |answer| convert::password_verdict(answer, password, now())))
    }
}

impl RedirectProvider for WasmProvider {
    fn start_login(&self, request: LoginRequest, by: Instant) -> BoxFuture<'_, Result<String, CallFault>> {
        let state = request.state.clone();
        Box::pin(self.ask(by, StartLogin(request), move |answer| convert::login_url(answer, &state)))
    }

    fn complete_login(
        &self,
        response: LoginResponse,
        by: Instant,
    ) -> BoxFuture<'_, Result<CodeVerdict, CallFault>> {
        let code = response.code.clone();
        let convert = move |answer| convert::code_verdict(answer, &code, now());
        Box::pin(self.ask(by, CompleteLogin(response), convert))
    }
}

impl RefreshProvider for WasmProvider {
    fn refresh<'a>(
        &'a self,
        refresh_token: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<RefreshVerdict, CallFault>> {
        let call = RefreshSession(Zeroizing::new(refresh_token.to_owned()));
        Box::pin(self.ask(by, call, move |answer| convert::refresh_verdict(answer, refresh_token, now())))
    }

    fn revoke<'a>(&'a self, refresh_token: &'a str, by: Instant) -> BoxFuture<'a, Result<(), CallFault>> {
        Box::pin(self.ask(by, RevokeSession(Zeroizing::new(refresh_token.to_owned())), Ok))
    }
}

/// Seconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::SandboxSettings;

    #[tokio::test]
    async fn no_more_are_loaded_at_once_than_there_are_cores() {
        let sandbox = Sandbox::start(&SandboxSettings::default()).unwrap();
        let spec = ProviderSpec {
            name: ProviderName::new("waits").unwrap(),
            source: ComponentSource::Bundled(b"refused as soon as it is looked at"),
            sha256: None,
            settings: BTreeMap::new(),
            powers: Powers::default(),
            limits: Limits::default(),
        };
        let cores = u32::try_from(sandbox.loads.available_permits()).unwrap();
        let others = sandbox.loads.acquire_many(cores).await.unwrap();
        let mut load = std::pin::pin!(sandbox.load(spec));
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut load).await.is_err());
        drop(others);
        assert!(matches!(load.await.map(drop), Err(LoadError::NotWasm)));
    }
}
