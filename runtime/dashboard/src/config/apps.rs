//! `dashboard.apps`: what stands behind the gate.

use super::forms::{access_name, host_name};
use super::providers::{read_ca, read_headers};
use super::section::{Given, Reader, Section, values};
use super::{DashboardConfig, is_loopback_name};
use crate::web::{
    AppLimits, AppSettings, Preset, Upstream, below_own_prefix, is_always_own,
    is_header_of_the_host, is_plain_prefix, owner_of_path, why_unreachable,
};
use crate::yaml::{Node, Position, Yaml, YamlKey};
use http::header::{COOKIE, HeaderName, HeaderValue, ORIGIN, REFERER};
use portcullis_auth::{Allow, Allowed, Role, Scope};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// The most that `limits.body_mib` may allow.
const MAX_BODY_MIB: i64 = 65_536;
/// The most that `limits.idle_seconds` may allow: a week.
const MAX_IDLE_SECONDS: i64 = 604_800;
/// Longest name of an application, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Reads the applications, each with its place.
pub(super) fn read_apps(
    section: &mut Section,
    drain_scope: &Scope,
    reader: &mut Reader<'_>,
) -> Vec<(Position, AppSettings)> {
    let list = section.list("apps", reader);
    let mut apps: Vec<(Position, AppSettings)> = Vec::new();
    let mut public_paths = Vec::new();

    for (index, node) in list.into_iter().enumerate() {
        let name = format!("dashboard.apps[{index}]");
        let place = node.place;
        let mut entry = Section::open(&name, node, reader);
        let read = read_app(&mut entry, drain_scope, reader);
        entry.finish(reader);
        let Some((app, public)) = read else { continue };
        if apps.iter().any(|(_, other)| other.name == app.name) {
            reader.mistakes.add(
                place,
                format!("`{name}.name`: another application is named `{}`", app.name),
            );
        }
        if let Some((_, other)) = apps
            .iter()
            .find(|(_, other)| (&other.host, &other.path) == (&app.host, &app.path))
        {
            let text = format!(
                "`{name}.path`: the application `{}` has this path and host",
                other.name
            );
            reader.mistakes.add(place, text);
        }
        public_paths.push((name, public));
        apps.push((place, app));
    }

    for ((name, public), (_, app)) in public_paths.iter().zip(&apps) {
        complain_of_unreachable(name, public, app, &apps, reader);
    }
    apps
}

/// Complains of public paths that no request can have: their requests are refused, or are another
/// application's.
fn complain_of_unreachable(
    name: &str,
    public: &[(Position, String)],
    app: &AppSettings,
    apps: &[(Position, AppSettings)],
    reader: &mut Reader<'_>,
) {
    let all: Vec<_> = apps.iter().map(|(_, app)| app).collect();
    for (place, path) in public {
        if let Some(why) = why_unreachable(path, app, &all) {
            reader
                .mistakes
                .add(*place, format!("`{name}.public_paths`: {why}"));
        }
    }
}

/// Reads one application, and the places of its public paths.
fn read_app(
    section: &mut Section,
    drain_scope: &Scope,
    reader: &mut Reader<'_>,
) -> Option<(AppSettings, Vec<(Position, String)>)> {
    let name = section.parsed("name", reader, app_name);
    let name = section.require("name", name, reader);
    let path = section.parsed("path", reader, app_path);
    let path = section.require("path", path, reader);
    let host = section.parsed("host", reader, host_name);
    let upstream = read_upstream(section, reader);
    let allowed = read_allowed(section, drain_scope, reader);
    let public_paths = read_public_paths(section, path.as_deref(), reader);
    let headers = read_put_on(section, reader);
    let limits = read_limits(section, reader);

    let preset_place = section.place_of("preset");
    let preset = section.parsed("preset", reader, |text| match text {
        "hermes" => Ok(Preset::Hermes),
        _ => Err("must be hermes, or be left out"),
    });

    let app = AppSettings {
        name: name?,
        path: path?,
        host,
        upstream: upstream?,
        allowed,
        public_paths: values(public_paths.clone()).into_iter().collect(),
        headers,
        limits,
        preset,
    };

    if let (Some(place), Some(wrong)) = (preset_place, wrong_for_preset(&app)) {
        reader
            .mistakes
            .add(place, format!("`{}`: {wrong}", section.full("preset")));
    }
    Some((app, public_paths))
}

/// Its page shows its token to every caller, so only this machine may reach it.
fn wrong_for_preset(app: &AppSettings) -> Option<&'static str> {
    let Preset::Hermes = app.preset?;
    if !app.upstream.is_local() {
        return Some(
            "the upstream must be on loopback, like http://127.0.0.1:9120, or a Unix socket",
        );
    }
    app.allowed
        .is_public()
        .then_some("`allow` must not be public")
}

fn read_upstream(section: &mut Section, reader: &mut Reader<'_>) -> Option<Upstream> {
    let upstream = section.parsed("upstream", reader, Upstream::parse);
    let upstream = section.require("upstream", upstream, reader);
    let name = section.full("ca");
    let Some(node) = section.take("ca") else {
        return upstream;
    };

    let upstream = upstream?;
    if !upstream.is_https() {
        reader.mistakes.add(
            node.place,
            format!("`{name}` has no effect: the upstream is not https"),
        );
        return Some(upstream);
    }

    let authorities = read_ca(&name, &node, reader);
    Some(match authorities {
        Some(authorities) => upstream.with_ca(authorities),
        None => upstream,
    })
}

/// Absent: people. A key without a value is a mistake, since it could be meant to let in fewer.
fn read_allowed(section: &mut Section, drain_scope: &Scope, reader: &mut Reader<'_>) -> Allowed {
    let name = section.full("allow");
    let given = section.given("allow");
    let ways: Vec<_> = match section.take("allow") {
        Some(Node {
            value: Yaml::List(items),
            ..
        }) => {
            let named = items
                .into_iter()
                .enumerate()
                .map(|(index, item)| (format!("{name}[{index}]"), item));
            named
                .filter_map(|(name, item)| read_way(&name, item, drain_scope, reader))
                .collect()
        }
        Some(node) => read_way(&name, node, drain_scope, reader)
            .into_iter()
            .collect(),
        None if given.is_none() => vec![Allow::People],
        None => Vec::new(),
    };

    if let Some(given) = given
        && ways.is_empty()
        && !reader.is_explained(&name, given)
    {
        reader
            .mistakes
            .add(given.place, format!("`{name}` is empty: {WAYS}"));
    }

    Allowed::any_of(ways)
}

const WAYS: &str =
    "write people, public, {role: ..}, {groups: [..]}, {scope: ..} or a list of these";

fn read_way(name: &str, node: Node, drain_scope: &Scope, reader: &mut Reader<'_>) -> Option<Allow> {
    if matches!(node.value, Yaml::Map(_)) {
        return read_condition(name, node, drain_scope, reader);
    }
    let text = reader.text(name, &node)?;
    let way = match text.expose() {
        "people" => Ok(Allow::People),
        "public" => Ok(Allow::Public),
        _ => Err(WAYS),
    };
    reader.keep(name, node.place, way)
}

fn read_condition(
    name: &str,
    node: Node,
    drain_scope: &Scope,
    reader: &mut Reader<'_>,
) -> Option<Allow> {
    let place = node.place;
    let is_blank = matches!(&node.value, Yaml::Map(entries) if entries.is_empty());
    let mut condition = Section::open(name, node, reader);
    refuse_blank(&condition, reader);
    let role = condition.parsed("role", reader, |text| match text {
        "operator" => Ok(Role::Operator),
        "viewer" => Ok(Role::Viewer),
        _ => Err("must be operator or viewer"),
    });
    let groups = values(condition.parsed_list("groups", reader, access_name));
    let groups = Some(BTreeSet::from_iter(groups)).filter(|groups| !groups.is_empty());
    let scope = condition.parsed("scope", reader, |text| {
        let scope = Scope::new(text).map_err(|error| error.to_string())?;
        match scope == *drain_scope {
            true => Err(format!(
                "`{scope}` is the drain scope, which opens no application"
            )),
            false => Ok(scope),
        }
    });

    condition.finish(reader);
    let mut ways = [
        role.map(Allow::Role),
        groups.map(Allow::Groups),
        scope.map(Allow::Scope),
    ]
    .into_iter()
    .flatten();
    match (ways.next(), ways.next()) {
        (Some(way), None) => Some(way),
        (Some(_), Some(_)) => {
            let text = format!(
                "`{name}` has several conditions: write a list, of which each entry lets in"
            );
            reader.mistakes.add(place, text);
            None
        }
        (None, _) => {
            if !reader.is_explained(name, Given { place, is_blank }) {
                reader
                    .mistakes
                    .add(place, format!("`{name}` is empty: {WAYS}"));
            }
            None
        }
    }
}

/// Complains of conditions that say nothing, also beside another one: each was meant to let in
/// fewer.
fn refuse_blank(condition: &Section, reader: &mut Reader<'_>) {
    for key in ["role", "groups", "scope"] {
        if let Some(given) = condition.given(key).filter(|given| given.is_blank) {
            let name = condition.full(key);
            reader.mistakes.add(
                given.place,
                format!("`{name}` is empty: give a value, or remove the key"),
            );
        }
    }
}

fn read_public_paths(
    section: &mut Section,
    path: Option<&str>,
    reader: &mut Reader<'_>,
) -> Vec<(Position, String)> {
    section.parsed_list("public_paths", reader, |text| {
        let is_below = |path: &str| {
            text.strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match text {
            text if !text.starts_with('/') || text.contains(['?', '#', '*']) => {
                Err(format!("{text:?} is no exact path like /api/hook"))
            }
            text if is_always_own(text) => Err(format!("{text} is always the dashboard's")),
            text if path.is_some_and(|path| !is_below(path)) => Err(format!(
                "{text} does not lie below the application's path, {}",
                path.unwrap_or_default()
            )),
            text => Ok(text.to_owned()),
        }
    })
}

/// Headers that the host puts on. Those that say who calls, or that every request needs, are not
/// among them.
fn read_put_on(section: &mut Section, reader: &mut Reader<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let name = section.full("headers");
    let Some(node) = section.take("headers") else {
        return Vec::new();
    };
    let keys = header_keys(&node);

    let headers = read_headers(&name, node, reader);
    for (index, (place, header)) in keys.iter().enumerate() {
        let mut earlier = keys.iter().take(index);
        if earlier.any(|(_, other)| other == header) {
            let text = format!("`{name}`: `{header}` stands here twice; case does not count");
            reader.mistakes.add(*place, text);
        }
        // A name that no header can have was complained of.
        let is_read = headers.iter().any(|(read, _)| read == header);
        let is_set =
            is_header_of_the_host(header.as_str()) || [COOKIE, ORIGIN, REFERER].contains(header);
        if is_read && is_set {
            let text = format!("`{name}`: the dashboard itself sets `{header}`, or takes it off");
            reader.mistakes.add(*place, text);
        }
    }

    headers
}

/// The names of headers with their places.
fn header_keys(node: &Node) -> Vec<(Position, HeaderName)> {
    let Yaml::Map(entries) = &node.value else {
        return Vec::new();
    };
    let read = |(key, _): &(YamlKey, Node)| {
        let name = HeaderName::from_bytes(key.text.as_bytes()).ok()?;
        Some((key.place, name))
    };
    entries.iter().filter_map(read).collect()
}

fn read_limits(section: &mut Section, reader: &mut Reader<'_>) -> AppLimits {
    let mut limits = section.section("limits", reader);
    let defaults = AppLimits::default();
    let body_mib: Option<usize> = limits.integer("body_mib", reader, 1..=MAX_BODY_MIB);
    let idle_seconds: Option<u64> = limits.integer("idle_seconds", reader, 1..=MAX_IDLE_SECONDS);
    limits.finish(reader);
    AppLimits {
        body_bytes: body_mib.map_or(defaults.body_bytes, |mib| mib << 20),
        idle: idle_seconds.map_or(defaults.idle, Duration::from_secs),
    }
}

fn app_name(text: &str) -> Result<String, String> {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_part) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is no name of an application: a-z, 0-9 and -"
        )),
    }
}

/// Without a slash at the end, so that `/` is empty.
fn app_path(text: &str) -> Result<String, String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    if !text.starts_with('/') || !is_plain_prefix(path) {
        return Err(format!(
            "{text:?} is no path of plain segments like / or /tools"
        ));
    }
    match is_always_own(path) {
        true => Err(format!("{text} is always the dashboard's")),
        false => Ok(path.to_owned()),
    }
}

/// The scopes that applications ask for, as [`unmet_routes`](super::finding::unmet_routes) wants
/// them.
pub(super) fn app_scopes(apps: &[(Position, AppSettings)]) -> Vec<(Position, String, Scope)> {
    let of_app = |(place, app): &(Position, AppSettings)| {
        let scopes: Vec<_> = app.allowed.scopes().cloned().collect();
        let named = format!("the application `{}`", app.name);
        scopes
            .into_iter()
            .map(|scope| (*place, named.clone(), scope))
            .collect::<Vec<_>>()
    };
    apps.iter().flat_map(of_app).collect()
}

/// Complains about applications whose host the dashboard does not answer to.
pub(super) fn unreachable_apps(
    apps: &[(Position, AppSettings)],
    config: &DashboardConfig,
) -> Vec<(Position, String)> {
    if config
        .host
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_unspecified())
    {
        return Vec::new();
    }

    let is_answered = |host: &String| {
        *host == config.host
            || config.allowed_hosts.contains(host)
            || config
                .public_url
                .as_ref()
                .is_some_and(|url| url.host == *host)
            || is_loopback_name(&config.host) && is_loopback_name(host)
    };
    let complaint = |(place, app): &(Position, AppSettings)| {
        let host = app.host.as_ref().filter(|host| !is_answered(host))?;
        let text = format!(
            "the dashboard does not answer to {host}, so the application `{}` is never reached: add {host} to \
             `dashboard.allowed_hosts`",
            app.name
        );
        Some((*place, text))
    };

    apps.iter().filter_map(complaint).collect()
}

/// Warns of token routes whose path belongs to an application, at the public host or at every host:
/// a token does not open them there. `routes`: each path with its place.
pub(super) fn covered_token_routes(
    routes: &[(Position, String)],
    config: &DashboardConfig,
) -> Vec<(Position, String)> {
    let public = config.public_url.as_ref().map(|url| url.host.as_str());
    let warning = |(place, path): &(Position, String)| {
        let app = owner_of_path(path, public, &config.apps)?;
        let at = app.host.as_ref().map(|host| format!(" at {host}"));
        let text = format!(
            "{path} belongs to the application `{}`{}, so no token opens the token route there: use {}",
            app.name,
            at.unwrap_or_default(),
            below_own_prefix(path)
        );
        Some((*place, text))
    };
    routes.iter().filter_map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment, load_text};
    use super::*;

    fn read(app: &str) -> Result<Config, String> {
        let text = format!("dashboard:\n  apps:\n    - {app}\n");
        load_text("/home".into(), None, &text, Environment::default())
            .map_err(|error| error.to_string())
    }

    const GOOD: &str = "name: a, path: /, upstream: 'http://127.0.0.1:1'";

    #[test]
    fn token_routes_that_an_application_covers_are_a_warning() {
        let warnings = |host: &str| {
            let text = format!(
                "dashboard:\n  public_url: https://agent.example.com\n  allowed_hosts: [other.example]\n  \
                 token_routes: [{{path: /metrics, scope: drain}}, {{path: /healthz, scope: drain}}]\n  \
                 apps: [{{{GOOD}{host}}}]\n"
            );
            let config = load_text("/home".into(), None, &text, Environment::default()).unwrap();
            let findings = config.findings.into_iter();
            findings
                .filter(|finding| finding.text.contains("no token opens"))
                .map(|finding| (finding.is_mistake, finding.text))
                .collect::<Vec<_>>()
        };
        for (host, expected) in [
            (
                "",
                "4:25: /metrics belongs to the application `a`, so no token",
            ),
            (
                ", host: agent.example.com",
                "4:25: /metrics belongs to the application `a` at agent.example.com, so no token",
            ),
        ] {
            let found = warnings(host);
            let [(false, text)] = &found[..] else {
                panic!("{found:?}");
            };
            assert!(
                text.contains(expected) && text.ends_with(": use /_portcullis/metrics"),
                "{text}"
            );
        }
        assert!(warnings(", host: other.example").is_empty());
    }

    #[test]
    fn example_of_the_contract_is_read() {
        let config = read(
            "{name: hermes, path: /, host: agent.example.com, upstream: 'http://127.0.0.1:9120', allow: people, \
             public_paths: [/api/cron/fire], headers: {X-Key: {env: PATH}}, limits: {body_mib: 1, idle_seconds: 5}}",
        );
        let config = config.unwrap();
        let app = &config.dashboard.apps[0];
        assert_eq!(
            (
                app.path.as_str(),
                app.limits.body_bytes,
                app.limits.idle.as_secs()
            ),
            ("", 1 << 20, 5)
        );
        assert!(app.headers[0].1.is_sensitive() && app.public_paths.contains("/api/cron/fire"));
        assert!(config.findings.iter().any(|finding| {
            finding
                .text
                .contains("does not answer to agent.example.com")
        }));
        let defaults = read(&format!("{{{GOOD}}}"))
            .unwrap()
            .dashboard
            .apps
            .remove(0);
        assert_eq!(
            (defaults.allowed, defaults.limits),
            (Allowed::any_of(vec![Allow::People]), AppLimits::default())
        );
    }

    #[test]
    fn every_form_of_allow_is_read() {
        for (text, expected) in [
            ("people", vec![Allow::People]),
            ("public", vec![Allow::Public]),
            ("{role: operator}", vec![Allow::Role(Role::Operator)]),
            (
                "{groups: [ops]}",
                vec![Allow::Groups(BTreeSet::from(["ops".to_owned()]))],
            ),
            (
                "[{scope: app.use}, {role: viewer}]",
                vec![
                    Allow::Scope(Scope::new("app.use").unwrap()),
                    Allow::Role(Role::Viewer),
                ],
            ),
        ] {
            let config = read(&format!("{{{GOOD}, allow: {text}}}")).unwrap();
            assert_eq!(
                config.dashboard.apps[0].allowed,
                Allowed::any_of(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (app, complaint) in [
            (
                "{path: /, upstream: 'http://a'}",
                "3:7: `dashboard.apps[0].name` is missing",
            ),
            (
                "{name: A b, path: /, upstream: 'http://a'}",
                "is no name of an application",
            ),
            (
                "{name: a, upstream: 'http://a'}",
                "`dashboard.apps[0].path` is missing",
            ),
            (
                "{name: a, path: /}",
                "`dashboard.apps[0].upstream` is missing",
            ),
            (
                "{name: a, path: tools, upstream: 'http://a'}",
                "is no path of plain segments",
            ),
            (
                "{name: a, path: /auth/x, upstream: 'http://a'}",
                "always the dashboard's",
            ),
            (
                "{name: a, path: /_portcullis, upstream: 'http://a'}",
                "always the dashboard's",
            ),
            (
                "{name: a, path: /, upstream: 'http://a/b'}",
                "must be http://HOST:PORT",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', ca: {file: x}}",
                "has no effect",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', alow: people}",
                "did you mean `allow`?",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', allow: }",
                "`dashboard.apps[0].allow` is empty",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', allow: []}",
                "`dashboard.apps[0].allow` is empty",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', allow: everyone}",
                "write people, public",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', allow: {grups: [x]}}",
                "did you mean `groups`?",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', allow: {groups: []}}",
                "is empty",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', allow: {role: admin}}",
                "must be operator or viewer",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', allow: {role: viewer, groups: [x]}}",
                "several conditions",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', allow: {scope: drain}}",
                "opens no application",
            ),
            (
                "{name: a, path: /x, upstream: 'http://a', public_paths: [/y]}",
                "does not lie below",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', public_paths: ['/y*']}",
                "is no exact path",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', public_paths: [/login]}",
                "always the dashboard's",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', headers: {X_Auth_User: ada}}",
                "the dashboard itself sets",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', headers: {Host: b}}",
                "sets itself",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', headers: {Expect: 100-continue}}",
                "3:58: `dashboard.apps[0].headers`: the dashboard itself sets `expect`",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', headers: {X-Request-Id: b}}",
                "the dashboard itself sets",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', headers: {X-Portcullis-Hop: b}}",
                "the dashboard itself sets",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', headers: {Sec-WebSocket-Protocol: b}}",
                "the dashboard itself sets",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', headers: {Keep-Alive: b}}",
                "the dashboard itself sets",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', headers: {X-A: b, x-a: c}}",
                "stands here twice",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', public_paths: [//login]}",
                "`dashboard.apps[0].public_paths`: //login is read as /login",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', public_paths: ['/a/../b']}",
                "is refused before the gate",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', public_paths: [/b/x]}\n    - {name: b, path: /b, upstream: 'http://a'}",
                "/b/x belongs to the application `b`",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', limits: {body_mib: 0}}",
                "must be an integer from 1",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', limits: {idle: 1}}",
                "did you mean `idle_seconds`?",
            ),
            (
                "{name: a, path: /, upstream: 'http://a', preset: django}",
                "must be hermes",
            ),
            (
                "{name: a, path: /, upstream: 'http://10.0.0.1:1', preset: hermes}",
                "must be on loopback",
            ),
            (
                "{name: a, path: /, upstream: 'unix:/x', preset: hermes, allow: public}",
                "must not be public",
            ),
        ] {
            let found = read(app).expect_err(app);
            assert!(
                found.contains(complaint) && found.lines().count() == 1,
                "{app}: {found}"
            );
        }
        let twice = format!("{{{GOOD}}}\n    - {{{GOOD}}}");
        let found = read(&twice).unwrap_err();
        assert!(
            found.contains("another application is named `a`")
                && found.contains("has this path and host")
        );
    }
}
