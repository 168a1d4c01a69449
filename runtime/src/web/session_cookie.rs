//! Session cookies: sealed by the host, with the provider that minted the token inside.
//!
//! Each value is sealed under its cookie's name (AES-256-GCM), so nothing in a browser can be read, changed, or
//! moved from one cookie to another.

use super::site::Site;
use crate::auth::{PresentedSession, Session, SessionToken};
use arc_swap::ArcSwap;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use cookie::time::Duration;
use cookie::{Cookie, CookieJar, Key, SameSite};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

const ACCESS: &str = "hermes_session_at";
const REFRESH: &str = "hermes_session_rt";
const SIGN_IN: &str = "hermes_session_pkce";

/// Seconds for which a sign-in may be under way.
pub(super) const SIGN_IN_SECONDS: u64 = 600;
/// A cookie outlives its access token, so that a session that is over can be told from none.
const GRACE_SECONDS: u64 = 24 * 3600;
/// How long a refresh token is kept: its provider says when it is over.
const REFRESH_SECONDS: u64 = 30 * 24 * 3600;
/// Browsers drop a larger cookie without a word (RFC 6265bis, section 5.7).
const MAX_COOKIE_BYTES: usize = 4096;

/// Seals and opens the values of cookies. Clones share their keys.
#[derive(Clone)]
pub struct CookieSealer {
    keys: Arc<ArcSwap<Vec<Key>>>,
}

/// A value that no browser would keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the sealed session has {0} bytes and a cookie at most {MAX_COOKIE_BYTES}: let the provider put less into its tokens"
)]
pub(super) struct TooLarge(usize);

/// The cookies of one request.
pub(super) struct RequestCookies<'a> {
    /// In bytes: what other applications put beside ours may be anything.
    pairs: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> RequestCookies<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let lines =
            headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        let pair = |text: &'a [u8]| {
            let at = text.iter().position(|byte| *byte == b'=')?;
            Some((text[..at].trim_ascii(), text[at + 1..].trim_ascii()))
        };
        Self { pairs: lines.filter_map(pair).collect() }
    }

    /// The value, if there is exactly one. `Err`: there are two, of which somebody put one there.
    fn only(&self, name: &str) -> Result<Option<&str>, ()> {
        let named = self.pairs.iter().filter(|(known, _)| *known == name.as_bytes());
        let mut values = named.map(|(_, value)| std::str::from_utf8(value).unwrap_or_default());
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(()),
        }
    }
}

impl CookieSealer {
    /// The first of these secrets seals; all of them open, so that a new one can take over from an old one.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self { keys: Arc::new(ArcSwap::from_pointee(derive(secrets))) }
    }

    /// From now on these secrets, in this sealer and its clones.
    pub fn replace_keys<'a>(&self, secrets: impl IntoIterator<Item = &'a [u8]>) {
        self.keys.store(Arc::new(derive(secrets)));
    }

    /// A value, sealed under the name of its cookie.
    pub fn seal(&self, name: &str, value: &impl Serialize) -> String {
        let text = serde_json::to_string(value).unwrap_or_default();
        let mut jar = CookieJar::new();
        if let Some(key) = self.keys.load().first() {
            jar.private_mut(key).add(Cookie::new(name.to_owned(), text));
        }
        jar.get(name).map(|cookie| cookie.value().to_owned()).unwrap_or_default()
    }

    /// What was sealed under this name, if it was: by any of the secrets, and not changed since.
    pub fn open<T: DeserializeOwned>(&self, name: &str, sealed: &str) -> Option<T> {
        let jar = CookieJar::new();
        let open = |key| jar.private(key).decrypt(Cookie::new(name.to_owned(), sealed.to_owned()));
        let keys = self.keys.load();
        let opened = keys.iter().find_map(open)?;
        serde_json::from_str(opened.value()).ok()
    }

    /// What the cookies say of a session.
    pub(super) fn session(&self, cookies: &RequestCookies<'_>, site: &Site) -> PresentedSession {
        let mut presented = PresentedSession::default();
        if cookies.pairs.is_empty() {
            return presented;
        }
        let mut read = |base: &str| -> Option<SessionToken> {
            let name = name(base, site);
            let value = cookies.only(&name);
            let opened = value.ok().flatten().and_then(|sealed| self.open(&name, sealed));
            presented.is_broken |= opened.is_none() && value != Ok(None);
            opened
        };
        let (access, refresh) = (read(ACCESS), read(REFRESH));
        let is_one = |(access, refresh): (&SessionToken, &SessionToken)| access.is_of_same_session(refresh);
        presented.is_broken |= access.as_ref().zip(refresh.as_ref()).is_some_and(|pair| !is_one(pair));
        PresentedSession { access, refresh, ..presented }
    }

    /// What the cookie of a sign-in under way says.
    pub(super) fn sign_in<T: DeserializeOwned>(
        &self,
        cookies: &RequestCookies<'_>,
        site: &Site,
    ) -> Option<T> {
        let name = name(SIGN_IN, site);
        self.open(&name, cookies.only(&name).ok()??)
    }

    /// The cookies of a session. An empty refresh token makes none, and ends the one that was there.
    pub(super) fn of_session(
        &self,
        session: &Session,
        site: &Site,
        now: u64,
    ) -> Result<Vec<HeaderValue>, TooLarge> {
        let claims = &session.claims;
        let token = |token: &zeroize::Zeroizing<String>| SessionToken {
            id: session.id.clone(),
            provider: session.provider.to_string(),
            user_id: claims.user_id.clone(),
            expires_at: claims.expires_at,
            opened_at: session.opened_at,
            token: token.clone(),
        };
        let life = claims.expires_at.saturating_sub(now) + GRACE_SECONDS;
        let access = self.sealed(ACCESS, &token(&claims.access_token), site, life)?;
        let refresh = match claims.refresh_token.is_empty() {
            true => deletion(REFRESH, site),
            false => self.refresh_cookie(&token(&claims.refresh_token), site),
        };
        Ok(vec![access, refresh])
    }

    /// One that no browser would keep is left out: the session then ends with its access token.
    fn refresh_cookie(&self, token: &SessionToken, site: &Site) -> HeaderValue {
        self.sealed(REFRESH, token, site, REFRESH_SECONDS).unwrap_or_else(|large| {
            tracing::warn!(provider = token.provider, %large, "a session that cannot be refreshed");
            deletion(REFRESH, site)
        })
    }

    /// The cookie of a sign-in that begins.
    pub(super) fn of_sign_in(&self, value: &impl Serialize, site: &Site) -> Result<HeaderValue, TooLarge> {
        self.sealed(SIGN_IN, value, site, SIGN_IN_SECONDS)
    }

    fn sealed(
        &self,
        base: &str,
        value: &impl Serialize,
        site: &Site,
        seconds: u64,
    ) -> Result<HeaderValue, TooLarge> {
        let name = name(base, site);
        let sealed = self.seal(&name, value);
        let bytes = name.len() + sealed.len();
        if bytes > MAX_COOKIE_BYTES {
            return Err(TooLarge(bytes));
        }
        Ok(header(base, sealed, site, seconds))
    }
}

fn derive<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Vec<Key> {
    secrets.into_iter().map(Key::derive_from).collect()
}

/// `__Host-` and `__Secure-` are promises that browsers hold a cookie to (RFC 6265bis, section 4.1.3).
fn name(base: &str, site: &Site) -> String {
    match (site.https, site.prefix.is_empty()) {
        (false, _) => base.to_owned(),
        (true, true) => format!("__Host-{base}"),
        (true, false) => format!("__Secure-{base}"),
    }
}

/// A deletion carries the same attributes as the cookie, or it deletes nothing.
fn deletion(base: &str, site: &Site) -> HeaderValue {
    header(base, String::new(), site, 0)
}

fn header(base: &str, value: String, site: &Site, seconds: u64) -> HeaderValue {
    let path = if site.prefix.is_empty() { "/" } else { &site.prefix };
    let seconds = Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
    let cookie = Cookie::build((name(base, site), value))
        .path(path)
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(site.https)
        .max_age(seconds);
    HeaderValue::try_from(cookie.to_string()).expect("names, base64 and a checked path are visible ASCII")
}

/// The end of a session, for the browser.
pub(super) fn session_deletions(site: &Site) -> Vec<HeaderValue> {
    vec![deletion(ACCESS, site), deletion(REFRESH, site)]
}

/// The end of a sign-in, for the browser.
pub(super) fn sign_in_deletion(site: &Site) -> HeaderValue {
    deletion(SIGN_IN, site)
}

/// Puts cookies into an answer.
pub(super) fn set(headers: &mut HeaderMap, cookies: impl IntoIterator<Item = HeaderValue>) {
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::super::site::tests::site;
    use super::*;
    use crate::auth::{ProviderName, Registered, SessionClaims};
    use zeroize::Zeroizing;

    const NOW: u64 = 1_000_000_000;

    fn session(access: &str, refresh: &str) -> Session {
        let claims = SessionClaims {
            user_id: "ada".into(),
            email: String::new(),
            display_name: String::new(),
            org_id: String::new(),
            expires_at: NOW + 60,
            access_token: Zeroizing::new(access.into()),
            refresh_token: Zeroizing::new(refresh.into()),
            groups: Vec::new(),
        };
        Session::open(&Registered::new(ProviderName::new("basic").unwrap(), [].into()), NOW, claims).unwrap()
    }

    fn sealer(keys: &[&[u8; 32]]) -> CookieSealer {
        CookieSealer::new(keys.iter().map(|key| &key[..]))
    }

    /// The cookies as a browser sends them back.
    fn sent(cookies: &[HeaderValue]) -> HeaderMap {
        let pair = |cookie: &HeaderValue| cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        let line = cookies.iter().map(pair).collect::<Vec<_>>().join("; ");
        [(COOKIE, line.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn session_comes_back_and_is_no_text_in_between() {
        let (sealer, site) = (sealer(&[b"an old key of thirty-two bytes!!"]), site(true, ""));
        let cookies = sealer.of_session(&session("at-canary", "rt-canary"), &site, NOW).unwrap();
        assert!(cookies.iter().all(|cookie| !cookie.to_str().unwrap().contains("canary")));
        let headers = sent(&cookies);
        let presented = sealer.session(&RequestCookies::of(&headers), &site);
        assert_eq!(presented.access.unwrap().token.as_str(), "at-canary");
        assert_eq!(presented.refresh.unwrap().token.as_str(), "rt-canary");
        assert!(!presented.is_broken);
    }

    #[test]
    fn value_under_another_name_or_key_is_broken() {
        let (old, site) = (sealer(&[b"an old key of thirty-two bytes!!"]), site(false, ""));
        let cookies = old.of_session(&session("at", "rt"), &site, NOW).unwrap();
        let swapped = sent(&cookies)
            .get(COOKIE)
            .unwrap()
            .to_str()
            .unwrap()
            .replace("_at=", "_x=")
            .replace("_rt=", "_at=");
        let headers = [(COOKIE, swapped.parse().unwrap())].into_iter().collect();
        let presented = old.session(&RequestCookies::of(&headers), &site);
        assert!(presented.access.is_none() && presented.is_broken);
        let headers = sent(&cookies);
        let other = sealer(&[b"another key of thirty-two bytes!"]);
        assert!(other.session(&RequestCookies::of(&headers), &site).is_broken);
        let both = sealer(&[b"another key of thirty-two bytes!", b"an old key of thirty-two bytes!!"]);
        assert!(
            both.session(&RequestCookies::of(&headers), &site).access.is_some(),
            "the old key still opens"
        );
    }

    #[test]
    fn two_cookies_of_one_name_are_none() {
        let (sealer, site) = (sealer(&[b"an old key of thirty-two bytes!!"]), site(false, ""));
        let cookies = sealer.of_session(&session("at", ""), &site, NOW).unwrap();
        let twice = sent(&[cookies[0].clone(), cookies[0].clone()]);
        let presented = sealer.session(&RequestCookies::of(&twice), &site);
        assert!(presented.access.is_none() && presented.is_broken);
    }

    #[test]
    fn tokens_of_two_sessions_are_none() {
        let (sealer, site) = (sealer(&[b"an old key of thirty-two bytes!!"]), site(false, ""));
        let [one, other] = [(); 2].map(|()| sealer.of_session(&session("at", "rt"), &site, NOW).unwrap());
        let headers = sent(&[one[0].clone(), other[1].clone()]);
        assert!(sealer.session(&RequestCookies::of(&headers), &site).is_broken);
    }

    #[test]
    fn cookies_of_others_may_be_anything() {
        let (sealer, site) = (sealer(&[b"an old key of thirty-two bytes!!"]), site(false, ""));
        let cookies = sealer.of_session(&session("at", "rt"), &site, NOW).unwrap();
        let line = [b"name=Jos\xc3\xa9; odd; ".as_slice(), sent(&cookies)[COOKIE].as_bytes()].concat();
        let headers = [(COOKIE, HeaderValue::from_bytes(&line).unwrap())].into_iter().collect();
        assert!(sealer.session(&RequestCookies::of(&headers), &site).access.is_some());
    }

    #[test]
    fn attributes_follow_the_site_and_deletions_carry_them_too() {
        let sealer = sealer(&[b"an old key of thirty-two bytes!!"]);
        for (https, prefix, start, end) in [
            (false, "", "hermes_session_at=", "; HttpOnly; SameSite=Lax; Path=/; Max-Age="),
            (true, "", "__Host-hermes_session_at=", "; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age="),
            (
                true,
                "/agent",
                "__Secure-hermes_session_at=",
                "; HttpOnly; SameSite=Lax; Secure; Path=/agent; Max-Age=",
            ),
        ] {
            let site = site(https, prefix);
            let made = sealer.of_session(&session("at", ""), &site, NOW).unwrap();
            for cookie in [&made[0], &session_deletions(&site)[0]] {
                let text = cookie.to_str().unwrap();
                assert!(text.starts_with(start) && text.contains(end), "{text}");
            }
            assert!(made[1].to_str().unwrap().ends_with("Max-Age=0"), "no refresh token, no cookie");
        }
    }

    #[test]
    fn session_that_no_browser_would_keep_is_refused() {
        let sealer = sealer(&[b"an old key of thirty-two bytes!!"]);
        assert!(sealer.of_session(&session(&"x".repeat(4096), ""), &site(true, ""), NOW).is_err());
        assert!(sealer.of_session(&session(&"x".repeat(2600), ""), &site(true, ""), NOW).is_ok());
    }
}
