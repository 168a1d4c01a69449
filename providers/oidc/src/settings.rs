//! `issuer`, `client_id`, `scopes` (`openid email profile`), `claims: {user_id: sub, email: email, display_name: name,
//! org_id: ""}`, `require: {CLAIM: [VALUE, ..]}` (who may sign in at all), `leeway_seconds` (60).

use jwt_keys::{Claims, Rules};
use portcullis_guest::Host;
use serde::Deserialize;
use session_tokens::Person;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

const SETTINGS: &[&str] = &["issuer", "client_id", "scopes", "claims", "require", "leeway_seconds"];
/// The longest that the host takes.
const MAX_TEXT_BYTES: usize = 256;

pub(crate) struct Settings {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) scopes: String,
    pub(crate) leeway: u64,
    claims: ClaimNames,
    require: BTreeMap<String, Vec<String>>,
}

/// Which claim says what.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClaimNames {
    user_id: String,
    email: String,
    display_name: String,
    org_id: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        let [user_id, email, display_name, org_id] = ["sub", "email", "name", ""].map(str::to_owned);
        Self { user_id, email, display_name, org_id }
    }
}

impl Settings {
    pub(crate) fn read(host: &dyn Host) -> Result<Self, String> {
        if let Some(unknown) = host.setting_names().iter().find(|name| !SETTINGS.contains(&name.as_str())) {
            return Err(format!("unknown setting `{unknown}`: there are {}", SETTINGS.join(", ")));
        }
        let needed = |name: &str| {
            let value = host.setting(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("`{name}` is missing"))
        };
        let issuer = needed("issuer")?;
        if !issuer.starts_with("https://") && !issuer.starts_with("http://") {
            return Err("`issuer` must be a URL, exactly as the issuer writes it".to_owned());
        }
        let leeway = host.setting("leeway_seconds").map(|text| text.parse());
        Ok(Self {
            issuer,
            client_id: needed("client_id")?,
            scopes: host.setting("scopes").unwrap_or_else(|| "openid email profile".to_owned()),
            leeway: leeway.transpose().map_err(|_| "`leeway_seconds` must be a whole number")?.unwrap_or(60),
            claims: json(host, "claims")?.unwrap_or_default(),
            require: json(host, "require")?.unwrap_or_default(),
        })
    }

    /// Changes with whoever vouches for people, and with who may sign in: sessions of before are over then.
    pub(crate) fn mark(&self) -> String {
        let ClaimNames { user_id, .. } = &self.claims;
        let said = format!("{:?}", (&self.issuer, &self.client_id, user_id, &self.require));
        hex::encode(&Sha256::digest(said)[..8])
    }

    pub(crate) fn rules(&self) -> Rules<'_> {
        let authorized_party = Some(self.client_id.as_str());
        Rules {
            issuer: &self.issuer,
            audience: &self.client_id,
            authorized_party,
            leeway: self.leeway,
            kinds: &[],
        }
    }

    /// Who an ID token says it is, if that one may sign in.
    pub(crate) fn person(&self, claims: &Claims) -> Result<Person, String> {
        for (name, values) in &self.require {
            if !claims.says_one_of(name, values) {
                return Err(format!("not allowed: the claim `{name}` is none of those that are required"));
            }
        }
        // An address that nobody checked says nothing of who it is: anybody can claim another's.
        let is_unverified =
            claims.0.get("email_verified").is_some_and(|verified| verified == false || verified == "false");
        if is_unverified && (self.require.contains_key("email") || self.claims.user_id == "email") {
            return Err("the address is not verified".to_owned());
        }
        let user_id = claims.text(&self.claims.user_id);
        if user_id.is_empty() {
            return Err(format!("there is no claim `{}`", self.claims.user_id));
        }
        let shown = |name: &str| plain(claims.text(name).trim());
        Ok(Person {
            user_id: user_id.to_owned(),
            email: if is_unverified { String::new() } else { shown(&self.claims.email) },
            display_name: shown(&self.claims.display_name),
            org_id: shown(&self.claims.org_id),
        })
    }
}

/// What is only shown is made to fit; what identifies a person is not.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if plain.len() + c.len_utf8() > MAX_TEXT_BYTES {
            break;
        }
        plain.push(c);
    }
    plain
}

fn json<T: for<'a> Deserialize<'a>>(host: &dyn Host, name: &str) -> Result<Option<T>, String> {
    let text = host.setting(name);
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.map_err(|error| format!("`{name}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockHost;
    use serde_json::json;

    fn host(more: &[(&str, &str)]) -> MockHost {
        let given = [("issuer", "https://idp"), ("client_id", "us")];
        let settings =
            given.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        MockHost { settings: settings.collect(), ..MockHost::default() }
    }

    fn person(more: &[(&str, &str)], claims: &serde_json::Value) -> Result<Person, String> {
        let claims = Claims(claims.as_object().unwrap().clone());
        Settings::read(&host(more)).unwrap().person(&claims)
    }

    #[test]
    fn claims_become_fields_by_the_settings() {
        let claims = json!({"sub": "1", "email": "a@b", "name": "Ada\u{7}", "hd": "b"});
        let plain = person(&[], &claims).unwrap();
        assert_eq!(
            (plain.user_id.as_str(), plain.email.as_str(), plain.display_name.as_str()),
            ("1", "a@b", "Ada")
        );
        let mapped = person(&[("claims", r#"{"user_id":"email","org_id":"hd"}"#)], &claims).unwrap();
        assert_eq!((mapped.user_id.as_str(), mapped.org_id.as_str()), ("a@b", "b"));
        assert!(person(&[], &json!({"email": "a@b"})).is_err());
        let unverified = json!({"sub": "1", "email": "admin@b", "email_verified": false});
        assert_eq!(person(&[], &unverified).unwrap().email, "", "anybody can claim another's");
        assert!(person(&[("claims", r#"{"user_id":"email"}"#)], &unverified).is_err());
    }

    #[test]
    fn only_those_who_are_required_may_sign_in() {
        let groups = [("require", r#"{"groups":["admins"]}"#)];
        assert!(person(&groups, &json!({"sub": "1", "groups": ["users", "admins"]})).is_ok());
        assert!(person(&groups, &json!({"sub": "1", "groups": "admins"})).is_ok());
        assert!(person(&groups, &json!({"sub": "1", "groups": ["users"]})).is_err());
        assert!(person(&groups, &json!({"sub": "1"})).is_err());
        let email = [("require", r#"{"email":["a@b"]}"#)];
        assert!(person(&email, &json!({"sub": "1", "email": "a@b"})).is_ok());
        assert!(person(&email, &json!({"sub": "1", "email": "a@b", "email_verified": false})).is_err());
    }

    #[test]
    fn bad_settings_are_named() {
        for (more, complaint) in [
            (("isuer", "x"), "unknown setting `isuer`"),
            (("issuer", ""), "`issuer` is missing"),
            (("issuer", "idp"), "`issuer` must be a URL"),
            (("claims", "{\"user\":\"x\"}"), "`claims`: unknown field `user`"),
            (("require", "[]"), "`require`"),
            (("leeway_seconds", "-1"), "`leeway_seconds`"),
        ] {
            let found = Settings::read(&host(&[more])).err().expect(complaint);
            assert!(found.contains(complaint), "{found}");
        }
    }
}
