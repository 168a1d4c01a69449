//! `dashboard.tls` and `dashboard.redirect_http`.
//!
//! The files themselves are read at the start and at each renewal, apart from the other settings: a certificate that cannot
//! take over must not hold up a change of the providers.

use super::PublicUrl;
use super::section::{Reader, Section};
use crate::tls::{MinVersion, TlsSettings};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What the dashboard's listener speaks, and where plain HTTP is redirected to it.
pub(super) struct Front {
    pub(super) tls: Option<TlsSettings>,
    pub(super) redirect_http: Option<SocketAddr>,
}

/// Reads both keys. A key without a value is a mistake: passwords would cross the network in the clear.
pub(super) fn read_front(
    section: &mut Section,
    public_url: Option<&PublicUrl>,
    reader: &mut Reader<'_>,
) -> Front {
    let place = section.place_of("tls");
    let tls = read_tls(section, reader);
    if let Some(place) = place
        && public_url.is_some_and(|url| !url.https)
    {
        let text =
            "`dashboard.public_url` is http, but with `dashboard.tls` people reach the dashboard by https";
        reader.mistakes.add(place, text);
    }
    let redirect_place = section.place_of("redirect_http");
    let redirect_http = section.parsed("redirect_http", reader, listening_address);
    if let Some(redirect_place) = redirect_place
        && place.is_none()
    {
        let text = "`dashboard.redirect_http` needs `dashboard.tls`: there is no https to lead to";
        reader.mistakes.add(redirect_place, text);
    }
    Front { tls, redirect_http }
}

fn read_tls(section: &mut Section, reader: &mut Reader<'_>) -> Option<TlsSettings> {
    let name = section.full("tls");
    let place = section.place_of("tls")?;
    let Some(node) = section.take("tls") else {
        let text = format!("`{name}` has no value: give `certificate` and `key`, or remove the key");
        reader.mistakes.add(place, text);
        return None;
    };
    let mut tls = Section::open(&name, node, reader);
    if let Some(place) = tls.place_of("acme") {
        let text = format!(
            "`{name}.acme`: certificates are not fetched by ACME here: let a client such as certbot or lego fetch and renew \
             them, and name its files with `certificate` and `key`, which are read again when they change"
        );
        reader.mistakes.add(place, text);
        return None;
    }
    let base = reader.base;
    let file = |text: &str| pem_file(text, base);
    let certificate = tls.parsed("certificate", reader, file);
    let certificate = tls.require("certificate", certificate, reader);
    let key = tls.parsed("key", reader, file);
    let key = tls.require("key", key, reader);
    let client_ca = tls.parsed("client_ca", reader, file);
    let min_version = tls.parsed("min_version", reader, min_version).unwrap_or_default();
    tls.finish(reader);
    let (certificate, key) = (certificate?, key?);
    reader.files.extend([certificate.clone(), key.clone()]);
    reader.secret_files.insert(key.clone());
    Some(TlsSettings { certificate, key, client_ca, min_version })
}

fn pem_file(text: &str, base: &Path) -> Result<PathBuf, &'static str> {
    let is_path = !text.is_empty() && !text.contains(['\0', '\n']) && !text.contains("-----BEGIN");
    if is_path { Ok(base.join(text)) } else { Err("must be the path of a PEM file") }
}

fn min_version(text: &str) -> Result<MinVersion, &'static str> {
    match text {
        "1.2" => Ok(MinVersion::Tls12),
        "1.3" => Ok(MinVersion::Tls13),
        _ => Err("must be \"1.2\" or \"1.3\""),
    }
}

fn listening_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is no address and port like 0.0.0.0:80"))
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, load_text};
    use super::*;

    fn read(text: &str) -> Result<super::super::DashboardConfig, String> {
        let file = Some("/home/portcullis.yaml".into());
        let config = load_text("/home".into(), file, text, Environment::default());
        config.map(|config| config.dashboard).map_err(|error| error.to_string())
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
        assert_eq!(dashboard.redirect_http.map(|address| address.port()), Some(80));
    }

    #[test]
    fn mistakes_are_named() {
        let with = |rest: &str| format!("dashboard: {{tls: {{certificate: a, key: b, {rest}}}}}");
        for (text, complaint) in [
            ("dashboard: {tls: }".to_owned(), "`dashboard.tls` has no value"),
            ("dashboard: {tls: {key: b}}".to_owned(), "`dashboard.tls.certificate` is missing"),
            ("dashboard: {tls: {certificate: a}}".to_owned(), "`dashboard.tls.key` is missing"),
            (with("ca: c"), "unknown key `ca` in `dashboard.tls`"),
            (with("min_version: '1.1'"), "must be \"1.2\" or \"1.3\""),
            (with("client_ca: ''"), "must be the path of a PEM file"),
            (
                "dashboard: {tls: {acme: {domains: [a]}}}".to_owned(),
                "name its files with `certificate` and `key`",
            ),
            ("dashboard: {redirect_http: '0.0.0.0:80'}".to_owned(), "needs `dashboard.tls`"),
            (
                "dashboard: {public_url: 'http://a.test', tls: {certificate: a, key: b}}".to_owned(),
                "`dashboard.public_url` is http",
            ),
            (
                "dashboard: {redirect_http: 80, tls: {certificate: a, key: b}}".to_owned(),
                "`dashboard.redirect_http` must be a string",
            ),
            (
                "dashboard: {redirect_http: 'host:80', tls: {certificate: a, key: b}}".to_owned(),
                "is no address and port like 0.0.0.0:80",
            ),
        ] {
            let found = read(&text).expect_err(&text);
            assert!(found.lines().count() == 1 && found.contains(complaint), "{text}: {found}");
        }
    }
}
