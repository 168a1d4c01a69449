//! The token endpoint, which has to refuse a made-up code (RFC 6749, section 5.2).

use super::super::Finding;
use super::CHECK;
use super::client::{GrantedClient, HttpAnswer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis_dashboard::config::ProviderConfig;

const CODE: &str = "portcullis-check-made-up";
/// 43 characters, the fewest that a verifier may have (RFC 7636, section 4.1).
const VERIFIER: &str = "portcullis-check-0123456789-0123456789-0123";

/// `announced`: the ways in which the issuer says that clients prove who they are.
pub(super) fn check(
    provider: &ProviderConfig,
    client: &GrantedClient<'_>,
    url: &str,
    announced: &[&str],
) -> Finding {
    let setting = |name: &str| provider.settings.get(name).map(String::as_str);
    let client_id = setting("client_id").unwrap_or_default();
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", CODE),
        ("code_verifier", VERIFIER),
        ("redirect_uri", "https://portcullis.invalid/auth/callback"),
        ("client_id", client_id),
    ];

    let mut authorization = None;
    if let Some(secret) = setting("client_secret") {
        let is_post_alone = announced.contains(&"client_secret_post")
            && !announced.contains(&"client_secret_basic");
        match setting("token_auth") {
            Some("post") => form.push(("client_secret", secret)),
            None if is_post_alone => form.push(("client_secret", secret)),
            _ => authorization = Some(basic(client_id, secret)),
        }
    }

    match client.post(url, &form, authorization.as_deref()) {
        Ok(answer) => judge(provider, url, &answer),
        Err(why) => {
            Finding::error(CHECK, format!("{}: no answer from {url}", provider.name)).because(why)
        }
    }
}

/// RFC 6749, section 2.3.1: both are form-encoded first.
fn basic(client_id: &str, secret: &str) -> String {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!(
        "Basic {}",
        STANDARD.encode(format!("{}:{}", encoded(client_id), encoded(secret)))
    )
}

fn judge(provider: &ProviderConfig, url: &str, answer: &HttpAnswer) -> Finding {
    let name = &provider.name;
    let signs = provider.settings.contains_key("private_key");

    match answer.body["error"].as_str() {
        Some("invalid_grant") => Finding::ok(
            CHECK,
            format!("{name}: {url} knows the client, and refuses a made-up code"),
        ),
        Some("invalid_client") if signs => Finding::unknown(
            CHECK,
            format!("{name}: whether {url} knows the client was not tried"),
        )
        .because("the client proves itself with a private key, which only the provider uses"),
        Some(error @ ("invalid_client" | "unauthorized_client")) => Finding::warn(
            CHECK,
            format!("{name}: {url} refuses the client"),
        )
        .because(error)
        .mended_by(
            "compare client_id, client_secret and token_auth with the issuer's registration",
        ),
        Some(error) => {
            let error: String = error.chars().take(100).collect();
            Finding::warn(
                CHECK,
                format!("{name}: {url} answers a made-up code with {error:?}"),
            )
            .because("`invalid_grant` was expected")
        }
        None => {
            Finding::error(CHECK, format!("{name}: {url} is no token endpoint")).because(format!(
                "it answered {} to a made-up code, without `error`",
                answer.status
            ))
        }
    }
}
