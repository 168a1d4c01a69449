//! The discovery document of an issuer (OpenID Connect Discovery 1.0), and the endpoints in it.

use super::super::Finding;
use super::client::GrantedClient;
use super::{CHECK, keys, token};
use portcullis_dashboard::config::ProviderConfig;
use serde_json::Value;

/// The signatures that `builtin:oidc` checks.
const ALGORITHMS: [&str; 11] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
];

/// Endpoints that the provider calls: the key in `endpoints`, and in the document.
const CALLED: [(&str, &str); 4] = [
    ("token", "token_endpoint"),
    ("jwks", "jwks_uri"),
    ("userinfo", "userinfo_endpoint"),
    ("revocation", "revocation_endpoint"),
];

pub(super) fn check(provider: &ProviderConfig, client: &GrantedClient<'_>) -> Vec<Finding> {
    let endpoints = provider
        .settings
        .get("endpoints")
        .map(String::as_str)
        .unwrap_or_default();
    let endpoints: Value = serde_json::from_str(endpoints).unwrap_or_default();
    let mut findings = Vec::new();
    let document = match discovery_url(provider, &endpoints) {
        None => Value::Null,
        Some(url) => match read(provider, client, &url) {
            Ok(document) => {
                findings.extend(of_document(provider, &document));
                document
            }
            Err(finding) => return vec![finding],
        },
    };
    let address = |(configured, announced): (&str, &str)| {
        endpoints[configured]
            .as_str()
            .or_else(|| document[announced].as_str())
    };

    let called = CALLED
        .into_iter()
        .filter_map(|names| Some((names.0, address(names)?)));
    findings.extend(called.filter_map(|(name, url)| ungranted(provider, client, name, url)));
    match address(CALLED[1]) {
        Some(url) => findings.push(keys::check(provider, client, url)),
        None if document.is_null() => {}
        None => findings.push(missing(provider, "jwks_uri")),
    }
    match address(CALLED[0]) {
        Some(url) => findings.push(token::check(provider, client, url, &ways(&document))),
        None => findings.push(missing(provider, "token_endpoint")),
    }
    findings
}

/// `None`: every endpoint that a sign-in needs is configured, so nothing is discovered.
fn discovery_url(provider: &ProviderConfig, endpoints: &Value) -> Option<String> {
    if let Some(url) = provider.settings.get("discovery_url") {
        return Some(url.clone());
    }

    let has = |name: &str| endpoints[name].is_string();
    if has("authorization") && has("token") && (has("jwks") || has("userinfo")) {
        return None;
    }

    let issuer = provider
        .settings
        .get("issuer")
        .map(String::as_str)
        .unwrap_or_default();
    Some(format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    ))
}

fn read(
    provider: &ProviderConfig,
    client: &GrantedClient<'_>,
    url: &str,
) -> Result<Value, Finding> {
    let failed = |why: String| {
        Finding::error(
            CHECK,
            format!("{}: no discovery document at {url}", provider.name),
        )
        .because(why)
    };

    let answer = client.get(url).map_err(failed)?;
    match answer.status == 200 && answer.body.is_object() {
        true => Ok(answer.body),
        false => Err(failed(format!(
            "it answered {}, or what is no JSON object",
            answer.status
        ))),
    }
}

fn of_document(provider: &ProviderConfig, document: &Value) -> Vec<Finding> {
    let mut findings = vec![issuer(provider, document), algorithms(provider, document)];
    findings.extend(challenge(provider, document));
    findings
}

/// Section 4.3. A slash at the end makes no difference to the provider.
fn issuer(provider: &ProviderConfig, document: &Value) -> Finding {
    let announced: String = document["issuer"]
        .as_str()
        .unwrap_or_default()
        .chars()
        .take(256)
        .collect();
    let configured = provider
        .settings
        .get("issuer")
        .map(String::as_str)
        .unwrap_or_default();
    if announced.trim_end_matches('/') == configured.trim_end_matches('/') {
        return Finding::ok(
            CHECK,
            format!("{}: the issuer calls itself {announced:?}", provider.name),
        );
    }

    let place = provider
        .key_places
        .get("config.issuer")
        .unwrap_or(&provider.place);
    Finding::error(
        CHECK,
        format!(
            "{place}: provider `{}`: `issuer` is {configured:?}",
            provider.name
        ),
    )
    .because(format!(
        "the discovery document is of the issuer {announced:?}"
    ))
    .mended_by(format!("issuer: {announced}"))
}

fn algorithms(provider: &ProviderConfig, document: &Value) -> Finding {
    let name = &provider.name;
    let announced = texts(document, "id_token_signing_alg_values_supported");
    if announced.is_empty() {
        return Finding::unknown(
            CHECK,
            format!("{name}: the issuer does not say how it signs ID tokens"),
        );
    }

    match announced
        .iter()
        .any(|algorithm| ALGORITHMS.contains(algorithm))
    {
        true => Finding::ok(
            CHECK,
            format!("{name}: ID tokens are signed with {}", announced.join(", ")),
        ),
        false => Finding::error(
            CHECK,
            format!("{name}: ID tokens are signed with {}", announced.join(", ")),
        )
        .because(format!("the provider checks {}", ALGORITHMS.join(", "))),
    }
}

/// An issuer that announces methods of PKCE (RFC 8414, section 2) and not S256 refuses every
/// sign-in.
fn challenge(provider: &ProviderConfig, document: &Value) -> Option<Finding> {
    let announced = texts(document, "code_challenge_methods_supported");
    let lacks = !announced.is_empty() && !announced.contains(&"S256");
    lacks.then(|| {
        Finding::warn(
            CHECK,
            format!(
                "{}: the issuer does not announce PKCE with S256",
                provider.name
            ),
        )
        .because("every sign-in uses it")
    })
}

fn ungranted(
    provider: &ProviderConfig,
    client: &GrantedClient<'_>,
    name: &str,
    url: &str,
) -> Option<Finding> {
    let why = client.grant_of(url).err()?;
    let what = format!(
        "{}: provider `{}`: it may not call its {name} endpoint",
        provider.place, provider.name
    );

    Some(
        Finding::error(CHECK, what)
            .because(why)
            .mended_by(format!("add the origin of {url} to `grants.http`")),
    )
}

fn missing(provider: &ProviderConfig, key: &str) -> Finding {
    Finding::error(
        CHECK,
        format!("{}: the discovery document has no `{key}`", provider.name),
    )
}

/// How clients may prove who they are at the token endpoint.
fn ways(document: &Value) -> Vec<&str> {
    texts(document, "token_endpoint_auth_methods_supported")
}

fn texts<'a>(document: &'a Value, key: &str) -> Vec<&'a str> {
    document[key]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}
