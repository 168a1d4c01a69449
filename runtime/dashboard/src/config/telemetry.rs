//! `dashboard.telemetry`: where traces are sent.

use super::providers::{read_ca, read_headers};
use super::section::{Reader, Section};
use crate::yaml::Node;
use http::{HeaderName, HeaderValue};
use portcullis_observe::telemetry::{Endpoint, OtlpSettings, Protocol};

/// The share of traces that are recorded without the key: all of them.
const DEFAULT_SAMPLE_RATIO: f64 = 1.0;

/// Reads the section. `None`: no traces are sent.
pub(super) fn read_telemetry(
    section: &mut Section,
    reader: &mut Reader<'_>,
) -> Option<OtlpSettings> {
    let mut telemetry = section.section("telemetry", reader);
    let name = telemetry.full("otlp");
    let otlp = telemetry.take("otlp");
    telemetry.finish(reader);
    read_otlp(&name, otlp?, reader)
}

fn read_otlp(name: &str, node: Node, reader: &mut Reader<'_>) -> Option<OtlpSettings> {
    let mut section = Section::open(name, node, reader);
    let protocol = section.parsed("protocol", reader, protocol);
    let protocol = protocol.unwrap_or(Protocol::Http);
    let endpoint = section.parsed("endpoint", reader, |text| Endpoint::parse(protocol, text));
    let endpoint = section.require("endpoint", endpoint, reader);
    let headers_name = section.full("headers");
    let headers = section
        .take("headers")
        .map(|node| read_metadata(&headers_name, node, protocol, reader));
    let ca_name = section.full("ca");
    let ca_node = section.take("ca");
    let sample_ratio = section.ratio("sample_ratio", reader);
    section.finish(reader);

    if let (Some(endpoint), Some(node)) = (&endpoint, &ca_node)
        && !endpoint.is_https()
    {
        reader.mistakes.add(
            node.place,
            format!("`{ca_name}` has no effect: the endpoint is not https"),
        );
    }

    let ca = ca_node.and_then(|node| read_ca(&ca_name, &node, reader));
    Some(OtlpSettings {
        endpoint: endpoint?,
        headers: headers.unwrap_or_default(),
        ca,
        sample_ratio: sample_ratio.unwrap_or(DEFAULT_SAMPLE_RATIO),
    })
}

/// The headers of all requests to the collector, which gRPC calls metadata.
fn read_metadata(
    name: &str,
    node: Node,
    protocol: Protocol,
    reader: &mut Reader<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let place = node.place;
    let headers = read_headers(name, node, reader);
    for (header, _) in &headers {
        if let Err(why) = protocol.check_header(header) {
            reader
                .mistakes
                .add(place, format!("`{name}.{header}` {why}"));
        }
    }
    headers
}

fn protocol(text: &str) -> Result<Protocol, &'static str> {
    match text {
        "http" => Ok(Protocol::Http),
        "grpc" => Ok(Protocol::Grpc),
        _ => Err("must be http or grpc"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DashboardConfig, Environment, load_text};
    use super::Protocol;

    fn read(otlp: &str) -> Result<DashboardConfig, String> {
        let text = format!("dashboard:\n  telemetry:\n    otlp: {otlp}\n");
        let config = load_text("/home".into(), None, &text, Environment::default());
        config
            .map(|config| config.dashboard)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_is_read() {
        let text = "{endpoint: 'http://127.0.0.1:4318', protocol: http, headers: {x-key: {env: PATH}}, sample_ratio: 0.25}";
        let settings = read(text).unwrap().telemetry.unwrap();
        assert!(settings.headers[0].1.is_sensitive() && !settings.endpoint.is_https());
        assert!((settings.sample_ratio - 0.25).abs() < f64::EPSILON);
        let settings = read("{endpoint: 'https://otel.example.com'}")
            .unwrap()
            .telemetry
            .unwrap();
        assert!((settings.sample_ratio - 1.0).abs() < f64::EPSILON && settings.endpoint.is_https());
    }

    #[test]
    fn spans_go_over_http_unless_grpc_is_set() {
        let text = "{endpoint: 'http://127.0.0.1:4318'}";
        let endpoint = read(text).unwrap().telemetry.unwrap().endpoint;
        assert_eq!(endpoint.protocol(), Protocol::Http);
        // A reserved name is one of gRPC alone.
        let text = "{endpoint: 'http://127.0.0.1:4318', headers: {grpc-timeout: {env: PATH}}}";
        assert!(read(text).is_ok());

        let text =
            "{endpoint: 'http://127.0.0.1:4317', protocol: grpc, headers: {x-key: {env: PATH}}}";
        let settings = read(text).unwrap().telemetry.unwrap();
        assert_eq!(settings.endpoint.protocol(), Protocol::Grpc);
        assert_eq!(settings.headers.len(), 1);
    }

    #[test]
    fn without_an_endpoint_nothing_is_sent() {
        assert!(read("").unwrap().telemetry.is_none());
        assert!(
            read("{}")
                .unwrap_err()
                .contains("`dashboard.telemetry.otlp.endpoint` is missing")
        );
    }

    #[test]
    fn mistakes_are_named() {
        let with = |rest: &str| format!("{{endpoint: 'http://127.0.0.1:4318', {rest}}}");
        for (otlp, complaint) in [
            (
                "{endpoint: '127.0.0.1:4318'}".to_owned(),
                "must be a URL like http://127.0.0.1:4318",
            ),
            (
                "{endpoint: 'http://u:p@a'}".to_owned(),
                "credentials belong into `headers`",
            ),
            (with("protocol: zipkin"), "must be http or grpc"),
            (
                "{endpoint: '127.0.0.1:4317', protocol: grpc}".to_owned(),
                "must be a URL like http://127.0.0.1:4317",
            ),
            (
                "{endpoint: 'http://a:4317/v1/traces', protocol: grpc}".to_owned(),
                "otlp.endpoint`: must have no path",
            ),
            (
                with("protocol: grpc, headers: {grpc-timeout: {env: PATH}}"),
                "headers.grpc-timeout` is a name that gRPC reserves",
            ),
            (with("sample_ratio: 1.5"), "must be a number from 0 to 1"),
            (with("sample_ratio: -1"), "must be a number from 0 to 1"),
            (with("sample_ratio: '0.5'"), "must be a number from 0 to 1"),
            (with("headers: {Host: a}"), "sets itself"),
            (with("headers: {x-key: '${KEY}'}"), "headers.x-key`: "),
            (
                with("ca: {file: x}"),
                "has no effect: the endpoint is not https",
            ),
            (with("sample_rate: 1"), "did you mean `sample_ratio`?"),
        ] {
            let found = read(&otlp).expect_err(&otlp);
            assert!(
                found.contains(complaint) && !found.contains("u:p"),
                "{otlp}: {found}"
            );
        }
    }
}
