//! Bearer tokens of services: JSON Web Tokens that an issuer signs, for routes that machines call.
//!
//! Settings: `issuer`, `audience`, the keys as `jwks_url` (an origin granted under `grants.http`) or `jwks` (inline),
//! `principal_claim` (`sub`), `scopes_claim` (`scope`), `leeway_seconds` (60).

use jwt_keys::{Documents, KeySet, KeySource, Rules, TokenError};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

/// The provider.
pub struct Jwt;

const SETTINGS: &[&str] =
    &["issuer", "audience", "jwks_url", "jwks", "principal_claim", "scopes_claim", "leeway_seconds"];

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
        if let Some(unknown) = host.setting_names().iter().find(|name| !SETTINGS.contains(&name.as_str())) {
            return Err(format!("unknown setting `{unknown}`: there are {}", SETTINGS.join(", ")));
        }
        let needed = |name: &str| {
            let value = host.setting(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("`{name}` is missing"))
        };
        let keys = match (host.setting("jwks_url"), host.setting("jwks")) {
            (Some(url), None) => KeySource::Url(url),
            (None, Some(inline)) => {
                KeySource::Inline(KeySet::read(inline.as_bytes()).map_err(|why| format!("`jwks`: {why}"))?)
            }
            _ => return Err("one of `jwks_url` and `jwks` is needed".to_owned()),
        };
        let leeway = host.setting("leeway_seconds").map(|text| text.parse());
        let leeway = leeway.transpose().map_err(|_| "`leeway_seconds` must be a whole number")?;
        Ok(Self {
            issuer: needed("issuer")?,
            audience: needed("audience")?,
            keys,
            principal_claim: host.setting("principal_claim").unwrap_or_else(|| "sub".to_owned()),
            scopes_claim: host.setting("scopes_claim").unwrap_or_else(|| "scope".to_owned()),
            leeway: leeway.unwrap_or(60),
        })
    }
}

impl Provider for Jwt {
    fn check_settings(host: &dyn Host) -> Result<(), String> {
        Settings::read(host).map(drop)
    }

    fn verify_token(host: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let Ok(settings) = Settings::read(host) else { return Ok(None) };
        let documents = Documents { http: host.http(), bucket: host.bucket(), now: host.now() };
        let rules = Rules {
            issuer: &settings.issuer,
            audience: &settings.audience,
            authorized_party: None,
            leeway: settings.leeway,
        };
        match settings.keys.check(&documents, token, &rules) {
            Ok(claims) => {
                let principal = claims.text(&settings.principal_claim);
                let scopes = claims.list(&settings.scopes_claim);
                Ok((!principal.is_empty()).then(|| TokenPrincipal::new(principal, scopes)))
            }
            Err(TokenError::Invalid(_)) => Ok(None),
            Err(TokenError::Unavailable(why)) => Err(Unavailable(why)),
        }
    }
}

portcullis_guest::export!(Jwt);
