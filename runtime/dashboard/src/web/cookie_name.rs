//! What the cookies of one dashboard are called, and on which paths they may lie.

use super::site::Site;

/// The prefix of the cookies' names where none is configured.
pub const DEFAULT_COOKIE_NAME: &str = "hermes_session";

/// The forms of a cookie's name. `__Host-` and `__Secure-` are promises that browsers hold a cookie
/// to (RFC 6265bis, section 4.1.3).
pub(super) const FORMS: [&str; 3] = ["", HOST, SECURE];
/// A cookie of this form has the path `/`.
pub(super) const HOST: &str = "__Host-";
const SECURE: &str = "__Secure-";

/// Parent paths on which a cookie of an earlier prefix is looked for.
const MAX_PARENTS: usize = 6;

/// What a cookie is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CookieKind {
    /// The access token of a session.
    Access,
    /// The refresh token of a session.
    Refresh,
    /// A sign-in under way. Its name also carries a hash of the state.
    SignIn,
    /// The accounts that were signed in to in this browser with a password.
    Device,
    /// What a browser keeps at a host to which sessions are handed over.
    Handover,
    /// The name of a person who was just refused in this browser.
    Refused,
}

impl CookieKind {
    /// The two cookies of a session.
    pub(super) const SESSION: [Self; 2] = [Self::Access, Self::Refresh];

    fn ending(self) -> &'static str {
        match self {
            Self::Access => "at",
            Self::Refresh => "rt",
            Self::SignIn => "pkce",
            Self::Device => "device",
            Self::Handover => "handover",
            Self::Refused => "refused",
        }
    }
}

/// The names of one dashboard's cookies, without their form.
///
/// A browser keeps one jar per host name for all ports (RFC 6265, section 8.5), so the cookies of
/// two dashboards on one host meet there. Each cookie therefore has two names. The dashboard writes
/// the plain one, and the one with its port where another dashboard has taken the plain one. It
/// reads both.
#[derive(Clone, Debug)]
pub struct CookieNames {
    prefix: String,
    port: Option<u16>,
    /// For each of [`FORMS`], the whole names of both cookies of a session, which every request of
    /// a session is searched for.
    of_sessions: [[Vec<String>; 2]; 3],
}

impl Default for CookieNames {
    fn default() -> Self {
        Self::new(DEFAULT_COOKIE_NAME, None)
    }
}

impl CookieNames {
    /// Names with this prefix, for a dashboard on this port. Without a port there is one name per
    /// cookie.
    pub fn new(prefix: impl Into<String>, port: Option<u16>) -> Self {
        let bare = Self {
            prefix: prefix.into(),
            port,
            of_sessions: [(); 3].map(|()| [Vec::new(), Vec::new()]),
        };
        let of_sessions = FORMS.map(|form| {
            CookieKind::SESSION
                .map(|kind| bare.all(kind).map(|name| format!("{form}{name}")).collect())
        });

        Self {
            of_sessions,
            ..bare
        }
    }

    /// The whole names of both cookies of a session at a site, the plain one first.
    pub(super) fn of_session(&self, site: &Site) -> &[Vec<String>; 2] {
        let [bare, host, secure] = &self.of_sessions;
        match form_of(site) {
            HOST => host,
            SECURE => secure,
            _ => bare,
        }
    }

    /// The same in the forms that names do not take at this site: a browser may still have a cookie
    /// from the time before the site was moved to https, or to another prefix.
    pub(super) fn of_session_in_other_forms(&self, site: &Site) -> impl Iterator<Item = &String> {
        let here = form_of(site);
        FORMS
            .iter()
            .zip(&self.of_sessions)
            .filter(move |(form, _)| **form != here)
            .flat_map(|(_, names)| names.iter().flatten())
    }

    pub(super) fn plain(&self, kind: CookieKind) -> String {
        format!("{}_{}", self.prefix, kind.ending())
    }

    pub(super) fn with_port(&self, kind: CookieKind) -> Option<String> {
        self.port
            .map(|port| format!("{}_{port}_{}", self.prefix, kind.ending()))
    }

    /// Returns whether a cookie of this whole name is one of this dashboard's, or of another one on
    /// the same host. Browsers read the prefixes in any case (RFC 6265bis, section 4.1.3).
    pub(super) fn own(&self, name: &[u8]) -> bool {
        let after = |form: &str| {
            let (start, rest) = name.split_at_checked(form.len())?;
            start.eq_ignore_ascii_case(form.as_bytes()).then_some(rest)
        };
        let is_own = |rest: &[u8]| {
            rest.strip_prefix(self.prefix.as_bytes())
                .is_some_and(|rest| rest.starts_with(b"_"))
        };
        FORMS.iter().filter_map(|form| after(form)).any(is_own)
    }

    /// Both names, the plain one first.
    pub(super) fn all(&self, kind: CookieKind) -> impl Iterator<Item = String> {
        [Some(self.plain(kind)), self.with_port(kind)]
            .into_iter()
            .flatten()
    }
}

/// The form that names take at this site.
pub(super) fn form_of(site: &Site) -> &'static str {
    match (site.https, site.prefix.is_empty()) {
        (false, _) => "",
        (true, true) => HOST,
        (true, false) => SECURE,
    }
}

/// The path that cookies have at this site.
pub(super) fn path_of(site: &Site) -> &str {
    if site.prefix.is_empty() {
        "/"
    } else {
        &site.prefix
    }
}

/// The site's own path, `/`, and every path between them. A cookie of an earlier prefix lies on one
/// of these when a request to this site carries it.
pub(super) fn paths_to(site: &Site) -> Vec<&str> {
    let prefix = site.prefix.as_str();
    if prefix.is_empty() {
        return vec!["/"];
    }
    let parents = prefix.match_indices('/').map(|(end, _)| &prefix[..end]);
    let between = parents
        .filter(|parent| !parent.is_empty())
        .take(MAX_PARENTS);
    [prefix, "/"].into_iter().chain(between).collect()
}

#[cfg(test)]
mod tests {
    use super::super::site::tests::site;
    use super::*;

    #[test]
    fn names_carry_the_prefix_and_perhaps_the_port() {
        let names = |names: CookieNames| names.all(CookieKind::Access).collect::<Vec<_>>();
        assert_eq!(names(CookieNames::default()), ["hermes_session_at"]);
        assert_eq!(
            names(CookieNames::new("agent", Some(9119))),
            ["agent_at", "agent_9119_at"]
        );
    }

    #[test]
    fn names_of_a_session_have_the_form_of_the_site() {
        let names = CookieNames::new("agent", Some(9119));
        for (site, form) in [
            (site(false, "/x"), ""),
            (site(true, ""), HOST),
            (site(true, "/x"), SECURE),
        ] {
            assert_eq!(form_of(&site), form);
            let [access, refresh] = names.of_session(&site);
            assert_eq!(
                *access,
                [format!("{form}agent_at"), format!("{form}agent_9119_at")]
            );
            assert_eq!(
                *refresh,
                [format!("{form}agent_rt"), format!("{form}agent_9119_rt")]
            );
        }
    }

    #[test]
    fn every_form_of_a_name_is_own() {
        let names = CookieNames::new("agent", Some(9119));
        for name in [
            "agent_at",
            "__Host-agent_rt",
            "__SECURE-agent_at",
            "agent_9120_at",
            "__Host-agent_pkce_1f",
        ] {
            assert!(names.own(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "agent",
            "agents_at",
            "AGENT_at",
            "x_agent_at",
            "__Host-other_at",
            "__Host-",
        ] {
            assert!(!names.own(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn paths_are_the_site_and_its_parents() {
        assert_eq!(paths_to(&site(false, "")), ["/"]);
        assert_eq!(paths_to(&site(false, "/agent")), ["/agent", "/"]);
        assert_eq!(
            paths_to(&site(true, "/a/b/c")),
            ["/a/b/c", "/", "/a", "/a/b"]
        );
        assert!(paths_to(&site(true, &"/x".repeat(100))).len() <= 2 + MAX_PARENTS);
    }
}
