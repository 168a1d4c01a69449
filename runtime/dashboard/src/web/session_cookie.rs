//! Cookies: sealed by the host, each under its own name.
//!
//! Each value is sealed under its cookie's name (AES-256-GCM), so nothing in a browser can be read,
//! changed, or moved from one cookie to another. A session's cookies carry the provider that minted
//! the token inside.

use super::cookie_name::{CookieKind, CookieNames, FORMS, HOST, form_of, path_of, paths_to};
use super::request_cookies::RequestCookies;
use super::site::Site;
use arc_swap::ArcSwap;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cookie::{Cookie, CookieJar, Key, SameSite};
use portcullis_auth::{PresentedSession, Session, SessionToken};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use sha2::{Digest, Sha256};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

/// A cookie outlives its access token, so that a session that is over can be distinguished from
/// none.
const GRACE_SECONDS: u64 = 24 * 3600;
/// How long a refresh token is kept: its provider says when it is over.
const REFRESH_SECONDS: u64 = 30 * 24 * 3600;
/// Browsers drop a larger cookie without a word (RFC 6265bis, section 5.7).
const MAX_COOKIE_BYTES: usize = 4096;
/// Hex digits of a key's mark.
const MARK_DIGITS: usize = 8;
/// Fewest characters of a sealed value: a nonce and a tag in base64.
const MIN_SEALED_CHARS: usize = 40;

/// Seals and opens the values of cookies. Clones share their keys.
///
/// A sealed value ends with a mark of the key that sealed it. By it, a value of another dashboard
/// on the same host, or of a replica with another key, is distinguished from one that was changed:
/// the first is left alone, the second is deleted.
#[derive(Clone)]
pub struct CookieSealer {
    keys: Arc<ArcSwap<Vec<SealingKey>>>,
    names: CookieNames,
}

#[derive(Clone)]
struct SealingKey {
    key: Key,
    /// The start of a digest: it does not lead back to the key.
    mark: String,
}

/// A value that no browser would keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the sealed value has {0} bytes and a cookie at most {MAX_COOKIE_BYTES}: let the provider put less into its tokens"
)]
pub(super) struct TooLarge(usize);

impl SealingKey {
    fn of_all<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Vec<Self> {
        secrets.into_iter().map(Self::of).collect()
    }

    fn of(secret: &[u8]) -> Self {
        let digest = Sha256::new()
            .chain_update(b"portcullis cookie key")
            .chain_update(secret)
            .finalize();
        let mut mark = hex::encode(digest);
        mark.truncate(MARK_DIGITS);
        Self {
            key: Key::derive_from(secret),
            mark,
        }
    }
}

impl CookieSealer {
    /// Seals with the first of these secrets and opens with all of them, so that a new one can
    /// replace an old one.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let keys = Arc::new(ArcSwap::from_pointee(SealingKey::of_all(secrets)));
        Self {
            keys,
            names: CookieNames::default(),
        }
    }

    /// Replaces the secrets of this sealer and its clones.
    pub fn replace_keys<'a>(&self, secrets: impl IntoIterator<Item = &'a [u8]>) {
        self.keys.store(Arc::new(SealingKey::of_all(secrets)));
    }

    /// The same, for cookies of these names.
    #[must_use]
    pub fn with_names(self, names: CookieNames) -> Self {
        Self { names, ..self }
    }

    /// Returns whether a cookie of this name is for the dashboard alone.
    pub(super) fn owns(&self, name: &[u8]) -> bool {
        self.names.own(name)
    }

    /// Seals a value under the name of its cookie.
    pub fn seal(&self, name: &str, value: &impl Serialize) -> String {
        let text = serde_json::to_string(value).unwrap_or_default();
        let keys = self.keys.load();
        let Some(SealingKey { key, mark }) = keys.first() else {
            return String::new();
        };
        let mut jar = CookieJar::new();
        jar.private_mut(key).add(Cookie::new(name.to_owned(), text));
        let sealed = jar.get(name).map(Cookie::value).unwrap_or_default();
        format!("{sealed}.{mark}")
    }

    /// Opens what was sealed under this name by any of the secrets. `None` if it was not, or was
    /// changed since, its mark included.
    pub fn open<T: DeserializeOwned>(&self, name: &str, value: &str) -> Option<T> {
        let (sealed, mark) = value.rsplit_once('.')?;
        let jar = CookieJar::new();
        let open = |key: &SealingKey| {
            jar.private(&key.key)
                .decrypt(Cookie::new(name.to_owned(), sealed.to_owned()))
        };
        let keys = self.keys.load();
        let opened = keys.iter().filter(|key| key.mark == mark).find_map(open)?;
        serde_json::from_str(opened.value()).ok()
    }

    fn opens(&self, name: &str, sealed: &str) -> bool {
        self.open::<IgnoredAny>(name, sealed).is_some()
    }

    /// Returns whether a value that does not open is another dashboard's: it has the shape of a
    /// sealed value, and no mark of a key that this dashboard has.
    fn is_of_another(&self, value: &str) -> bool {
        let Some((sealed, mark)) = value.rsplit_once('.') else {
            return false;
        };
        let is_mark =
            mark.len() == MARK_DIGITS && mark.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_ours = self.keys.load().iter().any(|key| key.mark == mark);
        is_mark && !is_ours && sealed.len() >= MIN_SEALED_CHARS && STANDARD.decode(sealed).is_ok()
    }

    /// What the cookies say of a session.
    ///
    /// Where several cookies open, those that were written last count: an earlier prefix of the
    /// site may have left others.
    pub(super) fn session(&self, cookies: &RequestCookies<'_>, site: &Site) -> PresentedSession {
        if cookies.is_empty() {
            return PresentedSession::default();
        }

        let mut is_unreadable = false;
        let mut read = |names: &[String]| -> Vec<SessionToken> {
            let mut tokens = Vec::new();
            for name in names {
                for value in cookies.values(name) {
                    match self.open(name, value) {
                        Some(token) => tokens.push(token),
                        None => is_unreadable = true,
                    }
                }
            }
            tokens
        };

        let [access, refresh] = self.names.of_session(site);
        let (access, refresh) = (read(access), read(refresh));

        let Some(lead) = newest(access.iter().chain(&refresh)) else {
            let mut others = self.names.of_session_in_other_forms(site);
            return PresentedSession {
                is_unreadable: is_unreadable
                    || others.any(|name| cookies.values(name).next().is_some()),
                ..PresentedSession::default()
            };
        };
        let place_of_same = |tokens: &[SessionToken]| {
            let same = newest(tokens.iter().filter(|token| token.is_of_same_session(lead)))?;
            tokens.iter().position(|token| ptr::eq(token, same))
        };

        let (access_at, refresh_at) = (place_of_same(&access), place_of_same(&refresh));
        let taken =
            |mut tokens: Vec<SessionToken>, at: Option<usize>| at.map(|at| tokens.swap_remove(at));
        let (access, refresh) = (taken(access, access_at), taken(refresh, refresh_at));

        PresentedSession {
            access,
            refresh,
            is_unreadable: false,
        }
    }

    /// The cookies of a session, beside those that the browser has. An empty refresh token makes
    /// none, and ends the one that was there. `now` is the time since the Unix epoch.
    pub(super) fn of_session(
        &self,
        session: &Session,
        cookies: &RequestCookies<'_>,
        site: &Site,
        now: Duration,
    ) -> Result<Vec<HeaderValue>, TooLarge> {
        let written_at = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let [access_name, refresh_name] = CookieKind::SESSION
            .map(|kind| self.name_to_write(kind, &CookieKind::SESSION, cookies, site));
        let life = session.claims().expires_at.saturating_sub(now.as_secs()) + GRACE_SECONDS;
        let access = self.sealed(
            access_name,
            &SessionToken::access_of(session, written_at),
            site,
            life,
        )?;
        let refresh = match SessionToken::refresh_of(session, written_at) {
            None => deletion(refresh_name, site),
            Some(token) => self.refresh_cookie(refresh_name, &token, site),
        };

        Ok(vec![access, refresh])
    }

    /// One that no browser would keep is left out: the session then ends with its access token.
    fn refresh_cookie(&self, name: String, token: &SessionToken, site: &Site) -> HeaderValue {
        self.sealed(name.clone(), token, site, REFRESH_SECONDS).unwrap_or_else(|large| {
            tracing::warn!(provider = token.provider(), %large, "a session that cannot be refreshed");
            deletion(name, site)
        })
    }

    /// The whole name under which a cookie is written. The one with the port, if another dashboard
    /// has taken one of `family` or this dashboard wrote one of them so before; else the plain one.
    pub(super) fn name_to_write(
        &self,
        kind: CookieKind,
        family: &[CookieKind],
        cookies: &RequestCookies<'_>,
        site: &Site,
    ) -> String {
        let form = form_of(site);
        let whole = |name: String| format!("{form}{name}");
        let is_taken = |kind: &CookieKind| {
            let plain = whole(self.names.plain(*kind));
            cookies
                .values(&plain)
                .any(|value| !self.opens(&plain, value) && self.is_of_another(value))
        };
        let has_port = |kind: &CookieKind| {
            let name = self.names.with_port(*kind).map(whole);
            name.is_some_and(|name| cookies.values(&name).any(|value| self.opens(&name, value)))
        };
        let with_port = self
            .names
            .with_port(kind)
            .filter(|_| family.iter().any(|kind| is_taken(kind) || has_port(kind)));

        whole(with_port.unwrap_or_else(|| self.names.plain(kind)))
    }

    /// The first cookie of this kind that opens.
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        kind: CookieKind,
        cookies: &RequestCookies<'_>,
        site: &Site,
    ) -> Option<T> {
        self.names.all(kind).find_map(|name| {
            let name = format!("{}{name}", form_of(site));
            cookies
                .values(&name)
                .find_map(|value| self.open(&name, value))
        })
    }

    /// The start of the names of the sign-ins under way. A hash of the state follows.
    pub(super) fn plain_sign_in_name(&self, site: &Site) -> String {
        format!("{}{}", form_of(site), self.names.plain(CookieKind::SignIn))
    }

    /// Makes a cookie with a sealed value, under its whole name, with a life in seconds.
    pub(super) fn sealed(
        &self,
        name: String,
        value: &impl Serialize,
        site: &Site,
        seconds: u64,
    ) -> Result<HeaderValue, TooLarge> {
        let sealed = self.seal(&name, value);
        let bytes = name.len() + sealed.len();
        if bytes > MAX_COOKIE_BYTES {
            return Err(TooLarge(bytes));
        }
        Ok(set_cookie(name, sealed, path_of(site), site.https, seconds))
    }

    /// The end of a session, for the browser: under every form of each name, on every path to the
    /// site. Cookies of another dashboard on the same host are left alone.
    pub(super) fn session_deletions(
        &self,
        cookies: &RequestCookies<'_>,
        site: &Site,
    ) -> Vec<HeaderValue> {
        let plain = CookieKind::SESSION
            .into_iter()
            .map(|kind| self.names.plain(kind));
        let with_port = CookieKind::SESSION
            .into_iter()
            .filter_map(|kind| self.names.with_port(kind));
        let is_sent = |name: &String| {
            FORMS
                .iter()
                .any(|form| cookies.values(&format!("{form}{name}")).next().is_some())
        };

        plain
            .chain(with_port.filter(is_sent))
            .flat_map(|name| self.deletions(&name, cookies, site))
            .collect()
    }

    fn deletions(&self, name: &str, cookies: &RequestCookies<'_>, site: &Site) -> Vec<HeaderValue> {
        let (mut has_own, mut has_another) = (false, false);

        for form in FORMS {
            let name = format!("{form}{name}");
            for value in cookies.values(&name) {
                match self.opens(&name, value) {
                    true => has_own = true,
                    false => has_another |= self.is_of_another(value),
                }
            }
        }

        match (has_own, has_another) {
            (_, false) => deletions_everywhere(name, site),
            // A request does not say on which path a cookie lies. This one is where this dashboard
            // writes.
            (true, true) => vec![deletion(format!("{}{name}", form_of(site)), site)],
            (false, true) => Vec::new(),
        }
    }
}

/// The one that was written last; of several, the first, since browsers send the longest path first
/// (RFC 6265, section 5.4).
fn newest<'a>(tokens: impl Iterator<Item = &'a SessionToken>) -> Option<&'a SessionToken> {
    tokens.reduce(|newest, token| {
        if token.written_at() > newest.written_at() {
            token
        } else {
            newest
        }
    })
}

/// A deletion carries the same attributes as the cookie, or it deletes nothing.
pub(super) fn deletion(name: String, site: &Site) -> HeaderValue {
    set_cookie(name, String::new(), path_of(site), site.https, 0)
}

/// The end of a cookie under every form of its name, on every path to the site.
fn deletions_everywhere(name: &str, site: &Site) -> Vec<HeaderValue> {
    let mut deletions = Vec::new();
    for form in FORMS {
        for path in paths_to(site)
            .into_iter()
            .filter(|path| form != HOST || *path == "/")
        {
            let is_secure = site.https || !form.is_empty();
            deletions.push(set_cookie(
                format!("{form}{name}"),
                String::new(),
                path,
                is_secure,
                0,
            ));
        }
    }

    deletions
}

fn set_cookie(
    name: String,
    value: String,
    path: &str,
    is_secure: bool,
    seconds: u64,
) -> HeaderValue {
    let seconds = cookie::time::Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
    let cookie = Cookie::build((name, value))
        .path(path)
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(is_secure)
        .max_age(seconds);

    HeaderValue::try_from(cookie.to_string())
        .expect("names, base64 and a checked path are visible ASCII")
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
    use axum::http::header::COOKIE;
    use portcullis_auth::{ProviderName, Registered, SessionClaims};
    use zeroize::Zeroizing;

    const NOW: Duration = Duration::from_secs(1_000_000_000);
    const LATER: Duration = Duration::from_secs(1_000_000_001);
    const OLD_KEY: &[u8] = b"an old key of thirty-two bytes!!";
    const NEW_KEY: &[u8] = b"another key of thirty-two bytes!";

    fn session(access: &str, refresh: &str) -> Session {
        let claims = SessionClaims {
            user_id: "ada".into(),
            email: String::new(),
            display_name: String::new(),
            org_id: String::new(),
            expires_at: NOW.as_secs() + 60,
            access_token: Zeroizing::new(access.into()),
            refresh_token: Zeroizing::new(refresh.into()),
            groups: Vec::new(),
        };
        let registered = Registered::new(ProviderName::new("basic").unwrap(), [].into());
        Session::open(
            &registered,
            NOW.as_secs(),
            claims.checked(NOW.as_secs()).unwrap(),
        )
        .unwrap()
    }

    fn sealer(keys: &[&[u8]]) -> CookieSealer {
        CookieSealer::new(keys.iter().copied())
            .with_names(CookieNames::new("hermes_session", Some(9119)))
    }

    /// Cookies as a browser sends them back.
    fn sent(cookies: &[HeaderValue]) -> HeaderMap {
        let pair = |cookie: &HeaderValue| {
            cookie
                .to_str()
                .unwrap()
                .split(';')
                .next()
                .unwrap()
                .to_owned()
        };
        line(&cookies.iter().map(pair).collect::<Vec<_>>().join("; "))
    }

    fn line(text: &str) -> HeaderMap {
        [(COOKIE, text.parse().unwrap())].into_iter().collect()
    }

    fn made(
        sealer: &CookieSealer,
        session: &Session,
        site: &Site,
        now: Duration,
    ) -> Vec<HeaderValue> {
        sealer
            .of_session(session, &RequestCookies::of(&HeaderMap::new()), site, now)
            .unwrap()
    }

    fn read(sealer: &CookieSealer, headers: &HeaderMap, site: &Site) -> PresentedSession {
        sealer.session(&RequestCookies::of(headers), site)
    }

    fn access(presented: &PresentedSession) -> Option<&str> {
        presented.access.as_ref().map(SessionToken::expose)
    }

    fn name_of(cookie: &HeaderValue) -> &str {
        cookie.to_str().unwrap().split('=').next().unwrap()
    }

    #[test]
    fn session_comes_back_and_is_no_text_in_between() {
        let (sealer, site) = (sealer(&[OLD_KEY]), site(true, ""));
        let cookies = made(&sealer, &session("at-canary", "rt-canary"), &site, NOW);
        assert!(
            cookies
                .iter()
                .all(|cookie| !cookie.to_str().unwrap().contains("canary"))
        );
        let presented = read(&sealer, &sent(&cookies), &site);
        assert_eq!(access(&presented), Some("at-canary"));
        assert_eq!(presented.refresh.unwrap().expose(), "rt-canary");
        assert!(!presented.is_unreadable);
    }

    #[test]
    fn value_under_another_name_or_key_does_not_open() {
        let (old, site) = (sealer(&[OLD_KEY]), site(false, ""));
        let headers = sent(&made(&old, &session("at", "rt"), &site, NOW));
        let swapped = headers[COOKIE]
            .to_str()
            .unwrap()
            .replace("_at=", "_x=")
            .replace("_rt=", "_at=");
        let presented = read(&old, &line(&swapped), &site);
        assert!(presented.access.is_none() && presented.is_unreadable);
        assert!(read(&sealer(&[NEW_KEY]), &headers, &site).is_unreadable);
        let both = sealer(&[NEW_KEY, OLD_KEY]);
        assert!(
            read(&both, &headers, &site).access.is_some(),
            "the old key still opens"
        );
    }

    #[test]
    fn value_whose_mark_was_changed_does_not_open() {
        let (sealer, site) = (sealer(&[OLD_KEY]), site(false, ""));
        let headers = sent(&made(&sealer, &session("at", ""), &site, NOW));
        let cookies = headers[COOKIE].to_str().unwrap();
        let cookie = cookies.split("; ").next().unwrap();
        assert_eq!(access(&read(&sealer, &line(cookie), &site)), Some("at"));

        let (sealed, mark) = cookie.rsplit_once('.').unwrap();
        let last = cookie.len() - 1;
        let flipped = if mark.ends_with('0') { '1' } else { '0' };
        let changed = [
            sealed.to_owned(),
            format!("{sealed}."),
            format!("{sealed}.{}", "0".repeat(MARK_DIGITS)),
            format!("{}{flipped}", &cookie[..last]),
            format!("{cookie}x"),
        ];
        for cookie in changed {
            let presented = read(&sealer, &line(&cookie), &site);
            assert!(
                presented.access.is_none() && presented.is_unreadable,
                "{cookie}"
            );
        }
    }

    #[test]
    fn cookie_of_a_session_in_another_form_is_one_that_is_not_good() {
        let sealer = sealer(&[OLD_KEY]);
        for (https, prefix) in [(false, ""), (true, ""), (true, "/x")] {
            let site = site(https, prefix);
            for form in FORMS {
                for kind in ["at", "rt"] {
                    let cookie = format!("{form}hermes_session_{kind}=garbage");
                    assert!(
                        read(&sealer, &line(&cookie), &site).is_unreadable,
                        "{cookie}"
                    );
                }
            }
            let other = read(&sealer, &line("hermes_session_device=garbage"), &site);
            assert!(!other.is_unreadable);
        }
    }

    #[test]
    fn of_several_cookies_the_last_written_one_that_opens_counts() {
        let (sealer, site) = (sealer(&[OLD_KEY]), site(false, ""));
        let first = made(&sealer, &session("first", "first-rt"), &site, NOW);
        let second = made(&sealer, &session("second", "second-rt"), &site, LATER);
        let garbage = HeaderValue::from_static("hermes_session_at=garbage");
        for order in [[&first[0], &second[0]], [&second[0], &first[0]]] {
            let cookies = [
                order[0].clone(),
                garbage.clone(),
                order[1].clone(),
                first[1].clone(),
                second[1].clone(),
            ];
            let presented = read(&sealer, &sent(&cookies), &site);
            assert_eq!(access(&presented), Some("second"));
            assert_eq!(presented.refresh.unwrap().expose(), "second-rt");
        }
        let mixed = read(
            &sealer,
            &sent(&[first[0].clone(), second[1].clone()]),
            &site,
        );
        assert!(
            mixed.access.is_none() && mixed.refresh.is_some(),
            "no tokens of two sessions"
        );
    }

    #[test]
    fn cookies_of_others_may_be_anything() {
        let (sealer, site) = (sealer(&[OLD_KEY]), site(false, ""));
        let cookies = made(&sealer, &session("at", "rt"), &site, NOW);
        let line = [
            b"name=Jos\xc3\xa9; odd; ".as_slice(),
            sent(&cookies)[COOKIE].as_bytes(),
        ]
        .concat();
        let headers = [(COOKIE, HeaderValue::from_bytes(&line).unwrap())]
            .into_iter()
            .collect();
        assert!(read(&sealer, &headers, &site).access.is_some());
    }

    #[test]
    fn dashboards_on_one_host_leave_each_other_alone() {
        let (one, other, site) = (sealer(&[OLD_KEY]), sealer(&[NEW_KEY]), site(false, ""));
        let first = made(&one, &session("one", "rt"), &site, NOW);
        let jar = sent(&first);
        let cookies = RequestCookies::of(&jar);
        assert!(
            other.session_deletions(&cookies, &site).is_empty(),
            "not its own"
        );

        let second = other
            .of_session(&session("other", "rt"), &cookies, &site, LATER)
            .unwrap();
        assert_eq!(
            second.iter().map(name_of).collect::<Vec<_>>(),
            ["hermes_session_9119_at", "hermes_session_9119_rt"]
        );
        let jar = sent(&[first, second].concat());
        assert_eq!(access(&read(&one, &jar, &site)), Some("one"));
        assert_eq!(access(&read(&other, &jar, &site)), Some("other"));
        let deleted = other.session_deletions(&RequestCookies::of(&jar), &site);
        assert!(
            deleted
                .iter()
                .all(|cookie| name_of(cookie).contains("_9119_")),
            "{deleted:?}"
        );
    }

    #[test]
    fn changed_and_odd_values_are_deleted_under_every_form() {
        let (sealer, site) = (sealer(&[OLD_KEY]), site(true, "/a/b"));
        let headers = sent(&made(&sealer, &session("at", ""), &site, NOW)[..1]);
        let changed = headers[COOKIE]
            .to_str()
            .unwrap()
            .replacen("_at=", "_at=AAAA", 1);
        for text in [
            changed.as_str(),
            "__Secure-hermes_session_at=garbage",
            "hermes_session_at=",
        ] {
            let headers = line(text);
            let deleted = sealer.session_deletions(&RequestCookies::of(&headers), &site);
            let has = |name: &str, path: &str| {
                deleted.iter().any(|cookie| {
                    let cookie = cookie.to_str().unwrap();
                    cookie.starts_with(&format!("{name}=;"))
                        && cookie.contains(&format!("; Path={path}; Max-Age=0"))
                })
            };
            for path in ["/", "/a", "/a/b"] {
                assert!(
                    has("hermes_session_at", path) && has("__Secure-hermes_session_rt", path),
                    "{text} {path}"
                );
                assert_eq!(
                    has("__Host-hermes_session_at", path),
                    path == "/",
                    "{text} {path}"
                );
            }
        }
    }

    #[test]
    fn attributes_follow_the_site_and_deletions_carry_them_too() {
        let sealer = sealer(&[OLD_KEY]);
        for (https, prefix, start, end) in [
            (
                false,
                "",
                "hermes_session_at=",
                "; HttpOnly; SameSite=Lax; Path=/; Max-Age=",
            ),
            (
                true,
                "",
                "__Host-hermes_session_at=",
                "; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=",
            ),
            (
                true,
                "/agent",
                "__Secure-hermes_session_at=",
                "; HttpOnly; SameSite=Lax; Secure; Path=/agent; Max-Age=",
            ),
        ] {
            let site = site(https, prefix);
            let made = made(&sealer, &session("at", ""), &site, NOW);
            let deleted = sealer.session_deletions(&RequestCookies::of(&HeaderMap::new()), &site);
            let is_alike = |cookie: &HeaderValue| {
                let text = cookie.to_str().unwrap();
                text.starts_with(start) && text.contains(end)
            };
            assert!(
                is_alike(&made[0]) && deleted.iter().any(is_alike),
                "{made:?} {deleted:?}"
            );
            assert!(
                made[1].to_str().unwrap().ends_with("Max-Age=0"),
                "no refresh token, no cookie"
            );
        }
    }

    #[test]
    fn session_that_no_browser_would_keep_is_refused() {
        let sealer = sealer(&[OLD_KEY]);
        let empty = HeaderMap::new();
        let made = |bytes: usize| {
            let session = session(&"x".repeat(bytes), "");
            sealer.of_session(&session, &RequestCookies::of(&empty), &site(true, ""), NOW)
        };
        assert!(made(4096).is_err());
        assert!(made(2600).is_ok());
    }
}
