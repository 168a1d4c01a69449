//! From what a guest answered to what the host works with; every length is checked on the way.

use super::bindings::contract::{ProviderError, TokenPrincipal};
use super::fault::words;
use crate::auth::{Claims, ProviderFault, TokenVerdict};

pub(super) fn token_verdict(
    answer: Result<Option<TokenPrincipal>, ProviderError>,
) -> Result<TokenVerdict, ProviderFault> {
    match answer {
        Ok(None) => Ok(TokenVerdict::NotRecognized),
        Ok(Some(TokenPrincipal { principal, scopes })) => Claims::new(principal, &scopes)
            .map(TokenVerdict::Recognized)
            .map_err(|bad| ProviderFault::Malformed(words(&bad.to_string()))),
        Err(ProviderError::Unavailable(why)) => Err(ProviderFault::Unavailable(words(&why))),
    }
}
