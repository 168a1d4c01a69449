//! The provider traits of the gate, as calls of a guest: for a provider alone and for one whose faults count.

use super::call::{GuestCall, VerifySession, VerifyToken};
use super::sign_in::{CheckPassword, CompleteLogin, RefreshSession, RevokeSession, StartLogin};
use super::sign_out::{ReadLogoutToken, SignOutUrl};
use crate::auth::{
    BearerToken, BoxFuture, CallFault, CodeVerdict, LoginRequest, LoginResponse, LogoutVerdict,
    PasswordProvider, PasswordVerdict, RedirectProvider, RefreshProvider, RefreshVerdict, SessionClaims,
    SessionProvider, SessionVerdict, SignOutProvider, TokenProvider, TokenVerdict,
};
use futures_util::TryFutureExt;
use std::time::Instant;
use zeroize::Zeroizing;

/// Makes calls of one provider.
pub(super) trait Asks: Send + Sync {
    /// Makes a call, which ends by `by` at the latest.
    fn ask<C: GuestCall>(
        &self,
        by: Instant,
        call: C,
    ) -> impl Future<Output = Result<C::Verdict, CallFault>> + Send;
}

impl<A: Asks> TokenProvider for A {
    fn verify_token<'a>(
        &'a self,
        token: &'a BearerToken,
        by: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
        Box::pin(self.ask(by, VerifyToken(token.clone())))
    }
}

impl<A: Asks> SessionProvider for A {
    fn verify_session<'a>(
        &'a self,
        access_token: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<Option<SessionClaims>, CallFault>> {
        let call = VerifySession(Zeroizing::new(access_token.to_owned()));
        Box::pin(self.ask(by, call).map_ok(SessionVerdict::recognized))
    }
}

impl<A: Asks> PasswordProvider for A {
    fn check_password<'a>(
        &'a self,
        username: &'a str,
        password: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<PasswordVerdict, CallFault>> {
        let password = Zeroizing::new(password.to_owned());
        Box::pin(self.ask(by, CheckPassword { username: username.to_owned(), password }))
    }
}

impl<A: Asks> RedirectProvider for A {
    fn start_login(&self, request: LoginRequest, by: Instant) -> BoxFuture<'_, Result<String, CallFault>> {
        Box::pin(self.ask(by, StartLogin(request)))
    }

    fn complete_login(
        &self,
        response: LoginResponse,
        by: Instant,
    ) -> BoxFuture<'_, Result<CodeVerdict, CallFault>> {
        Box::pin(self.ask(by, CompleteLogin(response)))
    }
}

impl<A: Asks> RefreshProvider for A {
    fn refresh<'a>(
        &'a self,
        refresh_token: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<RefreshVerdict, CallFault>> {
        Box::pin(self.ask(by, RefreshSession(Zeroizing::new(refresh_token.to_owned()))))
    }

    fn revoke<'a>(&'a self, refresh_token: &'a str, by: Instant) -> BoxFuture<'a, Result<(), CallFault>> {
        Box::pin(self.ask(by, RevokeSession(Zeroizing::new(refresh_token.to_owned()))))
    }
}

impl<A: Asks> SignOutProvider for A {
    fn read_logout_token<'a>(
        &'a self,
        token: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<LogoutVerdict, CallFault>> {
        Box::pin(self.ask(by, ReadLogoutToken(Zeroizing::new(token.to_owned()))))
    }

    fn sign_out_url<'a>(
        &'a self,
        access_token: &'a str,
        return_to: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<Option<String>, CallFault>> {
        let (access_token, return_to) = (Zeroizing::new(access_token.to_owned()), return_to.to_owned());
        Box::pin(self.ask(by, SignOutUrl { access_token, return_to }))
    }
}
