//! The settings: `portal_url` and `client_id`.

use portcullis_guest::Host;
use sha2::{Digest, Sha256};

const SETTINGS: &[&str] = &["portal_url", "client_id"];
/// What every client of the portal is named after.
const CLIENT_PREFIX: &str = "agent:";
/// Longest setting, in bytes.
const MAX_BYTES: usize = 256;

pub(crate) struct Settings {
    /// The portal's address without a slash at its end. Its tokens have it as `iss`.
    pub(crate) portal_url: String,
    /// `agent:` and the identifier of this agent's instance. The portal's tokens have it as `aud`.
    pub(crate) client_id: String,
}

impl Settings {
    pub(crate) fn read(host: &dyn Host) -> Result<Self, String> {
        if let Some(unknown) = host
            .setting_names()
            .iter()
            .find(|name| !SETTINGS.contains(&name.as_str()))
        {
            return Err(format!(
                "unknown setting `{unknown}`: there are {}",
                SETTINGS.join(", ")
            ));
        }

        let portal_url = needed(host, "portal_url", "HERMES_DASHBOARD_PORTAL_URL")?;
        let portal_url = portal_url.trim_end_matches('/').to_owned();
        if !is_portal_url(&portal_url) {
            return Err(format!(
                "`portal_url` (HERMES_DASHBOARD_PORTAL_URL) must be an https address without user, query and fragment, \
                 or an http address of this machine: {portal_url:?} is none"
            ));
        }

        let client_id = needed(host, "client_id", "HERMES_DASHBOARD_OAUTH_CLIENT_ID")?;
        let is_client = client_id.strip_prefix(CLIENT_PREFIX).is_some_and(is_plain);
        if !is_client {
            return Err(format!(
                "`client_id` (HERMES_DASHBOARD_OAUTH_CLIENT_ID) must be `{CLIENT_PREFIX}` and the identifier of the \
                 agent's instance, as the portal hands it out: {client_id:?} is not"
            ));
        }

        Ok(Self {
            portal_url,
            client_id,
        })
    }

    /// The identifier of this agent's instance.
    pub(crate) fn instance(&self) -> &str {
        self.client_id
            .strip_prefix(CLIENT_PREFIX)
            .unwrap_or_default()
    }

    /// Changes with the portal and with the client, and ends the sessions of before.
    pub(crate) fn mark(&self) -> String {
        let said = format!("{:?}", (&self.portal_url, &self.client_id));
        hex::encode(&Sha256::digest(said)[..8])
    }
}

fn needed(host: &dyn Host, name: &str, variable: &str) -> Result<String, String> {
    let value = host
        .setting(name)
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty());
    value.ok_or_else(|| {
        format!("`{name}` is missing: set it, or the environment variable {variable}")
    })
}

/// A plain address: over TLS, or on this machine, where no network carries it.
fn is_portal_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let is_address =
        is_plain(url) && !authority.is_empty() && !rest.contains(['@', '?', '#', '\\']);
    match scheme {
        "https" => is_address,
        "http" => is_address && is_loopback(authority),
        _ => false,
    }
}

fn is_loopback(authority: &str) -> bool {
    if let Some(rest) = authority.strip_prefix("[::1]") {
        return rest.is_empty() || rest.starts_with(':');
    }
    let host = authority.split(':').next().unwrap_or_default();
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback())
}

fn is_plain(text: &str) -> bool {
    (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockHost;

    fn host(portal_url: &str, client_id: &str) -> MockHost {
        MockHost::default()
            .with_setting("portal_url", portal_url)
            .with_setting("client_id", client_id)
    }

    #[test]
    fn settings_are_read_without_a_slash_at_the_end() {
        let settings = Settings::read(&host("https://portal.test/", "agent:7-a")).unwrap();
        assert_eq!(
            (settings.portal_url.as_str(), settings.instance()),
            ("https://portal.test", "7-a")
        );
        for url in [
            "http://127.0.0.1:8080",
            "http://127.8.0.1",
            "http://localhost:1",
            "http://[::1]:9",
            "https://a.test/staging",
        ] {
            assert!(Settings::read(&host(url, "agent:7")).is_ok(), "{url}");
        }
    }

    #[test]
    fn missing_settings_are_named_with_their_variables() {
        let complaint = |host: &MockHost| Settings::read(host).err().expect("a complaint");
        let none = complaint(&MockHost::default());
        assert!(
            none.contains("`portal_url`") && none.contains("HERMES_DASHBOARD_PORTAL_URL"),
            "{none}"
        );
        let half = complaint(&host("https://portal.test", " "));
        assert!(
            half.contains("`client_id`") && half.contains("HERMES_DASHBOARD_OAUTH_CLIENT_ID"),
            "{half}"
        );
        let more = complaint(&host("https://portal.test", "agent:7").with_setting("scope", "all"));
        assert!(more.starts_with("unknown setting `scope`"), "{more}");
    }

    #[test]
    fn settings_that_are_no_address_or_no_client_are_refused() {
        for url in [
            "portal.test",
            "ftp://portal.test",
            "http://portal.test",
            "http://localhost.portal.test",
            "http://127.0.0.1.portal.test",
            "http://127.0.0.1@portal.test",
            "https://",
            "https://portal.test?x",
            "https://portal.test#x",
            "https://portal test",
        ] {
            let complaint = Settings::read(&host(url, "agent:7")).err().expect(url);
            assert!(complaint.starts_with("`portal_url`"), "{complaint}");
        }
        for client in ["7", "agent:", "agent: 7", "Agent:7", "agent:\u{e9}"] {
            let complaint = Settings::read(&host("https://portal.test", client))
                .err()
                .expect(client);
            assert!(complaint.starts_with("`client_id`"), "{complaint}");
        }
    }
}
