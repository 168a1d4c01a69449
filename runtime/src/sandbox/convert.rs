//! From what a guest answered to what the host works with; every length is checked on the way.

use super::contract::{
    CodeError, PasswordError, ProviderError, RefreshError, Session, SessionAnswer, TokenAnswer,
    TokenPrincipal,
};
use super::fault::{without, words};
use crate::auth::{
    Claims, CodeVerdict, PasswordVerdict, ProviderFault, RefreshVerdict, SessionClaims, TokenVerdict,
};
use http::Uri;
use zeroize::Zeroizing;

/// Longest sign-in URL, in bytes: browsers and servers stop at about as much.
const MAX_URL_BYTES: usize = 8 * 1024;

pub(super) fn token_verdict(answer: TokenAnswer, token: &str) -> Result<TokenVerdict, ProviderFault> {
    match answer {
        Ok(None) => Ok(TokenVerdict::NotRecognized),
        // A principal's name is written into logs and markers: it must not be the credential.
        Ok(Some(TokenPrincipal { principal, .. })) if without(token, &principal) != principal => {
            Err(ProviderFault::Malformed("the principal repeats the token".into()))
        }
        Ok(Some(TokenPrincipal { principal, scopes })) => Claims::new(principal, &scopes)
            .map(TokenVerdict::Recognized)
            .map_err(|bad| ProviderFault::Malformed(words(&without(token, &bad.to_string())))),
        Err(ProviderError::Unavailable(why)) => Err(unavailable(token, &why)),
    }
}

pub(super) fn session(
    answer: SessionAnswer,
    access_token: &str,
    now: u64,
) -> Result<Option<SessionClaims>, ProviderFault> {
    match answer {
        Ok(session) => session.map(|session| claims(session, now)).transpose(),
        Err(ProviderError::Unavailable(why)) => Err(unavailable(access_token, &why)),
    }
}

pub(super) fn password_verdict(
    answer: Result<Session, PasswordError>,
    password: &str,
    now: u64,
) -> Result<PasswordVerdict, ProviderFault> {
    match answer {
        Ok(session) => claims(session, now).map(PasswordVerdict::SignedIn),
        Err(PasswordError::InvalidCredentials) => Ok(PasswordVerdict::InvalidCredentials),
        Err(PasswordError::Unavailable(why)) => Err(unavailable(password, &why)),
    }
}

/// The URL of an identity provider, with the state that the host made: without it nobody ever comes back.
pub(super) fn login_url(answer: Result<String, ProviderError>, state: &str) -> Result<String, ProviderFault> {
    let url = match answer {
        Ok(url) => url,
        Err(ProviderError::Unavailable(why)) => return Err(unavailable(state, &why)),
    };
    let parsed: Option<Uri> = url.parse().ok().filter(|_| url.len() <= MAX_URL_BYTES);
    let is_web = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("https" | "http"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_some_and(|query| query.split('&').any(|pair| pair == format!("state={state}")))
    };
    match parsed.filter(is_web) {
        Some(_) => Ok(url),
        None => Err(ProviderFault::Malformed(
            "the sign-in URL is no http(s) URL with the state that was given".into(),
        )),
    }
}

pub(super) fn code_verdict(
    answer: Result<Session, CodeError>,
    code: &str,
    now: u64,
) -> Result<CodeVerdict, ProviderFault> {
    match answer {
        Ok(session) => claims(session, now).map(CodeVerdict::SignedIn),
        Err(CodeError::InvalidCode(why)) => Ok(CodeVerdict::InvalidCode(words(&without(code, &why)))),
        Err(CodeError::Unavailable(why)) => Err(unavailable(code, &why)),
    }
}

pub(super) fn refresh_verdict(
    answer: Result<Session, RefreshError>,
    refresh_token: &str,
    now: u64,
) -> Result<RefreshVerdict, ProviderFault> {
    match answer {
        Ok(session) => claims(session, now).map(RefreshVerdict::Refreshed),
        Err(RefreshError::Expired) => Ok(RefreshVerdict::Expired),
        Err(RefreshError::Unavailable(why)) => Err(unavailable(refresh_token, &why)),
    }
}

fn unavailable(credential: &str, why: &str) -> ProviderFault {
    ProviderFault::Unavailable(words(&without(credential, why)))
}

fn claims(session: Session, now: u64) -> Result<SessionClaims, ProviderFault> {
    let claims = SessionClaims {
        user_id: session.user_id,
        email: session.email,
        display_name: session.display_name,
        org_id: session.org_id,
        expires_at: session.expires_at,
        access_token: Zeroizing::new(session.access_token),
        refresh_token: Zeroizing::new(session.refresh_token),
    };
    claims.checked(now).map_err(|bad| ProviderFault::Malformed(bad.to_string()))
}
