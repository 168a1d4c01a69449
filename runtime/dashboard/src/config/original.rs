//! The variables of the original dashboard. What they say holds where the configuration says
//! nothing.
//!
//! **Invariant:** no value of a variable is in a message from here.

use super::forms::public_url;
use super::providers::basic_authorization;
use super::{ComponentRef, DashboardConfig, Grants, Mistake, ProviderConfig, Secret};
use http::header::{AUTHORIZATION, HeaderValue};
use portcullis_auth::ProviderName;
use portcullis_auth::secret_strength::{Strength, WeakSecret, is_placeholder};
use portcullis_sandbox::{HttpGrant, Limits, Origin};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

pub(super) const PUBLIC_URL: &str = "HERMES_DASHBOARD_PUBLIC_URL";
const OAUTH_CLIENT_ID: &str = "HERMES_DASHBOARD_OAUTH_CLIENT_ID";
const PORTAL_URL: &str = "HERMES_DASHBOARD_PORTAL_URL";
const OIDC_ISSUER: &str = "HERMES_DASHBOARD_OIDC_ISSUER";
const OIDC_CLIENT_ID: &str = "HERMES_DASHBOARD_OIDC_CLIENT_ID";
const OIDC_CLIENT_SECRET: &str = "HERMES_DASHBOARD_OIDC_CLIENT_SECRET";
const OIDC_SCOPES: &str = "HERMES_DASHBOARD_OIDC_SCOPES";
const BASIC_USERNAME: &str = "HERMES_DASHBOARD_BASIC_AUTH_USERNAME";
const BASIC_PASSWORD_HASH: &str = "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD_HASH";
const BASIC_SECRET: &str = "HERMES_DASHBOARD_BASIC_AUTH_SECRET";

/// Those that have a counterpart in the configuration.
pub(super) const VARIABLES: &[&str] = &[
    PUBLIC_URL,
    OAUTH_CLIENT_ID,
    PORTAL_URL,
    OIDC_ISSUER,
    OIDC_CLIENT_ID,
    OIDC_CLIENT_SECRET,
    OIDC_SCOPES,
    BASIC_USERNAME,
    BASIC_PASSWORD_HASH,
    BASIC_SECRET,
];

/// The portal that the original asks when `HERMES_DASHBOARD_PORTAL_URL` is not set.
const DEFAULT_PORTAL: &str = "https://portal.nousresearch.com";
/// A sign-in waits for an identity provider's answers.
pub(super) const SIGN_IN_DEADLINE: Duration = Duration::from_secs(5);

/// Values by the variable's name. None is empty.
type Values = BTreeMap<&'static str, Secret>;

/// What became of the variables.
pub(super) struct VariablesRead {
    /// Values that cannot be used.
    pub(super) mistakes: Vec<Mistake>,
    /// Variables that are not used, since another is missing or the configuration says otherwise.
    pub(super) warnings: Vec<String>,
}

/// A builtin that variables configure.
struct Builtin {
    /// The name of the component, and of the entry that is made.
    name: &'static str,
    display_name: &'static str,
    /// All of these must be set to make an entry.
    needed: &'static [&'static str],
    /// All of its variables.
    variables: &'static [&'static str],
    /// The settings that the variables are, by name.
    settings: fn(&Values) -> Vec<(&'static str, String)>,
    /// The setting whose origin the provider calls.
    calls: Option<&'static str>,
}

const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "basic",
        display_name: "Username & Password",
        needed: &[BASIC_USERNAME, BASIC_PASSWORD_HASH],
        variables: &[BASIC_USERNAME, BASIC_PASSWORD_HASH, BASIC_SECRET],
        settings: basic_settings,
        calls: None,
    },
    Builtin {
        name: "nous",
        display_name: "Nous Research",
        needed: &[OAUTH_CLIENT_ID],
        variables: &[OAUTH_CLIENT_ID, PORTAL_URL],
        settings: nous_settings,
        calls: Some("portal_url"),
    },
    Builtin {
        name: "oidc",
        display_name: "Single sign-on",
        needed: &[OIDC_ISSUER, OIDC_CLIENT_ID],
        variables: &[OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET, OIDC_SCOPES],
        settings: oidc_settings,
        calls: Some("issuer"),
    },
];

/// Fills what the configuration leaves open. Where it has no provider of a builtin, the variables
/// make one. `named` are the variables that the configuration names: they have their effect there.
pub(super) fn fill(
    dashboard: &mut DashboardConfig,
    values: &Values,
    named: &BTreeSet<OsString>,
) -> VariablesRead {
    let mut outcome = VariablesRead {
        mistakes: unusable(values),
        warnings: Vec::new(),
    };
    if !outcome.mistakes.is_empty() {
        return outcome;
    }

    let is_named = |name: &str| named.contains(OsStr::new(name));
    fill_public_url(dashboard, values, is_named(PUBLIC_URL), &mut outcome);
    for builtin in BUILTINS {
        let component = ComponentRef::Builtin(builtin.name.to_owned());
        if dashboard
            .providers
            .iter()
            .all(|entry| entry.component != component)
        {
            add(builtin, dashboard, values, &mut outcome);
            continue;
        }
        for entry in dashboard
            .providers
            .iter_mut()
            .filter(|entry| entry.component == component)
        {
            complete(builtin, entry, values, &mut outcome);
        }

        let unused: Vec<&str> = builtin
            .variables
            .iter()
            .copied()
            .filter(|name| values.contains_key(name) && !is_named(name))
            .filter(|name| !has_effect(name, builtin, dashboard, values))
            .collect();
        if !unused.is_empty() {
            outcome.warnings.push(format!(
                "set in the environment, but not used: {}. builtin:{} in dashboard.providers has other values, or \
                 another variable is missing",
                unused.join(", "),
                builtin.name
            ));
        }
    }
    outcome
}

/// Returns whether the variables can make a provider of this name.
pub(super) fn can_make(name: &str) -> bool {
    BUILTINS.iter().any(|builtin| builtin.name == name)
}

/// Placeholders, and a weak signing secret.
fn unusable(values: &Values) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (name, value) in values {
        let weak = match *name {
            BASIC_SECRET => Strength::KEY.judge(value.expose()).err(),
            _ => is_placeholder(value.expose()).then_some(WeakSecret::Placeholder),
        };
        mistakes.extend(weak.map(|weak| mistake(format!("{name} is refused: {weak}"))));
    }
    mistakes
}

fn mistake(text: String) -> Mistake {
    Mistake { place: None, text }
}

fn fill_public_url(
    dashboard: &mut DashboardConfig,
    values: &Values,
    is_named: bool,
    outcome: &mut VariablesRead,
) {
    let Some(value) = values.get(PUBLIC_URL) else {
        return;
    };
    let url = public_url(value.expose());
    if let Some(configured) = &dashboard.public_url {
        if !is_named && url.as_ref().ok() != Some(configured) {
            outcome.warnings.push(format!(
                "set in the environment, but not used: {PUBLIC_URL}. dashboard.public_url has another value"
            ));
        }
        return;
    }

    match url {
        Ok(url) => dashboard.public_url = Some(url),
        Err(_) => {
            outcome.mistakes.push(mistake(format!(
                "{PUBLIC_URL} must be a URL like https://agent.example.com"
            )));
        }
    }
}

/// Adds an entry for a builtin, if the variables that it needs are all set.
fn add(
    builtin: &Builtin,
    dashboard: &mut DashboardConfig,
    values: &Values,
    outcome: &mut VariablesRead,
) {
    let (set, missing): (Vec<&str>, Vec<&str>) = builtin
        .needed
        .iter()
        .copied()
        .partition(|name| values.contains_key(name));
    if !missing.is_empty() {
        let used: Vec<_> = builtin
            .variables
            .iter()
            .copied()
            .filter(|name| values.contains_key(name))
            .collect();
        if !used.is_empty() {
            outcome.warnings.push(half_a_pair(&used, &missing));
        }
        return;
    }
    if dashboard
        .providers
        .iter()
        .any(|entry| entry.name.as_str() == builtin.name)
    {
        outcome.mistakes.push(mistake(format!(
            "{} would make a provider named `{name}`, but the configuration has another of that name: rename it, or \
             give it `component: builtin:{name}`",
            set.join(" and "),
            name = builtin.name
        )));
        return;
    }

    let mut entry = ProviderConfig {
        name: ProviderName::new(builtin.name).expect("a constant that is a name"),
        component: ComponentRef::Builtin(builtin.name.to_owned()),
        sha256: None,
        display_name: builtin.display_name.to_owned(),
        settings: BTreeMap::new(),
        blank_users_file: None,
        grants: Grants {
            scopes: BTreeSet::new(),
            http: Vec::new(),
            keyvalue: true,
        },
        limits: Limits {
            deadline: SIGN_IN_DEADLINE,
            ..Limits::default()
        },
        link_modules: false,
        cache_ttl: None,
        place: set.join(", "),
        key_places: BTreeMap::new(),
    };
    complete(builtin, &mut entry, values, outcome);
    dashboard.providers.push(entry);
}

fn half_a_pair(used: &[&str], missing: &[&str]) -> String {
    format!(
        "{} is not used: set {} as well",
        used.join(", "),
        missing.join(" and ")
    )
}

/// Fills the absent settings of an entry. One that gets its issuer from a variable may call it.
fn complete(
    builtin: &Builtin,
    entry: &mut ProviderConfig,
    values: &Values,
    outcome: &mut VariablesRead,
) {
    let settings = (builtin.settings)(values);
    for (name, value) in &settings {
        let is_set = |name: &str| entry.settings.contains_key(name);
        let is_said_otherwise = *name == "users" && is_set("users_file");
        if !is_set(name) && !is_said_otherwise {
            entry.settings.insert((*name).to_owned(), value.clone());
            if builtin.calls == Some(*name) {
                grant_origin(builtin, entry, value, outcome);
            }
        }
    }

    // A secret goes to the issuer and for the client that it was made for, and to no other.
    let is_theirs = |name: &str| {
        let theirs = settings
            .iter()
            .find(|(setting, _)| *setting == name)
            .map(|(_, value)| value);
        theirs.is_some() && entry.settings.get(name) == theirs
    };
    if let Some(secret) = values
        .get(OIDC_CLIENT_SECRET)
        .filter(|_| builtin.name == "oidc")
        && is_theirs("issuer")
        && is_theirs("client_id")
    {
        add_client_secret(entry, secret, outcome);
    }
}

fn grant_origin(
    builtin: &Builtin,
    entry: &mut ProviderConfig,
    url: &str,
    outcome: &mut VariablesRead,
) {
    match origin_of(url) {
        Some(origin) if entry.grants.http.iter().any(|grant| grant.origin == origin) => {}
        Some(origin) => entry.grants.http.push(HttpGrant::of(origin)),
        None => {
            let name = if builtin.name == "oidc" {
                OIDC_ISSUER
            } else {
                PORTAL_URL
            };
            outcome.mistakes.push(mistake(format!(
                "{name} must be a URL like https://idp.example.com"
            )));
        }
    }
}

/// Returns whether an entry of the builtin has what the variable says, from there or from the file.
fn has_effect(
    variable: &str,
    builtin: &Builtin,
    dashboard: &DashboardConfig,
    values: &Values,
) -> bool {
    let component = ComponentRef::Builtin(builtin.name.to_owned());
    let mut entries = dashboard
        .providers
        .iter()
        .filter(|entry| entry.component == component);
    if variable == OIDC_CLIENT_SECRET {
        let secret = values.get(variable);
        return entries.any(|entry| secret.is_some_and(|secret| has_client_secret(entry, secret)));
    }

    let setting = setting_of(variable);
    let settings = (builtin.settings)(values);
    let value = settings
        .iter()
        .find(|(name, _)| *name == setting)
        .map(|(_, value)| value);
    value.is_some() && entries.any(|entry| entry.settings.get(setting) == value)
}

/// The setting that a variable fills, alone or with another.
fn setting_of(variable: &str) -> &'static str {
    match variable {
        BASIC_USERNAME | BASIC_PASSWORD_HASH => "users",
        BASIC_SECRET => "secret",
        OAUTH_CLIENT_ID | OIDC_CLIENT_ID => "client_id",
        PORTAL_URL => "portal_url",
        OIDC_ISSUER => "issuer",
        _ => "scopes",
    }
}

fn has_client_secret(entry: &ProviderConfig, secret: &Secret) -> bool {
    let client = Secret::new(entry.settings.get("client_id").cloned().unwrap_or_default());
    let expected = basic_authorization(&client, secret);
    let mut headers = entry.grants.http.iter().flat_map(|grant| &grant.headers);
    headers.any(|(name, value)| *name == AUTHORIZATION && value == expected.expose())
}

/// Adds the header by which the host identifies the client (RFC 6749, section 2.3.1). The provider
/// never sees it.
fn add_client_secret(entry: &mut ProviderConfig, secret: &Secret, outcome: &mut VariablesRead) {
    let issuer = entry
        .settings
        .get("issuer")
        .and_then(|issuer| origin_of(issuer));
    let client = Secret::new(entry.settings.get("client_id").cloned().unwrap_or_default());
    let grant = entry
        .grants
        .http
        .iter_mut()
        .find(|grant| Some(&grant.origin) == issuer.as_ref());
    let Some(grant) =
        grant.filter(|grant| grant.headers.iter().all(|(name, _)| *name != AUTHORIZATION))
    else {
        return;
    };

    match HeaderValue::from_str(basic_authorization(&client, secret).expose()) {
        Ok(mut value) => {
            value.set_sensitive(true);
            grant.headers.push((AUTHORIZATION, value));
        }
        Err(_) => {
            outcome.mistakes.push(mistake(format!(
                "{OIDC_CLIENT_SECRET}: no header can have this value"
            )));
        }
    }
}

fn origin_of(url: &str) -> Option<Origin> {
    Origin::of(&url.parse().ok()?)
}

fn text(values: &Values, name: &str) -> Option<String> {
    values.get(name).map(|value| value.expose().to_owned())
}

fn basic_settings(values: &Values) -> Vec<(&'static str, String)> {
    let pair = text(values, BASIC_USERNAME).zip(text(values, BASIC_PASSWORD_HASH));
    let users =
        pair.map(|(name, hash)| json!([{"username": name, "password_hash": hash}]).to_string());
    let users = users.map(|users| ("users", users));
    users
        .into_iter()
        .chain(text(values, BASIC_SECRET).map(|secret| ("secret", secret)))
        .collect()
}

fn nous_settings(values: &Values) -> Vec<(&'static str, String)> {
    let Some(client) = text(values, OAUTH_CLIENT_ID) else {
        return text(values, PORTAL_URL)
            .map(|portal| ("portal_url", portal))
            .into_iter()
            .collect();
    };
    let portal = text(values, PORTAL_URL).unwrap_or_else(|| DEFAULT_PORTAL.to_owned());
    vec![
        ("client_id", client),
        ("portal_url", portal.trim_end_matches('/').to_owned()),
    ]
}

fn oidc_settings(values: &Values) -> Vec<(&'static str, String)> {
    [
        ("issuer", OIDC_ISSUER),
        ("client_id", OIDC_CLIENT_ID),
        ("scopes", OIDC_SCOPES),
    ]
    .into_iter()
    .filter_map(|(setting, name)| text(values, name).map(|value| (setting, value)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ConfigError, Environment, load_text};
    use super::*;

    const HASH: &str = "scrypt$16384$8$1$c2FsdA==$a2V5";
    const SECRET: &str = "Jx3_8vTqk0ZrWm2yLhNcPd5uBfGa7sEoKi9tRb1XwQc";

    fn load(text: &str, variables: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
        let values = variables
            .iter()
            .map(|(name, value)| (*name, Secret::new((*value).to_owned())));
        let environment = Environment {
            original: values.collect(),
            ..Environment::default()
        };
        load_text("/home".into(), None, text, environment)
    }

    fn providers(text: &str, variables: &[(&'static str, &str)]) -> Vec<ProviderConfig> {
        load(text, variables).unwrap().dashboard.providers
    }

    #[test]
    fn variables_make_the_entries_that_the_file_has_not() {
        let all = [
            (BASIC_USERNAME, "ada"),
            (BASIC_PASSWORD_HASH, HASH),
            (BASIC_SECRET, SECRET),
            (OAUTH_CLIENT_ID, "agent:one"),
            (OIDC_ISSUER, "https://idp.example.com/realms/a"),
            (OIDC_CLIENT_ID, "portcullis"),
            (OIDC_CLIENT_SECRET, "s3cret"),
            (OIDC_SCOPES, "openid groups"),
        ];
        let made = providers("", &all);
        let names: Vec<_> = made.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["basic", "nous", "oidc"]);
        let [basic, nous, oidc] = &made[..] else {
            panic!("three entries")
        };
        let users = format!(r#"[{{"username":"ada","password_hash":"{HASH}"}}]"#);
        assert_eq!(
            (&basic.settings["users"], basic.settings["secret"].as_str()),
            (&users, SECRET)
        );
        assert!(basic.grants.keyvalue && basic.grants.http.is_empty());
        assert_eq!(
            (
                nous.settings["client_id"].as_str(),
                nous.settings["portal_url"].as_str()
            ),
            ("agent:one", DEFAULT_PORTAL)
        );
        assert_eq!(
            nous.grants.http[0].origin,
            Origin::parse(DEFAULT_PORTAL).unwrap()
        );
        assert_eq!(
            (oidc.settings["scopes"].as_str(), oidc.settings.len()),
            ("openid groups", 3)
        );
        let grant = &oidc.grants.http[0];
        assert_eq!(
            grant.origin,
            Origin::parse("https://idp.example.com").unwrap()
        );
        // base64 of portcullis:s3cret
        assert_eq!(grant.headers[0].1, "Basic cG9ydGN1bGxpczpzM2NyZXQ=");
    }

    #[test]
    fn file_takes_precedence() {
        let file = "dashboard: {public_url: 'https://file.example', providers: [{name: corp, component: 'builtin:oidc', \
                    config: {issuer: 'https://other.example'}}]}";
        let variables = [
            (PUBLIC_URL, "https://variable.example"),
            (OIDC_ISSUER, "https://idp.example.com"),
            (OIDC_CLIENT_ID, "portcullis"),
            (OIDC_CLIENT_SECRET, "s3cret"),
        ];
        let config = load(file, &variables).unwrap();
        assert_eq!(config.dashboard.public_url.unwrap().host, "file.example");
        let [corp] = &config.dashboard.providers[..] else {
            panic!("one entry")
        };
        assert_eq!(
            (
                corp.settings["issuer"].as_str(),
                corp.settings["client_id"].as_str()
            ),
            ("https://other.example", "portcullis")
        );
        assert!(
            corp.grants.http.is_empty(),
            "the secret of one issuer goes to no other"
        );
        let config = load("", &variables).unwrap();
        assert_eq!(
            config.dashboard.public_url.unwrap().host,
            "variable.example"
        );
    }

    #[test]
    fn half_a_pair_is_named_with_what_is_missing() {
        for (variable, missing) in [
            (OIDC_ISSUER, OIDC_CLIENT_ID),
            (OIDC_CLIENT_SECRET, OIDC_ISSUER),
            (BASIC_USERNAME, BASIC_PASSWORD_HASH),
            (BASIC_PASSWORD_HASH, BASIC_USERNAME),
            (PORTAL_URL, OAUTH_CLIENT_ID),
        ] {
            let config = load("", &[(variable, "https://value.example")]).unwrap();
            assert!(config.dashboard.providers.is_empty(), "{variable}");
            let [finding] = &config.findings[..] else {
                panic!("{variable}: {:?}", config.findings)
            };
            assert!(
                !finding.is_mistake
                    && finding.text.contains(variable)
                    && finding.text.contains(missing)
            );
            assert!(!finding.text.contains("value.example"), "{}", finding.text);
        }
    }

    #[test]
    fn variables_that_the_file_overrules_are_named() {
        let basic = format!(
            "dashboard: {{providers: [{{name: basic, component: 'builtin:basic', config: {{secret: {SECRET}, users: \
             [{{username: eve, password_hash: '{HASH}'}}]}}}}]}}"
        );
        let oidc = "dashboard: {public_url: 'https://file.example', providers: [{name: corp, component: 'builtin:oidc', \
                    config: {issuer: 'https://other.example', client_id: a}}]}";
        for (file, variable) in [
            (basic.as_str(), BASIC_USERNAME),
            (basic.as_str(), BASIC_PASSWORD_HASH),
            (oidc, OIDC_ISSUER),
            (oidc, OIDC_CLIENT_ID),
            (oidc, OIDC_CLIENT_SECRET),
            (oidc, PUBLIC_URL),
        ] {
            let config = load(file, &[(variable, "https://value.example")]).unwrap();
            let [finding] = &config.findings[..] else {
                panic!("{variable}: {:?}", config.findings)
            };
            let expected = format!("set in the environment, but not used: {variable}.");
            assert!(
                !finding.is_mistake && finding.text.starts_with(&expected),
                "{}",
                finding.text
            );
            assert!(!finding.text.contains("value.example"), "{}", finding.text);
        }
    }

    #[test]
    fn variables_that_say_what_the_file_says_are_no_finding() {
        let oidc = "dashboard: {public_url: 'https://file.example', providers: [{name: corp, component: 'builtin:oidc', \
                    config: {issuer: 'https://idp.example.com'}, grants: {http: [{origin: 'https://idp.example.com'}]}}]}";
        let variables = [
            (PUBLIC_URL, "https://file.example"),
            (OIDC_ISSUER, "https://idp.example.com"),
            (OIDC_CLIENT_ID, "portcullis"),
            (OIDC_CLIENT_SECRET, "s3cret"),
            (OIDC_SCOPES, "openid"),
        ];
        let config = load(oidc, &variables).unwrap();
        assert!(config.findings.is_empty(), "{:?}", config.findings);
    }

    #[test]
    fn values_that_cannot_be_used_are_mistakes() {
        for variables in [
            &[(PUBLIC_URL, "my-host")][..],
            &[(OIDC_ISSUER, "my-issuer"), (OIDC_CLIENT_ID, "a")],
            &[(OIDC_ISSUER, "${ISSUER}")],
            &[(BASIC_SECRET, "short-example")],
        ] {
            let refusal = load("", variables).unwrap_err().to_string();
            assert!(refusal.starts_with(variables[0].0), "{refusal}");
            assert!(!refusal.contains(variables[0].1), "{refusal}");
        }
        let file = "dashboard: {providers: [{name: oidc, component: x}]}";
        let variables = [
            (OIDC_ISSUER, "https://idp.example.com"),
            (OIDC_CLIENT_ID, "portcullis"),
        ];
        let refusal = load(file, &variables).unwrap_err().to_string();
        assert!(
            refusal.contains("the configuration has another of that name"),
            "{refusal}"
        );
    }
}
