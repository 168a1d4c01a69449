//! The provider traits of the gate, as calls of a guest: for a provider alone and for one whose
//! faults count.

use crate::call::sign_in::{
    CheckPassword, CompleteLogin, RefreshSession, RevokeSession, StartLogin,
};
use crate::call::sign_out::{ReadLogoutToken, SignOutUrl};
use crate::call::{Asks, VerifySession, VerifyToken};
use crate::guard::monitored_provider::MonitoredProvider;
use crate::provider::WasmProvider;
use futures_util::TryFutureExt;
use portcullis_auth::{
    BearerToken, BoxFuture, CallFault, CheckedClaims, CodeVerdict, LoginRequest, LoginResponse,
    LogoutVerdict, PasswordProvider, PasswordVerdict, RedirectProvider, RefreshProvider,
    RefreshVerdict, SessionProvider, SessionVerdict, SignOutProvider, TokenProvider, TokenVerdict,
};
use std::time::Instant;
use zeroize::Zeroizing;

/// Implements the traits of the gate for types of this crate that make calls. The traits are of
/// another crate, so one implementation for every such type is not possible.
macro_rules! answer_the_gate {
    ($($provider:ty),*) => {
        $(
            impl TokenProvider for $provider {
                fn verify_token<'a>(
                    &'a self,
                    token: &'a BearerToken,
                    deadline: Instant,
                ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
                    Box::pin(self.ask(deadline, VerifyToken(token.clone())))
                }
            }

            impl SessionProvider for $provider {
                fn verify_session<'a>(
                    &'a self,
                    access_token: &'a str,
                    deadline: Instant,
                ) -> BoxFuture<'a, Result<Option<CheckedClaims>, CallFault>> {
                    let call = VerifySession(Zeroizing::new(access_token.to_owned()));
                    Box::pin(self.ask(deadline, call).map_ok(SessionVerdict::recognized))
                }
            }

            impl PasswordProvider for $provider {
                fn check_password<'a>(
                    &'a self,
                    username: &'a str,
                    password: &'a str,
                    deadline: Instant,
                ) -> BoxFuture<'a, Result<PasswordVerdict, CallFault>> {
                    let password = Zeroizing::new(password.to_owned());
                    Box::pin(self.ask(deadline, CheckPassword { username: username.to_owned(), password }))
                }
            }

            impl RedirectProvider for $provider {
                fn start_login(&self, request: LoginRequest, deadline: Instant) -> BoxFuture<'_, Result<String, CallFault>> {
                    Box::pin(self.ask(deadline, StartLogin(request)))
                }

                fn complete_login(
                    &self,
                    response: LoginResponse,
                    deadline: Instant,
                ) -> BoxFuture<'_, Result<CodeVerdict, CallFault>> {
                    Box::pin(self.ask(deadline, CompleteLogin(response)))
                }
            }

            impl RefreshProvider for $provider {
                fn refresh<'a>(
                    &'a self,
                    refresh_token: &'a str,
                    deadline: Instant,
                ) -> BoxFuture<'a, Result<RefreshVerdict, CallFault>> {
                    Box::pin(self.ask(deadline, RefreshSession(Zeroizing::new(refresh_token.to_owned()))))
                }

                fn revoke<'a>(&'a self, refresh_token: &'a str, deadline: Instant) -> BoxFuture<'a, Result<(), CallFault>> {
                    Box::pin(self.ask(deadline, RevokeSession(Zeroizing::new(refresh_token.to_owned()))))
                }
            }

            impl SignOutProvider for $provider {
                fn read_logout_token<'a>(
                    &'a self,
                    token: &'a str,
                    deadline: Instant,
                ) -> BoxFuture<'a, Result<LogoutVerdict, CallFault>> {
                    Box::pin(self.ask(deadline, ReadLogoutToken(Zeroizing::new(token.to_owned()))))
                }

                fn sign_out_url<'a>(
                    &'a self,
                    access_token: &'a str,
                    return_to: &'a str,
                    deadline: Instant,
                ) -> BoxFuture<'a, Result<Option<String>, CallFault>> {
                    let (access_token, return_to) = (Zeroizing::new(access_token.to_owned()), return_to.to_owned());
                    Box::pin(self.ask(deadline, SignOutUrl { access_token, return_to }))
                }
            }
        )*
    };
}

answer_the_gate!(WasmProvider, MonitoredProvider);
