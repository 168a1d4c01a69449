//! `dashboard.tls` and `dashboard.redirect_http`.
//!
//! The files themselves are read at the start and at each renewal, apart from the other settings: a
//! certificate that cannot take over must not hold up a change of the providers.

use super::acme::read_acme;
use super::section::{Reader, Section};
use super::{PublicUrl, is_loopback_name};
use portcullis_net::acme::{AcmeSettings, CERTIFICATE_FILE, Challenge};
use portcullis_net::tls::{MinVersion, TlsSettings};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// What the dashboard's listener speaks, and where plain HTTP is redirected to it.
pub(super) struct Front {
    pub(super) tls: Option<TlsSettings>,
    /// The certificate that is ordered for `tls`. Its files have names relative to the home.
    pub(super) acme: Option<AcmeSettings>,
    pub(super) redirect_http: Option<SocketAddr>,
}

/// Reads both keys. A key without a value is a mistake: passwords would cross the network in the
/// clear.
pub(super) fn read_front(
    section: &mut Section,
    public_url: Option<&PublicUrl>,
    reader: &mut Reader<'_>,
) -> Front {
    let place = section.place_of("tls");
    let read = read_tls(section, reader);
    let (tls, acme) = read.map_or((None, None), |(tls, acme)| (Some(tls), acme));
    if let Some(place) = place
        && public_url.is_some_and(|url| !url.https)
    {
        let text = "`dashboard.public_url` is http, but with `dashboard.tls` people reach the dashboard by https";
        reader.mistakes.add(place, text);
    }
    if let (Some(place), Some(acme), Some(url)) = (place, &acme, public_url)
        && !acme.domains.contains(&url.host)
    {
        let text = format!(
            "`dashboard.tls.acme.domains` lacks {}, the host of `dashboard.public_url`: browsers will refuse the certificate",
            url.host
        );
        reader.findings.push((place, text));
    }

    let redirect_place = section
        .given("redirect_http")
        .filter(|given| !given.is_blank)
        .map(|given| given.place);
    let redirect_http = section.parsed("redirect_http", reader, listening_address);
    if let (Some(place), Some(acme), None) = (place, &acme, redirect_place)
        && acme.challenge == Challenge::Http01
    {
        let text = "`dashboard.tls.acme.challenge` is http-01, and without `dashboard.redirect_http` nothing answers it unless \
                    systemd hands over a socket for plain HTTP";
        reader.findings.push((place, text.to_owned()));
    }
    if let Some(redirect_place) = redirect_place
        && place.is_none()
    {
        let text = "`dashboard.redirect_http` needs `dashboard.tls`: there is no https to lead to";
        reader.mistakes.add(redirect_place, text);
    }

    Front {
        tls,
        acme,
        redirect_http,
    }
}

/// Returns whether a listener for plain HTTP would need the address and port of the dashboard's
/// own, which binds to `host`. Port 0 picks a free one.
pub(super) fn is_own_address(host: &str, port: u16, address: SocketAddr) -> bool {
    if port == 0 || address.port() != port {
        return false;
    }

    // `::` takes the addresses of IPv4 as well.
    let has = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    let other = address.ip();
    match host.parse::<IpAddr>() {
        Ok(own) => own == other || has(own, other) || has(other, own),
        Err(_) => other.is_unspecified() || is_loopback_name(host) && other.is_loopback(),
    }
}

fn read_tls(
    section: &mut Section,
    reader: &mut Reader<'_>,
) -> Option<(TlsSettings, Option<AcmeSettings>)> {
    let name = section.full("tls");
    let place = section.place_of("tls")?;
    let Some(node) = section.take("tls") else {
        let text = format!(
            "`{name}` has no value: give `certificate` and `key`, or `acme`, or remove the key"
        );
        reader.mistakes.add(place, text);
        return None;
    };

    let mut tls = Section::open(&name, node, reader);
    let orders = tls.place_of("acme").is_some();
    let acme = read_acme(&mut tls, reader);
    let files = read_files(&mut tls, orders, reader);
    let base = reader.base;
    let client_ca = tls.parsed("client_ca", reader, |text: &str| pem_file(text, base));
    let min_version = tls
        .parsed("min_version", reader, min_version)
        .unwrap_or_default();
    tls.finish(reader);

    let files = if orders {
        acme.as_ref().map(|_| ordered_files())
    } else {
        files
    };
    let (certificate, key) = files?;
    Some((
        TlsSettings {
            certificate,
            key,
            client_ca,
            min_version,
        },
        acme,
    ))
}

/// Reads the names of the files. Beside `acme` there must be none, since the certificate then
/// stands in the home.
fn read_files(
    tls: &mut Section,
    orders: bool,
    reader: &mut Reader<'_>,
) -> Option<(PathBuf, PathBuf)> {
    let base = reader.base;
    let file = |text: &str| pem_file(text, base);
    let place = tls.place_of("certificate").or_else(|| tls.place_of("key"));
    let certificate = tls.parsed("certificate", reader, file);
    let key = tls.parsed("key", reader, file);
    if orders {
        if let Some(place) = place {
            let name = &tls.name;
            let text = format!(
                "`{name}.acme` orders a certificate with a key of its own: remove `certificate` and `key`, or remove `acme`"
            );
            reader.mistakes.add(place, text);
        }
        return None;
    }

    let certificate = tls.require("certificate", certificate, reader);
    let key = tls.require("key", key, reader);
    let (certificate, key) = (certificate?, key?);
    reader.files.extend([certificate.clone(), key.clone()]);
    reader.secret_files.insert(key.clone());
    Some((certificate, key))
}

/// One file has both.
fn ordered_files() -> (PathBuf, PathBuf) {
    (CERTIFICATE_FILE.into(), CERTIFICATE_FILE.into())
}

fn pem_file(text: &str, base: &Path) -> Result<PathBuf, &'static str> {
    let is_path = !text.is_empty() && !text.contains(['\0', '\n']) && !text.contains("-----BEGIN");
    if is_path {
        Ok(base.join(text))
    } else {
        Err("must be the path of a PEM file")
    }
}

fn min_version(text: &str) -> Result<MinVersion, &'static str> {
    match text {
        "1.2" => Ok(MinVersion::Tls12),
        "1.3" => Ok(MinVersion::Tls13),
        _ => Err("must be \"1.2\" or \"1.3\""),
    }
}

fn listening_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no address and port like 0.0.0.0:80"))
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, load_text};
    use super::*;
    use portcullis_net::acme::{DirectoryUrl, ExternalAccount};

    #[test]
    fn plain_http_needs_an_address_of_its_own() {
        for (host, port, address, is_own) in [
            ("127.0.0.1", 443, "127.0.0.1:443", true),
            ("127.0.0.1", 443, "0.0.0.0:443", true),
            ("127.0.0.1", 443, "[::]:443", true),
            ("0.0.0.0", 443, "127.0.0.1:443", true),
            ("::", 443, "0.0.0.0:443", true),
            ("localhost", 443, "127.0.0.1:443", true),
            ("localhost", 443, "[::1]:443", true),
            ("agent.test", 443, "[::]:443", true),
            ("127.0.0.1", 443, "127.0.0.1:80", false),
            ("127.0.0.1", 443, "127.0.0.2:443", false),
            ("0.0.0.0", 443, "[::1]:443", false),
            ("localhost", 443, "192.0.2.1:443", false),
            ("127.0.0.1", 0, "127.0.0.1:0", false),
        ] {
            let found = is_own_address(host, port, address.parse().unwrap());
            assert_eq!(found, is_own, "{host} {port} {address}");
        }
    }

    fn read(text: &str) -> Result<super::super::DashboardConfig, String> {
        let file = Some("/home/portcullis.yaml".into());
        let config = load_text("/home".into(), file, text, Environment::default());
        config
            .map(|config| config.dashboard)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn files_stand_beside_the_configuration() {
        let text = "dashboard: {tls: {certificate: chain.pem, key: /keys/key.pem, min_version: '1.3'}, \
                    redirect_http: '[::]:80'}";
        let dashboard = read(text).unwrap();
        let expected = TlsSettings {
            certificate: "/home/chain.pem".into(),
            key: "/keys/key.pem".into(),
            client_ca: None,
            min_version: MinVersion::Tls13,
        };
        assert_eq!(dashboard.tls, Some(expected));
        assert_eq!(
            dashboard.redirect_http.map(|address| address.port()),
            Some(80)
        );
    }

    #[test]
    fn ordered_certificate_stands_in_the_home() {
        let dashboard = read("dashboard: {tls: {acme: {domains: [Agent.Example.com]}}}").unwrap();
        let tls = dashboard.tls.unwrap();
        assert_eq!(tls.certificate, PathBuf::from("/home/acme/certificate.pem"));
        assert_eq!(tls.key, tls.certificate);
        let expected = AcmeSettings {
            domains: vec!["agent.example.com".to_owned()],
            contact: Vec::new(),
            directory: DirectoryUrl::lets_encrypt(),
            ca: None,
            challenge: Challenge::default(),
            external_account: None,
        };
        assert_eq!(dashboard.acme, Some(expected));

        let ca =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/certificates/authority.pem");
        let text = format!(
            "dashboard: {{tls: {{min_version: '1.3', acme: {{domains: [a.example, b.example], \
             contact: ['mailto:ops@example.com'], directory: 'https://ca.example:9000/acme', ca: {{file: '{}'}}}}}}}}",
            ca.display()
        );
        let dashboard = read(&text).unwrap();
        assert_eq!(dashboard.tls.unwrap().min_version, MinVersion::Tls13);
        let acme = dashboard.acme.unwrap();
        assert_eq!(acme.domains, ["a.example", "b.example"]);
        assert_eq!(acme.contact, ["mailto:ops@example.com"]);
        assert_eq!(acme.directory.as_str(), "https://ca.example:9000/acme");
        assert_eq!(acme.ca.map(|ca| ca.certificates().len()), Some(1));

        let text =
            "dashboard: {tls: {acme: {domains: [a.example], eab: {kid: kid-1, hmac: c2VjcmV0LQ}}}}";
        let account = ExternalAccount::new("kid-1".to_owned(), "c2VjcmV0LQ").unwrap();
        assert_eq!(
            read(text).unwrap().acme.unwrap().external_account,
            Some(account)
        );
    }

    #[test]
    fn mistakes_in_acme_are_named() {
        let acme = |keys: &str| format!("dashboard: {{tls: {{acme: {{{keys}}}}}}}");
        let many: Vec<_> = (0..101)
            .map(|number| format!("d{number}.example"))
            .collect();
        let contacts = ["'mailto:a@b.example'"; 11].join(", ");
        for (text, complaint) in [
            (
                "dashboard: {tls: {acme: }}".to_owned(),
                "`dashboard.tls.acme` has no value",
            ),
            (
                "dashboard: {tls: {acme: true}}".to_owned(),
                "`dashboard.tls.acme` must be a map",
            ),
            (acme(""), "`dashboard.tls.acme.domains` is missing"),
            (acme("domains: "), "`dashboard.tls.acme.domains` is empty"),
            (acme("domains: []"), "`dashboard.tls.acme.domains` is empty"),
            (
                acme("domains: a.example"),
                "`dashboard.tls.acme.domains` must be a list",
            ),
            (acme("domains: ['*.example']"), "is a wildcard"),
            (acme("domains: ['192.0.2.1']"), "is an address"),
            (
                acme("domains: [a.example, A.example]"),
                "a.example is listed twice",
            ),
            (
                acme(&format!("domains: [{}]", many.join(", "))),
                "more than 100 domains",
            ),
            (
                acme("domains: [a.example], contact: [ops@example.com]"),
                "is no contact like mailto:",
            ),
            (
                acme(&format!("domains: [a.example], contact: [{contacts}]")),
                "more than 10 entries",
            ),
            (
                acme("domains: [a.example], directory: 'http://ca.example'"),
                "must be https",
            ),
            (
                acme("domains: [a.example], directory: 'ca.example'"),
                "is no URL like https://",
            ),
            (
                acme("domains: [a.example], ca: ca.pem"),
                "must be `{file: PATH}`",
            ),
            (
                acme("domains: [a.example], ca: {file: /none.pem}"),
                "cannot be read",
            ),
            (
                acme(
                    "domains: [a.example], directory: 'http://127.0.0.1:1/', ca: {file: /none.pem}",
                ),
                "`dashboard.tls.acme.ca` has no effect",
            ),
            (
                acme("domains: [a.example], challenge: dns-01"),
                "must be \"tls-alpn-01\" or \"http-01\"",
            ),
            (
                acme("domains: [a.example], eab: "),
                "`dashboard.tls.acme.eab` has no value",
            ),
            (
                acme("domains: [a.example], eab: {kid: a}"),
                "`dashboard.tls.acme.eab.hmac` is missing",
            ),
            (
                acme("domains: [a.example], eab: {hmac: c2Vj}"),
                "`dashboard.tls.acme.eab.kid` is missing",
            ),
            (
                acme("domains: [a.example], eab: {kid: '', hmac: c2Vj}"),
                "it is empty",
            ),
            (
                acme("domains: [a.example], eab: {kid: a, hmac: 'no key'}"),
                "it is not in base64url",
            ),
            (
                acme("domains: [a.example], email: x"),
                "unknown key `email` in `dashboard.tls.acme`",
            ),
            (
                "dashboard: {tls: {certificate: a, acme: {domains: [a.example]}}}".to_owned(),
                "remove `certificate` and `key`, or remove `acme`",
            ),
            (
                "dashboard: {tls: {key: , acme: {domains: [a.example]}}}".to_owned(),
                "remove `certificate` and `key`, or remove `acme`",
            ),
        ] {
            let found = read(&text).expect_err(&text);
            assert!(found.contains(complaint), "{text}: {found}");
        }
    }

    #[test]
    fn certificate_that_is_not_for_the_public_host_is_a_finding() {
        let findings = |host: &str| {
            let text = format!(
                "dashboard: {{public_url: 'https://{host}', tls: {{acme: {{domains: [agent.example.com]}}}}}}"
            );
            let file = Some("/home/portcullis.yaml".into());
            let config = load_text("/home".into(), file, &text, Environment::default()).unwrap();
            config
                .findings
                .into_iter()
                .map(|finding| finding.text)
                .collect::<Vec<_>>()
                .join("; ")
        };
        assert!(!findings("agent.example.com").contains("dashboard.tls.acme"));
        let found = findings("other.example.com");
        assert!(
            found.contains("lacks other.example.com, the host of `dashboard.public_url`"),
            "{found}"
        );
    }

    #[test]
    fn mistakes_are_named() {
        let with = |rest: &str| format!("dashboard: {{tls: {{certificate: a, key: b, {rest}}}}}");
        for (text, complaint) in [
            (
                "dashboard: {tls: }".to_owned(),
                "`dashboard.tls` has no value",
            ),
            (
                "dashboard: {tls: {key: b}}".to_owned(),
                "`dashboard.tls.certificate` is missing",
            ),
            (
                "dashboard: {tls: {certificate: a}}".to_owned(),
                "`dashboard.tls.key` is missing",
            ),
            (with("ca: c"), "unknown key `ca` in `dashboard.tls`"),
            (with("min_version: '1.1'"), "must be \"1.2\" or \"1.3\""),
            (with("client_ca: ''"), "must be the path of a PEM file"),
            (
                "dashboard: {redirect_http: '0.0.0.0:80'}".to_owned(),
                "needs `dashboard.tls`",
            ),
            (
                "dashboard: {public_url: 'http://a.test', tls: {certificate: a, key: b}}"
                    .to_owned(),
                "`dashboard.public_url` is http",
            ),
            (
                "dashboard: {redirect_http: 80, tls: {certificate: a, key: b}}".to_owned(),
                "`dashboard.redirect_http` must be a string",
            ),
            (
                "dashboard: {redirect_http: '0.0.0.0:9119', tls: {certificate: a, key: b}}"
                    .to_owned(),
                "1:13: `dashboard.redirect_http` is the address of the dashboard itself",
            ),
            (
                "dashboard: {redirect_http: 'host:80', tls: {certificate: a, key: b}}".to_owned(),
                "is no address and port like 0.0.0.0:80",
            ),
        ] {
            let found = read(&text).expect_err(&text);
            assert!(
                found.lines().count() == 1 && found.contains(complaint),
                "{text}: {found}"
            );
        }
    }
}
