//! From what a guest answered to what the host works with; every length is checked on the way.

use super::bindings::contract::{ProviderError, Session, TokenPrincipal};
use super::fault::{without, words};
use crate::auth::{Claims, ProviderFault, SessionClaims, TokenVerdict};
use zeroize::Zeroizing;

pub(super) fn token_verdict(
    answer: Result<Option<TokenPrincipal>, ProviderError>,
    token: &str,
) -> Result<TokenVerdict, ProviderFault> {
    match answer {
        Ok(None) => Ok(TokenVerdict::NotRecognized),
        // A principal's name is written into logs and markers: it must not be the credential.
        Ok(Some(TokenPrincipal { principal, .. })) if without(token, &principal) != principal => {
            Err(ProviderFault::Malformed("the principal repeats the token".into()))
        }
        Ok(Some(TokenPrincipal { principal, scopes })) => Claims::new(principal, &scopes)
            .map(TokenVerdict::Recognized)
            .map_err(|bad| ProviderFault::Malformed(words(&without(token, &bad.to_string())))),
        Err(ProviderError::Unavailable(why)) => Err(ProviderFault::Unavailable(words(&without(token, &why)))),
    }
}

pub(super) fn session(
    answer: Result<Option<Session>, ProviderError>,
    access_token: &str,
    now: u64,
) -> Result<Option<SessionClaims>, ProviderFault> {
    let session = match answer {
        Ok(Some(session)) => session,
        Ok(None) => return Ok(None),
        Err(ProviderError::Unavailable(why)) => {
            return Err(ProviderFault::Unavailable(words(&without(access_token, &why))));
        }
    };
    let claims = SessionClaims {
        user_id: session.user_id,
        email: session.email,
        display_name: session.display_name,
        org_id: session.org_id,
        expires_at: session.expires_at,
        access_token: Zeroizing::new(session.access_token),
        refresh_token: Zeroizing::new(session.refresh_token),
    };
    claims.checked(now).map(Some).map_err(|bad| ProviderFault::Malformed(bad.to_string()))
}
