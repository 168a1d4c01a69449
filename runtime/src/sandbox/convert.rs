//! From what a guest answered to what the host works with; every length is checked on the way.

use super::bindings::contract::{ProviderError, TokenPrincipal};
use super::fault::{without, words};
use crate::auth::{Claims, ProviderFault, TokenVerdict};

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
