//! From what a guest answered to what the host works with; every length is checked on the way.

use super::contract::{
    CodeError, PasswordError, ProviderError, RefreshError, Session, SessionAnswer, TokenAnswer,
    TokenPrincipal,
};
use super::fault::{repeats, words_without};
use super::grants::Origin;
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
        Ok(Some(TokenPrincipal { principal, .. })) if repeats(token, &principal) => {
            Err(ProviderFault::Malformed("the principal repeats the token".into()))
        }
        Ok(Some(TokenPrincipal { principal, scopes })) => Claims::new(principal, &scopes)
            .map(TokenVerdict::Recognized)
            .map_err(|bad| ProviderFault::Malformed(words_without(token, &bad.to_string()))),
        Err(ProviderError::Unavailable(why)) => Err(unavailable(token, &why)),
    }
}

pub(super) fn session(
    answer: SessionAnswer,
    access_token: &str,
    now: u64,
) -> Result<Option<SessionClaims>, ProviderFault> {
    match answer {
        Ok(session) => session.map(|session| claims(session, &[access_token], now)).transpose(),
        Err(ProviderError::Unavailable(why)) => Err(unavailable(access_token, &why)),
    }
}

/// A password that the person also has in the name they typed is no secret that a provider could give away.
pub(super) fn password_verdict(
    answer: Result<Session, PasswordError>,
    username: &str,
    password: &str,
    now: u64,
) -> Result<PasswordVerdict, ProviderFault> {
    let secret = if username.contains(password) { "" } else { password };
    match answer {
        Ok(session) => claims(session, &[secret], now).map(PasswordVerdict::SignedIn),
        Err(PasswordError::InvalidCredentials) => Ok(PasswordVerdict::InvalidCredentials),
        Err(PasswordError::Unavailable(why)) => Err(unavailable(password, &why)),
    }
}

/// Checks the URL of an identity provider, to which the host redirects the person's browser: visible ASCII, with the
/// state that the host made exactly once, and leading to where a browser may be sent.
pub(super) fn login_url(
    answer: Result<String, ProviderError>,
    state: &str,
    is_granted: impl Fn(&Origin) -> bool,
) -> Result<String, ProviderFault> {
    let url = match answer {
        Ok(url) => url,
        Err(ProviderError::Unavailable(why)) => return Err(unavailable(state, &why)),
    };
    let malformed = |why: &str| Err(ProviderFault::Malformed(format!("the sign-in URL {why}")));
    let is_plain =
        url.len() <= MAX_URL_BYTES && url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let parsed: Option<Uri> = url.parse().ok().filter(|_| is_plain);
    let Some((uri, origin)) = parsed.and_then(|uri| Origin::of(&uri).map(|origin| (uri, origin))) else {
        return malformed("is no plain http(s) URL");
    };

    let states =
        || uri.query().unwrap_or_default().split('&').filter(|pair| pair.split('=').next() == Some("state"));
    if states().count() != 1 || states().any(|pair| pair != format!("state={state}")) {
        return malformed("does not have the state that was given, once");
    }
    if origin.is_for_browsers() || is_granted(&origin) {
        return Ok(url);
    }
    malformed("leads neither to an https site nor to a granted origin")
}

pub(super) fn code_verdict(
    answer: Result<Session, CodeError>,
    code: &str,
    now: u64,
) -> Result<CodeVerdict, ProviderFault> {
    match answer {
        Ok(session) => claims(session, &[code], now).map(CodeVerdict::SignedIn),
        Err(CodeError::InvalidCode(why)) => Ok(CodeVerdict::InvalidCode(words_without(code, &why))),
        Err(CodeError::Unavailable(why)) => Err(unavailable(code, &why)),
    }
}

pub(super) fn refresh_verdict(
    answer: Result<Session, RefreshError>,
    refresh_token: &str,
    now: u64,
) -> Result<RefreshVerdict, ProviderFault> {
    match answer {
        Ok(session) => claims(session, &[refresh_token], now).map(RefreshVerdict::Refreshed),
        Err(RefreshError::Expired) => Ok(RefreshVerdict::Expired),
        Err(RefreshError::Unavailable(why)) => Err(unavailable(refresh_token, &why)),
    }
}

fn unavailable(credential: &str, why: &str) -> ProviderFault {
    ProviderFault::Unavailable(words_without(credential, why))
}

/// Checks the session, in which no name may repeat a credential: names are written to logs.
fn claims(session: Session, credentials: &[&str], now: u64) -> Result<SessionClaims, ProviderFault> {
    let names = [&session.user_id, &session.email, &session.display_name, &session.org_id];
    let own = [session.access_token.as_str(), session.refresh_token.as_str()];
    let is_repeated = |credential: &&str| names.iter().any(|name| repeats(credential, name));
    if credentials.iter().chain(&own).any(is_repeated) {
        return Err(ProviderFault::Malformed("a name in the session repeats a credential".into()));
    }
    let claims = SessionClaims {
        user_id: session.user_id,
        email: session.email,
        display_name: session.display_name,
        org_id: session.org_id,
        groups: Vec::new(),
        expires_at: session.expires_at,
        access_token: Zeroizing::new(session.access_token),
        refresh_token: Zeroizing::new(session.refresh_token),
    };
    claims.checked(now).map_err(|bad| ProviderFault::Malformed(bad.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "0123456789abcdef";

    fn may_be_sent_to(url: &str) -> bool {
        let granted = Origin::parse("http://idp.internal:8080").unwrap();
        login_url(Ok(url.to_owned()), STATE, |origin| *origin == granted).is_ok()
    }

    #[test]
    fn browsers_are_sent_to_https_sites_and_granted_origins_alone() {
        for good in [
            "https://idp.example.com/authorize?client_id=a&state=0123456789abcdef",
            "https://idp.example.com:8443/a?state=0123456789abcdef&x=y",
            "http://localhost:9000/a?state=0123456789abcdef",
            "http://127.0.0.1:9000/a?state=0123456789abcdef",
            "http://[::1]:9000/a?state=0123456789abcdef",
            "http://idp.internal:8080/a?state=0123456789abcdef",
        ] {
            assert!(may_be_sent_to(good), "{good}");
        }
        for bad in [
            "http://idp.example.com/a?state=0123456789abcdef",
            "http://idp.internal:8081/a?state=0123456789abcdef",
            "http://169.254.169.254/a?state=0123456789abcdef",
            "https://169.254.169.254/a?state=0123456789abcdef",
            "https://10.0.0.1/a?state=0123456789abcdef",
            "https://[fd00:ec2::254]/a?state=0123456789abcdef",
            "http://localhost.evil.test/a?state=0123456789abcdef",
            "https://idp.example.com/a?state=0123456789abcdef&state=evil",
            "https://idp.example.com/a?state=evil&state=0123456789abcdef",
            "https://idp.example.com/a?state=0123456789abcdef&state",
            "https://idp.example.com/a",
            "https://idp.example.com/a?nonstate=0123456789abcdef",
            "https://idp.example.com/é?state=0123456789abcdef",
            "https://idp.example.com/a b?state=0123456789abcdef",
            "https://idp.example.com/a?state=0123456789abcdef#state=evil",
            "https://user@idp.example.com/a?state=0123456789abcdef",
            "https://idp.example.com:+443/a?state=0123456789abcdef",
            "javascript:alert(1)?state=0123456789abcdef",
            "//idp.example.com/a?state=0123456789abcdef",
        ] {
            assert!(!may_be_sent_to(bad), "{bad}");
        }
    }

    fn session(user_id: &str, display_name: &str) -> Session {
        Session {
            user_id: user_id.to_owned(),
            email: String::new(),
            display_name: display_name.to_owned(),
            org_id: String::new(),
            expires_at: 2_000,
            access_token: "access-token-1".to_owned(),
            refresh_token: "refresh-token-1".to_owned(),
        }
    }

    #[test]
    fn session_that_repeats_a_credential_is_refused() {
        let verdict = |user: &str, name: &str| {
            password_verdict(Ok(session(user, name)), "alice", "plain-canary-8642", 1_000).is_ok()
        };
        assert!(verdict("alice", "Alice"));
        for leaked in ["plain-canary-8642", "x plain-canary-8642 y", "access-token-1", "the refresh-token-1"]
        {
            assert!(!verdict(leaked, "Alice"), "{leaked}");
            assert!(!verdict("alice", leaked), "{leaked}");
        }
        let same = password_verdict(Ok(session("alexander", "")), "alexander", "alexander", 1_000);
        assert!(same.is_ok(), "a person with a bad password is no broken provider");
    }
}
