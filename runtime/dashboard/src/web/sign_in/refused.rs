//! The name of a person who was just refused, for the sign-in page.
//!
//! **Invariant:** the page shows it in the browser of the refusal alone, for [`SECONDS`]. People
//! choose their names, so in an address it would put a stranger's text on the page of others.

use super::super::cookie_name::CookieKind;
use super::super::request_cookies::RequestCookies;
use super::super::session_cookie::{CookieSealer, TooLarge};
use super::super::site::Site;
use super::now;
use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};

/// How long the name is shown, in seconds.
const SECONDS: u64 = 300;

/// Who was refused in a browser: in a cookie of it, sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct RefusedPerson {
    name: String,
    /// Seconds since the Unix epoch.
    ends_at: u64,
}

impl RefusedPerson {
    /// The person who is refused now.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ends_at: now() + SECONDS,
        }
    }

    /// The name of the person who was just refused in this browser.
    pub(super) fn name_in(
        sealer: &CookieSealer,
        cookies: &RequestCookies<'_>,
        site: &Site,
    ) -> Option<String> {
        let refused: Self = sealer.read(CookieKind::Refused, cookies, site)?;
        (refused.ends_at > now()).then_some(refused.name)
    }

    /// The cookie for a browser that has others.
    pub(super) fn cookie(
        &self,
        sealer: &CookieSealer,
        cookies: &RequestCookies<'_>,
        site: &Site,
    ) -> Result<HeaderValue, TooLarge> {
        let kind = CookieKind::Refused;
        let name = sealer.name_to_write(kind, &[kind], cookies, site);
        sealer.sealed(name, self, site, SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::site::tests::site;
    use super::*;
    use axum::http::HeaderMap;
    use axum::http::header::COOKIE;

    #[test]
    fn name_is_shown_for_its_time_and_no_longer() {
        let sealer = CookieSealer::new([b"a key of thirty-two bytes or more".as_slice()]);
        let (site, none) = (site(true, "/agent"), HeaderMap::new());
        let ada = RefusedPerson::new("ada");
        let late = RefusedPerson {
            ends_at: now(),
            ..RefusedPerson::new("ada")
        };
        for (refused, name) in [(ada, Some("ada")), (late, None)] {
            let cookie = refused
                .cookie(&sealer, &RequestCookies::of(&none), &site)
                .unwrap();
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let headers: HeaderMap = [(COOKIE, pair.parse().unwrap())].into_iter().collect();
            let found = RefusedPerson::name_in(&sealer, &RequestCookies::of(&headers), &site);
            assert_eq!(found.as_deref(), name);
        }
    }
}
