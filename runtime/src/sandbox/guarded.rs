//! A provider as the gate sees it: every call, of whatever kind, counts for its health and is timed.

use super::health::Health;
use super::lane::Lane;
use super::provider::WasmProvider;
use crate::auth::{
    BearerToken, BoxFuture, CallFault, CodeVerdict, LoginRequest, LoginResponse, PasswordProvider,
    PasswordVerdict, RedirectProvider, RefreshProvider, RefreshVerdict, SessionClaims, SessionProvider,
    TokenProvider, TokenVerdict,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Is told how long each call took, whatever came of it.
pub type CallMeter = Box<dyn Fn(Duration) + Send + Sync>;

/// A provider whose faults count: after too many it is not asked for a while.
pub struct Guarded {
    provider: Arc<WasmProvider>,
    health: Arc<Health>,
    meter: CallMeter,
}

impl Guarded {
    /// The same provider, under this record of its health.
    pub fn new(provider: Arc<WasmProvider>, health: Arc<Health>, meter: CallMeter) -> Self {
        Self { provider, health, meter }
    }

    async fn guard<T>(
        &self,
        lane: Lane,
        call: impl Future<Output = Result<T, CallFault>>,
    ) -> Result<T, CallFault> {
        let start = Instant::now();
        let admitted = self.health.admit(lane)?;
        let outcome = call.await;
        admitted.ended(&outcome);
        (self.meter)(start.elapsed());
        outcome
    }
}

impl TokenProvider for Guarded {
    fn verify_token<'a>(
        &'a self,
        token: &'a BearerToken,
        by: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
        Box::pin(self.guard(Lane::Checks, self.provider.verify_token(token, by)))
    }
}

impl SessionProvider for Guarded {
    fn verify_session<'a>(
        &'a self,
        access_token: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<Option<SessionClaims>, CallFault>> {
        Box::pin(self.guard(Lane::Checks, self.provider.verify_session(access_token, by)))
    }
}

impl PasswordProvider for Guarded {
    fn check_password<'a>(
        &'a self,
        username: &'a str,
        password: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<PasswordVerdict, CallFault>> {
        Box::pin(self.guard(Lane::SignIns, self.provider.check_password(username, password, by)))
    }
}

impl RedirectProvider for Guarded {
    fn start_login(&self, request: LoginRequest, by: Instant) -> BoxFuture<'_, Result<String, CallFault>> {
        Box::pin(self.guard(Lane::SignIns, self.provider.start_login(request, by)))
    }

    fn complete_login(
        &self,
        response: LoginResponse,
        by: Instant,
    ) -> BoxFuture<'_, Result<CodeVerdict, CallFault>> {
        Box::pin(self.guard(Lane::SignIns, self.provider.complete_login(response, by)))
    }
}

impl RefreshProvider for Guarded {
    fn refresh<'a>(
        &'a self,
        refresh_token: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<RefreshVerdict, CallFault>> {
        Box::pin(self.guard(Lane::Checks, self.provider.refresh(refresh_token, by)))
    }

    fn revoke<'a>(&'a self, refresh_token: &'a str, by: Instant) -> BoxFuture<'a, Result<(), CallFault>> {
        Box::pin(self.guard(Lane::Checks, self.provider.revoke(refresh_token, by)))
    }
}
