//! The settings under `dashboard`.

use super::access::read_access;
use super::apps::{app_scopes, covered_token_routes, read_apps, unreachable_apps};
use super::branding::read_branding;
use super::connections::read_connections;
use super::drain_secrets::read_drain_secrets;
use super::finding::unmet_routes;
use super::forms::{cookie_name, host_name, parse_bind_host, public_url, served_path};
use super::providers::read_providers;
use super::proxies::read_trusted_proxies;
use super::secret_value::take_judged_list;
use super::section::{Reader, Section, values};
use super::telemetry::read_telemetry;
use super::tls::{Front, is_own_address, read_front};
use super::{ALLOWED_HOSTS, DASHBOARD_HOST, DashboardConfig, PUBLIC_URL, is_loopback_name};
use crate::web::DEFAULT_COOKIE_NAME;
use crate::yaml::Position;
use portcullis_auth::Scope;
use portcullis_auth::secret_strength::Strength;
use std::path::Path;
use std::time::Duration;

const DEFAULT_PORT: u16 = 9119;
const DEFAULT_MIN_SECRET_CHARS: usize = 43;
/// The session key that seals, and those of before that still open cookies.
const MAX_SESSION_KEYS: usize = 16;
const DEFAULT_MAX_AGE_SECONDS: u64 = 3600;

pub(super) fn read_dashboard(
    root: &mut Section,
    file: &Path,
    reader: &mut Reader<'_>,
) -> DashboardConfig {
    let mut section = root.section("dashboard", reader);
    let mut drain_auth = section.section("drain_auth", reader);
    let drain_scope = drain_auth
        .parsed("scope", reader, Scope::new)
        .unwrap_or_else(default_drain_scope);
    let min_secret_chars = drain_auth.integer("min_secret_chars", reader, 1..=4096);
    let min_secret_chars = min_secret_chars.unwrap_or(DEFAULT_MIN_SECRET_CHARS);
    let drain_secrets = read_drain_secrets(&mut drain_auth, min_secret_chars, reader);
    drain_auth.finish(reader);

    let mut drain = section.section("drain", reader);
    let max_age = drain.integer("max_age_seconds", reader, 0..=31_536_000);
    drain.finish(reader);

    let mut sandbox = section.section("sandbox", reader);
    let memory_mib: Option<usize> = sandbox.integer("memory_mib", reader, 16..=16_777_216);
    sandbox.finish(reader);

    let providers = read_providers(&mut section, &drain_scope, file, reader);
    let access = read_access(&mut section, &providers, reader);
    let apps = read_apps(&mut section, &drain_scope, reader);
    let TokenRoutes {
        scopes: token_routes,
        paths: token_paths,
    } = read_token_routes(&mut section, reader);
    if !reader.unread.may_grant_more {
        for routes in [&token_routes, &app_scopes(&apps)] {
            let unmet = unmet_routes(routes, &providers, &drain_scope);
            reader.findings.extend(unmet);
        }
    }

    section.note_place(DASHBOARD_HOST, "host", reader);
    section.note_place(PUBLIC_URL, "public_url", reader);
    let public_url = section.parsed("public_url", reader, public_url);
    let redirect_place = section.place_of("redirect_http");
    let Front {
        tls,
        acme,
        redirect_http,
    } = read_front(&mut section, public_url.as_ref(), reader);
    let branding = read_branding(&mut section, reader);
    let host = section.parsed("host", reader, parse_bind_host);
    let port = section.integer("port", reader, 0..=65535);
    let allowed_hosts = section.parsed_list("allowed_hosts", reader, host_name);
    let public = allowed_hosts
        .iter()
        .find(|(_, host)| !is_loopback_name(host));
    if let Some((place, _)) = public {
        reader.places.insert(ALLOWED_HOSTS, *place);
    }

    let config = DashboardConfig {
        host: host.unwrap_or_else(|| "127.0.0.1".to_owned()),
        port: port.unwrap_or(DEFAULT_PORT),
        tls,
        acme,
        redirect_http,
        public_url,
        allowed_hosts: values(allowed_hosts),
        trusted_proxies: read_trusted_proxies(&mut section, reader),
        connections: read_connections(&mut section, reader),
        cookie_name: section
            .parsed("cookie_name", reader, cookie_name)
            .unwrap_or_else(|| DEFAULT_COOKIE_NAME.to_owned()),
        session_keys: take_judged_list(
            &mut section,
            "session_key",
            MAX_SESSION_KEYS,
            Strength::KEY,
            reader,
        ),
        min_secret_chars,
        drain_secrets,
        max_marker_age: Duration::from_secs(max_age.unwrap_or(DEFAULT_MAX_AGE_SECONDS)),
        guest_memory_bytes: memory_mib.map(|mib| mib * 1024 * 1024),
        providers,
        token_routes: token_routes
            .into_iter()
            .map(|(_, path, scope)| (path, scope))
            .collect(),
        access,
        apps: apps.iter().map(|(_, app)| app.clone()).collect(),
        telemetry: read_telemetry(&mut section, reader),
        branding,
        drain_scope,
    };

    if let (Some(place), Some(address)) = (redirect_place, config.redirect_http)
        && is_own_address(&config.host, config.port, address)
    {
        let text = "`dashboard.redirect_http` is the address of the dashboard itself: plain HTTP needs another port";
        reader.mistakes.add(place, text);
    }
    let names_are_read = ["`dashboard.public_url", "`dashboard.allowed_hosts"]
        .iter()
        .all(|name| !reader.mistakes.mentions(name));
    if names_are_read {
        reader.findings.extend(unreachable_apps(&apps, &config));
        reader
            .warnings
            .extend(covered_token_routes(&token_paths, &config));
    }
    section.finish(reader);
    config
}

fn default_drain_scope() -> Scope {
    Scope::new("drain").expect("a constant that is a scope")
}

/// The token routes, with the places of what later checks complain about.
#[derive(Default)]
struct TokenRoutes {
    /// Each path with its scope, and the place of the scope.
    scopes: Vec<(Position, String, Scope)>,
    /// Each path, with its own place.
    paths: Vec<(Position, String)>,
}

fn read_token_routes(section: &mut Section, reader: &mut Reader<'_>) -> TokenRoutes {
    let list = section.list("token_routes", reader);
    let mut routes = TokenRoutes::default();

    for (index, node) in list.into_iter().enumerate() {
        let name = format!("dashboard.token_routes[{index}]");
        let place = node.place;
        let mut route = Section::open(&name, node, reader);
        let path_place = route.look_at("path").map(|node| node.place);
        let path = route.parsed("path", reader, served_path);
        let scope_place = route.look_at("scope").map(|node| node.place);
        let scope = route.parsed("scope", reader, Scope::new);
        let path = route.require("path", path, reader);
        let scope = route.require("scope", scope, reader);
        route.finish(reader);
        let (Some(path), Some(scope)) = (path, scope) else {
            continue;
        };
        if routes.paths.iter().any(|(_, other)| *other == path) {
            reader
                .mistakes
                .add(place, format!("`{name}.path`: {path} is listed twice"));
        }
        let path_place = path_place.unwrap_or(place);
        let scope_place = scope_place.unwrap_or(place);
        routes.paths.push((path_place, path.clone()));
        routes.scopes.push((scope_place, path, scope));
    }

    routes
}
