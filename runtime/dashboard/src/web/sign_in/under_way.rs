//! Sign-ins at an identity provider that are under way: each in a sealed cookie of its own, named
//! after its state. Tabs do not overwrite each other's.

use super::super::request_cookies::RequestCookies;
use super::super::session_cookie::{CookieSealer, TooLarge, deletion};
use super::super::site::Site;
use super::handover::Errand;
use axum::http::HeaderValue;
use portcullis_auth::{SecretDigest, safe_target};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Seconds for which a sign-in may be under way.
pub(super) const SIGN_IN_SECONDS: u64 = 600;
/// Sign-ins under way in one browser. One more drops the oldest.
const MAX_UNDER_WAY: usize = 5;
/// Largest cookie of a sign-in, in bytes. Proxies in their default configuration take 4 KiB for all
/// headers of an answer.
const MAX_COOKIE_BYTES: usize = 2048;
/// Longest target in a cookie that has to be shortened, in bytes.
const MAX_SHORT_TARGET_BYTES: usize = 512;
/// Hex digits of a state's digest in its cookie's name.
const NAME_DIGITS: usize = 16;

/// What the host keeps of a sign-in that is under way: in the browser, sealed.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct UnderWay {
    pub(super) provider: String,
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) code_verifier: String,
    pub(super) redirect_uri: String,
    pub(super) next: String,
    /// The host to which the session is handed over, if the sign-in began at another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) errand: Option<Errand>,
    /// Milliseconds since the Unix epoch.
    pub(super) began_at: u64,
    /// Seconds since the Unix epoch.
    pub(super) expires_at: u64,
}

/// The cookie of a sign-in that begins.
pub(super) struct Begun {
    /// The cookie, and the end of what it displaces.
    pub(super) cookies: Vec<HeaderValue>,
    /// Whether the cookie has the whole target.
    pub(super) has_target: bool,
}

impl UnderWay {
    /// The sign-in with this state, if this browser began it.
    pub(super) fn find(
        sealer: &CookieSealer,
        cookies: &RequestCookies<'_>,
        site: &Site,
        state: &str,
    ) -> Option<Self> {
        let name = name_of(sealer, site, state);
        let found: Self = cookies
            .values(&name)
            .find_map(|value| sealer.open(&name, value))?;
        SecretDigest::of(found.state.as_bytes())
            .matches(state.as_bytes())
            .then_some(found)
    }

    /// The cookie for a browser that has others.
    pub(super) fn begin(
        &self,
        sealer: &CookieSealer,
        cookies: &RequestCookies<'_>,
        site: &Site,
    ) -> Result<Begun, TooLarge> {
        let whole = self
            .cookie(sealer, site)
            .ok()
            .filter(|cookie| cookie.len() <= MAX_COOKIE_BYTES);
        let has_target = whole.is_some();
        let cookie = match whole {
            Some(cookie) => cookie,
            None => Self {
                next: shortened(&self.next).to_owned(),
                ..self.clone()
            }
            .cookie(sealer, site)?,
        };

        let mut cookies = displaced(sealer, cookies, site);
        cookies.push(cookie);

        Ok(Begun {
            cookies,
            has_target,
        })
    }

    fn cookie(&self, sealer: &CookieSealer, site: &Site) -> Result<HeaderValue, TooLarge> {
        sealer.sealed(
            name_of(sealer, site, &self.state),
            self,
            site,
            SIGN_IN_SECONDS,
        )
    }

    /// The end of the cookie, for the browser.
    pub(super) fn end(&self, sealer: &CookieSealer, site: &Site) -> HeaderValue {
        deletion(name_of(sealer, site, &self.state), site)
    }
}

/// Returns whether the browser has any sign-in under way.
pub(super) fn is_any(sealer: &CookieSealer, cookies: &RequestCookies<'_>, site: &Site) -> bool {
    !all(sealer, cookies, site).is_empty()
}

/// The end of every sign-in under way that this dashboard began in the browser, and of the one that
/// the original dashboard and earlier releases keep under a name without a state.
pub(super) fn end_all(
    sealer: &CookieSealer,
    cookies: &RequestCookies<'_>,
    site: &Site,
) -> Vec<HeaderValue> {
    let own = all(sealer, cookies, site)
        .into_iter()
        .filter(|(_, began_at)| began_at.is_some());
    let names = own
        .map(|(name, _)| name)
        .chain([sealer.plain_sign_in_name(site)]);
    names.map(|name| deletion(name, site)).collect()
}

/// The end of the oldest sign-ins, and of those that do not open, when there is no room for one
/// more.
fn displaced(sealer: &CookieSealer, cookies: &RequestCookies<'_>, site: &Site) -> Vec<HeaderValue> {
    let mut others = all(sealer, cookies, site);
    if others.len() < MAX_UNDER_WAY {
        return Vec::new();
    }
    // Those that do not open have no beginning, and come last. Browsers send the oldest first,
    // which decides between equals.
    others.reverse();
    others.sort_by_key(|(_, began_at)| std::cmp::Reverse(*began_at));
    let is_kept =
        |index: usize, began_at: Option<u64>| index + 1 < MAX_UNDER_WAY && began_at.is_some();
    let others = others.into_iter().enumerate();
    let dropped = others.filter(|(index, (_, began_at))| !is_kept(*index, *began_at));
    dropped.map(|(_, (name, _))| deletion(name, site)).collect()
}

/// The whole names of the browser's sign-ins under way, and when each began. `None`: it does not
/// open.
fn all(
    sealer: &CookieSealer,
    cookies: &RequestCookies<'_>,
    site: &Site,
) -> Vec<(String, Option<u64>)> {
    let start = format!("{}_", sealer.plain_sign_in_name(site));
    let is_name =
        |rest: &str| rest.len() == NAME_DIGITS && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let named = cookies
        .beginning_with(&start)
        .filter(|(rest, _)| is_name(rest));
    let read = |(rest, value): (&str, &str)| {
        let name = format!("{start}{rest}");
        let began_at = sealer
            .open::<UnderWay>(&name, value)
            .map(|under_way| under_way.began_at);
        (name, began_at)
    };

    named.map(read).collect()
}

fn name_of(sealer: &CookieSealer, site: &Site, state: &str) -> String {
    let mut digest = hex::encode(Sha256::digest(state.as_bytes()));
    digest.truncate(NAME_DIGITS);
    format!("{}_{digest}", sealer.plain_sign_in_name(site))
}

/// A target without its query, or `/`.
fn shortened(target: &str) -> &str {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    if path.len() <= MAX_SHORT_TARGET_BYTES {
        safe_target(path)
    } else {
        "/"
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::site::tests::site;
    use super::*;
    use axum::http::HeaderMap;
    use axum::http::header::COOKIE;

    fn sealer() -> CookieSealer {
        CookieSealer::new([b"a key of thirty-two bytes or more".as_slice()])
    }

    fn under_way(number: u64, next: &str) -> UnderWay {
        UnderWay {
            provider: "corp".into(),
            state: format!("state-{number}"),
            nonce: String::new(),
            code_verifier: String::new(),
            redirect_uri: String::new(),
            next: next.to_owned(),
            errand: None,
            began_at: number,
            expires_at: 0,
        }
    }

    /// The cookies of these sign-ins as a browser sends them, and one that does not open.
    fn sent(numbers: std::ops::Range<u64>, garbage: bool) -> HeaderMap {
        let pair = |number| {
            let cookie = under_way(number, "/")
                .cookie(&sealer(), &site(false, ""))
                .unwrap();
            cookie
                .to_str()
                .unwrap()
                .split(';')
                .next()
                .unwrap()
                .to_owned()
        };
        let odd = garbage.then(|| "hermes_session_pkce_0123456789abcdef=garbage".to_owned());
        let line = numbers.map(pair).chain(odd).collect::<Vec<_>>().join("; ");
        [(COOKIE, line.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn each_state_has_a_cookie_of_its_own() {
        let (headers, site) = (sent(0..3, true), site(false, ""));
        let cookies = RequestCookies::of(&headers);
        for number in 0..3 {
            let found = UnderWay::find(&sealer(), &cookies, &site, &format!("state-{number}"));
            assert_eq!(found.map(|found| found.began_at), Some(number));
        }
        assert!(UnderWay::find(&sealer(), &cookies, &site, "state-3").is_none());
        assert!(is_any(&sealer(), &cookies, &site));
        assert_eq!(
            end_all(&sealer(), &cookies, &site).len(),
            4,
            "of those that open, and the plain name"
        );
    }

    #[test]
    fn one_more_than_a_handful_drops_the_oldest() {
        let site = site(false, "");
        for (known, garbage, dropped) in [
            (4, false, 0),
            (4, true, 1),
            (5, false, 1),
            (5, true, 2),
            (7, false, 3),
        ] {
            let headers = sent(0..known, garbage);
            let begun = under_way(9, "/")
                .begin(&sealer(), &RequestCookies::of(&headers), &site)
                .unwrap();
            assert_eq!(begun.cookies.len(), dropped + 1, "{known} {garbage}");
            if !garbage && dropped > 0 {
                let oldest = under_way(0, "/").end(&sealer(), &site);
                assert!(begun.cookies.contains(&oldest), "{known}");
            }
        }
    }

    #[test]
    fn cookie_stays_small_whatever_the_target() {
        let (site, none) = (site(true, "/agent"), HeaderMap::new());
        let long = format!("/app?q={}", "x".repeat(8000));
        let deep = format!("/{}", "x".repeat(8000));
        for (next, whole, kept) in [
            ("/app?q=1", true, "/app?q=1"),
            (long.as_str(), false, "/app"),
            (deep.as_str(), false, "/"),
        ] {
            let begun = under_way(1, next)
                .begin(&sealer(), &RequestCookies::of(&none), &site)
                .unwrap();
            let cookie = begun.cookies[0].to_str().unwrap();
            assert!(cookie.len() <= MAX_COOKIE_BYTES, "{}", cookie.len());
            assert_eq!(begun.has_target, whole);
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            let opened: UnderWay = sealer().open(name, value).unwrap();
            assert_eq!(opened.next, kept);
        }
    }
}
