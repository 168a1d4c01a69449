//! Bearer tokens of services: JSON Web Tokens that an issuer signs, for routes that machines call.
//!
//! Settings: `issuer`, `audience`, the keys as `jwks_url` (an origin granted under `grants.http`)
//! or `jwks` (inline), `principal_claim` (`sub`) and `scopes_claim` (`scope`), each a name or a
//! dotted path, `leeway_seconds` (60).

use jwt_keys::{
    ClaimsSet, Documents, KeySet, KeySource, Rules, TokenError, check_names, is_address, is_scope,
    leeway,
};
use person_text::check_identifier;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

/// Takes bearer tokens that are JSON Web Tokens of one issuer.
pub struct Jwt;

const SETTINGS: &[&str] = &[
    "issuer",
    "audience",
    "jwks_url",
    "jwks",
    "principal_claim",
    "scopes_claim",
    "leeway_seconds",
];

/// What the header's `typ` of an access token may be (RFC 9068, section 2.1; RFC 7519, section
/// 5.1): a token for signing out or for another purpose has a type of its own (RFC 8725, section
/// 3.11).
const KINDS: &[&str] = &["jwt", "jose", "at+jwt"];

/// Most scopes that the host takes of one token.
const MAX_SCOPES: usize = 64;

struct Settings {
    issuer: String,
    audience: String,
    keys: KeySource,
    principal_claim: String,
    scopes_claim: String,
    leeway: u64,
}

impl Settings {
    fn read(host: &dyn Host) -> Result<Self, String> {
        check_names(host, SETTINGS)?;
        let needed = |name: &str| {
            let value = host.setting(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("`{name}` is missing"))
        };
        let keys = match (host.setting("jwks_url"), host.setting("jwks")) {
            (Some(url), None) if is_address(&url) => KeySource::Url(url),
            (Some(_), None) => return Err("`jwks_url` must be an http(s) URL".to_owned()),
            (None, Some(inline)) => KeySource::Inline(
                KeySet::read(inline.as_bytes()).map_err(|why| format!("`jwks`: {why}"))?,
            ),
            _ => return Err("one of `jwks_url` and `jwks` is needed".to_owned()),
        };

        Ok(Self {
            issuer: needed("issuer")?,
            audience: needed("audience")?,
            keys,
            principal_claim: host
                .setting("principal_claim")
                .unwrap_or_else(|| "sub".to_owned()),
            scopes_claim: host
                .setting("scopes_claim")
                .unwrap_or_else(|| "scope".to_owned()),
            leeway: leeway(host)?,
        })
    }
}

impl Settings {
    /// Whom a token is of. `None` if its name is none that the host takes: what a token claims is
    /// no fault of the provider.
    fn principal(&self, claims: &ClaimsSet) -> Option<TokenPrincipal> {
        let principal = claims.only(&self.principal_claim)?;
        check_identifier(&principal).ok()?;
        let mut scopes = claims.words(&self.scopes_claim);
        scopes.retain(|scope| is_scope(scope));
        scopes.sort();
        scopes.dedup();
        scopes.truncate(MAX_SCOPES);
        Some(TokenPrincipal::new(principal, scopes))
    }
}

impl Provider for Jwt {
    fn check_settings(host: &dyn Host) -> Result<(), String> {
        let settings = Settings::read(host)?;
        // The provider was loaded, perhaps since an operator asked for a reload: what is kept may
        // be of before.
        if let KeySource::Url(url) = &settings.keys {
            documents(host).doubt(url);
        }
        Ok(())
    }

    fn verify_token(host: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let Ok(settings) = Settings::read(host) else {
            return Ok(None);
        };
        let rules = Rules {
            issuer: &settings.issuer,
            audience: &settings.audience,
            authorized_party: None,
            leeway: settings.leeway,
            kinds: KINDS,
        };

        match settings.keys.check(&documents(host), token, &rules) {
            Ok(claims) => Ok(settings.principal(&claims)),
            Err(TokenError::Invalid(_) | TokenError::UnknownKey) => Ok(None),
            Err(TokenError::Unavailable(why)) => Err(Unavailable(why)),
        }
    }
}

fn documents(host: &dyn Host) -> Documents<'_> {
    Documents {
        http: host.http(),
        bucket: host.bucket(),
        now: host.now(),
    }
}

portcullis_guest::export!(Jwt);

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockHost;
    use serde_json::{Value, json};

    fn settings(more: &[(&str, &str)]) -> Result<Settings, String> {
        let given = [
            ("issuer", "https://idp"),
            ("audience", "us"),
            ("jwks", "{\"keys\":[]}"),
        ];
        let given = given.iter().chain(more);
        let host = given.fold(MockHost::default(), |host, (name, value)| {
            host.with_setting(name, *value)
        });
        Settings::read(&host)
    }

    fn principal(claims: &Value) -> Option<TokenPrincipal> {
        let claims = ClaimsSet(claims.as_object().unwrap().clone());
        settings(&[]).unwrap().principal(&claims)
    }

    #[test]
    fn names_and_scopes_that_the_host_would_refuse_are_no_fault() {
        for (sub, expected) in [
            (json!("service-7"), Some("service-7")),
            (json!(7), Some("7")),
            (json!(["one"]), Some("one")),
            (json!(["one", "two"]), None),
            (json!("x".repeat(257)), None),
            (json!("a\tb"), None),
            (json!(" a"), None),
            (json!(""), None),
            (json!(null), None),
            (json!({}), None),
        ] {
            let found = principal(&json!({"sub": sub})).map(|found| found.principal);
            assert_eq!(found.as_deref(), expected, "{sub}");
        }
        let scopes = |scope: Value| {
            principal(&json!({"sub": "a", "scope": scope}))
                .unwrap()
                .scopes
        };
        assert_eq!(scopes(json!("b a b")), ["a", "b"]);
        assert_eq!(scopes(json!(["a", "\"", "é", 7, null])), ["7", "a"]);
        let many: Vec<_> = (0..1_000).map(|number| format!("scope-{number}")).collect();
        assert_eq!(scopes(json!(many)).len(), MAX_SCOPES);
    }

    #[test]
    fn bad_settings_are_named() {
        assert!(settings(&[]).is_ok());
        for (more, complaint) in [
            (("isuer", "x"), "unknown setting `isuer`"),
            (
                ("jwks_url", "https://idp/keys"),
                "one of `jwks_url` and `jwks`",
            ),
            (("jwks", "{}"), "`jwks`: no key set"),
            (("leeway_seconds", "-1"), "`leeway_seconds`"),
            (
                ("leeway_seconds", "99999999999999999999"),
                "`leeway_seconds`",
            ),
        ] {
            let found = settings(&[more]).err().expect(complaint);
            assert!(found.contains(complaint), "{found}");
        }
    }
}
