//! The names that the dashboard answers to, and the origins whose pages may change something here.

use super::authority::{Authority, Host, WebOrigin};
use super::site::Reached;
use std::collections::BTreeSet;

/// The names that the dashboard answers to. A page that was led here by a false DNS answer names
/// another.
#[derive(Clone, Debug)]
pub struct HostPolicy {
    /// A bind to every address answers to every name.
    any: bool,
    /// The bind host, and on loopback its other names.
    own: BTreeSet<Host>,
    /// Whether the bind host is a loopback name.
    is_local: bool,
    allowed: BTreeSet<Host>,
    public: Option<WebOrigin>,
}

impl HostPolicy {
    /// Accepts `names` beside the bind host. A bind to every address answers to every name.
    pub fn new(
        bind_host: &str,
        names: impl IntoIterator<Item = String>,
        public_origin: Option<String>,
    ) -> Self {
        let bind = Host::configured(bind_host);
        let (any, is_local) = (bind.is_unspecified(), bind.is_loopback());
        let mut own = BTreeSet::from([bind]);
        if is_local {
            own.extend(LOOPBACK.map(Host::configured));
        }

        let allowed = names
            .into_iter()
            .map(|name| Host::configured(&name))
            .collect();
        let public = public_origin.and_then(|origin| WebOrigin::parse(&origin));

        Self {
            any,
            own,
            is_local,
            allowed,
            public,
        }
    }

    /// Returns whether the dashboard answers to this `Host`. The port may be that of a proxy.
    pub(super) fn accepts(&self, authority: &Authority) -> bool {
        self.any || self.own.contains(&authority.host) || self.allowed.contains(&authority.host)
    }

    /// Returns the origin of a request that arrived at another host of the dashboard than the
    /// public one. All hosts are reached by the public one's scheme, at its port or at the scheme's
    /// own. Another port of a host may be another program's, which must not get a session handed
    /// over.
    pub(super) fn other_origin(&self, authority: &Authority) -> Option<WebOrigin> {
        let public = self.public.as_ref()?;
        if authority.host == public.host || !self.allowed.contains(&authority.host) {
            return None;
        }
        let origin = authority.clone().origin(public.https);
        (origin.has_default_port() || origin.port == public.port).then_some(origin)
    }

    /// Returns whether this is another host than the public one, on whichever port. Without
    /// `public_url`, no host is.
    pub(super) fn is_beside_the_public_one(&self, host: &Host) -> bool {
        self.public
            .as_ref()
            .is_some_and(|public| public.host != *host)
    }

    /// Returns whether a page of this origin may change something here: only a page of the
    /// dashboard's own site, which is the same scheme, host and port.
    pub(super) fn accepts_origin(&self, origin: &WebOrigin, reached: &Reached) -> bool {
        if let Some(public) = self
            .public
            .as_ref()
            .filter(|public| public.host == origin.host)
        {
            return public == origin;
        }
        let Some(authority) = &reached.authority else {
            return false;
        };
        if reached.https.is_some_and(|https| https != origin.https) {
            return false;
        }

        // On loopback, another port is another application.
        let is_same_machine =
            self.is_local && authority.host.is_loopback() && origin.host.is_loopback();
        let is_same_host = authority.host == origin.host || is_same_machine;

        // A trusted proxy that ends the browser's connection may put a `Host` of its own in place
        // of the browser's.
        let is_rewritten = reached.is_proxied
            && reached.https.is_some()
            && !self.allowed.contains(&authority.host)
            && self.allowed.contains(&origin.host)
            && origin.has_default_port();

        is_same_host && authority.has_port_of(origin) || is_rewritten
    }
}

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::web) const PUBLIC: &str = "https://agent.example.com";

    pub(in crate::web) fn policy(bind: &str) -> HostPolicy {
        let names = ["agent.example.com".into(), "Agent.Tailnet.example.".into()];
        HostPolicy::new(bind, names, Some(PUBLIC.to_owned()))
    }

    #[test]
    fn other_hosts_are_those_of_the_settings_besides_the_public_one() {
        let other = |bind: &str, host: &str| {
            let origin = policy(bind).other_origin(&Authority::parse(host).unwrap());
            origin.map(|origin| origin.to_string())
        };
        let tailnet = "https://agent.tailnet.example";
        for bind in ["127.0.0.1", "0.0.0.0"] {
            assert_eq!(
                other(bind, "agent.tailnet.example").as_deref(),
                Some(tailnet)
            );
            let with_port = other(bind, "AGENT.tailnet.example:8443");
            assert_eq!(with_port, None, "another port may be another program's");
            for host in [
                "agent.example.com",
                "agent.example.com:8443",
                "127.0.0.1:9119",
                "evil.example",
            ] {
                assert_eq!(other(bind, host), None, "{host}");
            }
        }
        let without = HostPolicy::new("127.0.0.1", ["a.example".to_owned()], None);
        assert!(
            without
                .other_origin(&Authority::parse("a.example").unwrap())
                .is_none()
        );
    }

    #[test]
    fn every_host_but_the_public_one_is_beside_it() {
        let is_beside =
            |host: &str| policy("127.0.0.1").is_beside_the_public_one(&Host::configured(host));
        for host in ["agent.tailnet.example", "127.0.0.1", "other.example"] {
            assert!(is_beside(host), "{host}");
        }
        assert!(!is_beside("Agent.example.com."));

        let without = HostPolicy::new("127.0.0.1", ["a.example".to_owned()], None);
        assert!(!without.is_beside_the_public_one(&Host::configured("a.example")));
    }

    #[test]
    fn scheme_that_a_trusted_proxy_says_must_be_the_origins() {
        let accepts = |https, is_proxied, host: &str, origin: &str| {
            let reached = Reached {
                authority: Authority::parse(host),
                https,
                is_proxied,
            };
            policy("127.0.0.1").accepts_origin(&WebOrigin::parse(origin).unwrap(), &reached)
        };
        let (name, https, http) = (
            "agent.tailnet.example",
            "https://agent.tailnet.example",
            "http://agent.tailnet.example",
        );
        assert!(accepts(Some(true), true, name, https) && !accepts(Some(true), true, name, http));
        assert!(accepts(Some(false), true, name, http) && !accepts(Some(false), true, name, https));
        assert!(accepts(None, false, name, https) && accepts(None, false, name, http));
        // A proxy that rewrites `Host`: the allowed name at the default port of the scheme, if the
        // scheme is known.
        let inner = "127.0.0.1:9119";
        assert!(accepts(Some(true), true, inner, https));
        assert!(!accepts(Some(true), true, inner, http));
        assert!(!accepts(
            Some(true),
            true,
            inner,
            "https://agent.tailnet.example:8443"
        ));
        assert!(!accepts(Some(true), true, inner, "https://other.example"));
        assert!(!accepts(None, true, inner, https));
        assert!(!accepts(Some(false), false, inner, http));
        assert!(
            !accepts(Some(false), true, inner, "http://agent.example.com"),
            "public_url says https"
        );
    }
}
