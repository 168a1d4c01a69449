//! Authenticated requests through the dashboard, and through nginx and Caddy that ask it who calls.

use super::Effort;
use super::child::{Child, Role};
use super::figures::{Spread, ratio, table};
use super::generator::Plan;
use super::load::{self, Measured};
use super::servers::{Server, Site, missing};
use super::upstream::SHORT_BYTES;
use portcullis_tests::{Browser, Home, Process, linked_guest};
use serde_json::json;
use std::time::Duration;

/// Connections of a load, each with one request in flight.
const CONNECTIONS: usize = 64;
/// What is aimed at.
const GOALS: &str = "The goals for requests/s of a cached session: 2 times nginx with `auth_request`, 3 times Caddy with \
                     `forward_auth`, 0.6 of nginx alone.\n";
/// A token that the guest `known` knows.
const TOKEN: &str = "good-token";

const NGINX_ALONE: &str = include_str!("proxies/nginx-alone.conf.in");
const NGINX_AUTH_REQUEST: &str = include_str!("proxies/nginx-auth-request.conf.in");
const CADDY_ALONE: &str = include_str!("proxies/caddy-alone.in");
const CADDY_FORWARD_AUTH: &str = include_str!("proxies/caddy-forward-auth.in");

type Headers = Vec<(String, String)>;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    /// A person whose provider is asked at every request.
    Session,
    /// A person whose provider is asked once per second.
    CachedSession,
    /// A service with a bearer token whose provider is asked at every request.
    Service,
}

impl Caller {
    const ALL: [Self; 3] = [Self::Session, Self::CachedSession, Self::Service];

    fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::CachedSession => "session, cached",
            Self::Service => "service token",
        }
    }
}

/// Which way a request takes to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Straight, without a check: what the generator and the application can do.
    Straight,
    NginxAlone,
    CaddyAlone,
    Ours(Caller),
    NginxAuthRequest(Caller),
    CaddyForwardAuth(Caller),
}

impl Way {
    fn name(self) -> String {
        match self {
            Self::Straight => "the application alone".to_owned(),
            Self::NginxAlone => "nginx `proxy_pass`, no check".to_owned(),
            Self::CaddyAlone => "Caddy `reverse_proxy`, no check".to_owned(),
            Self::Ours(caller) => format!("portcullis, {}", caller.name()),
            Self::NginxAuthRequest(caller) => format!("nginx `auth_request`, {}", caller.name()),
            Self::CaddyForwardAuth(caller) => format!("Caddy `forward_auth`, {}", caller.name()),
        }
    }
}

/// One way, as it is loaded.
struct Contender {
    way: Way,
    port: u16,
    headers: Headers,
    /// The processes between the generator and the application.
    processes: Vec<u32>,
    outcomes: Vec<Measured>,
}

impl Contender {
    fn new(way: Way, port: u16, headers: &Headers, processes: &[u32]) -> Self {
        Self {
            way,
            port,
            headers: headers.clone(),
            processes: processes.to_vec(),
            outcomes: Vec::new(),
        }
    }
}

/// The figures of all ways.
pub(crate) fn measure(effort: Effort) -> String {
    let mut upstream = Child::start(Role::Upstream, &());
    let app: u16 = upstream.read();
    let (asking, caching) = (
        Gate::start(app, ""),
        Gate::start(app, ", cache_ttl_ms: 1000"),
    );
    let nginx_sites = Sites::of(NGINX_ALONE, NGINX_AUTH_REQUEST, &asking, &caching);
    let caddy_sites = Sites::of(CADDY_ALONE, CADDY_FORWARD_AUTH, &asking, &caching);
    let nginx = Server::nginx(app, &nginx_sites.all());
    let caddy = Server::caddy(app, &caddy_sites.all());

    let anyone = &asking.session;
    let (nginx_pid, caddy_pid) = (
        nginx.as_ref().map(Server::pid),
        caddy.as_ref().map(Server::pid),
    );
    let mut contenders = vec![Contender::new(Way::Straight, app, anyone, &[])];
    contenders.extend(
        nginx_pid
            .map(|pid| Contender::new(Way::NginxAlone, nginx_sites.alone.port(), anyone, &[pid])),
    );
    contenders.extend(
        caddy_pid
            .map(|pid| Contender::new(Way::CaddyAlone, caddy_sites.alone.port(), anyone, &[pid])),
    );
    for caller in Caller::ALL {
        let (gate, headers, nginx_site, caddy_site) = match caller {
            Caller::Session => (
                &asking,
                &asking.session,
                &nginx_sites.asking,
                &caddy_sites.asking,
            ),
            Caller::CachedSession => (
                &caching,
                &caching.session,
                &nginx_sites.caching,
                &caddy_sites.caching,
            ),
            Caller::Service => (
                &asking,
                &asking.service,
                &nginx_sites.asking,
                &caddy_sites.asking,
            ),
        };
        let dashboard = gate.dashboard.pid();
        let by_proxy =
            |way, site: &Site, pid| Contender::new(way, site.port(), headers, &[pid, dashboard]);
        contenders.push(Contender::new(
            Way::Ours(caller),
            gate.dashboard.port(),
            headers,
            &[dashboard],
        ));
        contenders
            .extend(nginx_pid.map(|pid| by_proxy(Way::NginxAuthRequest(caller), nginx_site, pid)));
        contenders
            .extend(caddy_pid.map(|pid| by_proxy(Way::CaddyForwardAuth(caller), caddy_site, pid)));
    }

    run(&mut contenders, effort);
    format!(
        "{}{CONNECTIONS} connections, each with one request in flight; medians of {} rounds of {} s, and in brackets the least and \
         the most of a round.\n\n{}\n{}\n{GOALS}",
        missing(),
        effort.rounds,
        effort.time.as_secs(),
        absolute(&contenders),
        ratios(&contenders),
    )
}

/// A dashboard in front of the application, and two callers that it lets in.
struct Gate {
    dashboard: Process,
    session: Headers,
    service: Headers,
    _home: Home,
}

impl Gate {
    /// `more` is among the settings of each provider.
    fn start(app: u16, more: &str) -> Self {
        let home = Home::with_config(&format!(
            "dashboard:\n  public_url: http://agent.test\n  trusted_proxies: [127.0.0.0/8]\n  apps:\n    \
             - {{name: app, path: /, upstream: 'http://127.0.0.1:{app}', allow: [people, {{scope: metrics.read}}]}}\n  \
             providers:\n    - {{name: people, component: {}{more}}}\n    \
             - {{name: known, component: {}, grants: {{scopes: [metrics.read]}}{more}}}\n",
            linked_guest("people").display(),
            linked_guest("known").display(),
        ));
        let dashboard = home.dashboard();
        let session = vec![("cookie".to_owned(), signed_in(&dashboard))];
        let service = vec![("authorization".to_owned(), format!("Bearer {TOKEN}"))];
        Self {
            dashboard,
            session,
            service,
            _home: home,
        }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.dashboard.port())
    }
}

/// The cookies of a person who is signed in, as a browser sends them.
fn signed_in(dashboard: &Process) -> String {
    let mut browser = Browser::default();
    let password = json!({"provider": "people", "username": "ada", "password": "good"}).to_string();
    let reply = browser.post(&dashboard.url("/auth/password-login"), &password);
    assert_eq!(reply.status, 200, "{reply:?}");
    let pairs: Vec<_> = browser
        .cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("; ")
}

/// The addresses of one proxy.
struct Sites {
    alone: Site,
    /// Each asks a dashboard who calls.
    asking: Site,
    caching: Site,
}

impl Sites {
    fn of(alone: &str, gated: &str, asking: &Gate, caching: &Gate) -> Self {
        Self {
            alone: Site::new(alone, &[]),
            asking: Site::new(gated, &[("DASH", &asking.address()), ("NAME", "asking")]),
            caching: Site::new(gated, &[("DASH", &caching.address()), ("NAME", "caching")]),
        }
    }

    fn all(&self) -> [&Site; 3] {
        [&self.alone, &self.asking, &self.caching]
    }
}

/// Loads each in every round, and begins each round with another one.
fn run(contenders: &mut [Contender], effort: Effort) {
    for round in 0..effort.rounds {
        for _ in 0..contenders.len() {
            if let Some(contender) = contenders.first_mut() {
                eprintln!(
                    "round {} of {}: {}",
                    round + 1,
                    effort.rounds,
                    contender.way.name()
                );
                let measured = load_one(contender, effort.time);
                contender.outcomes.push(measured);
            }
            contenders.rotate_left(1);
        }
        contenders.rotate_left(1);
    }
    contenders.rotate_right(effort.rounds % contenders.len());
}

fn load_one(contender: &Contender, time: Duration) -> Measured {
    let plan = Plan {
        port: contender.port,
        target: "/page?q=1".to_owned(),
        headers: contender.headers.clone(),
        connections: CONNECTIONS,
        time,
        over_tls: false,
        answer_bytes: SHORT_BYTES,
    };
    load::run(
        Role::Generator,
        &plan,
        &contender.processes,
        &contender.way.name(),
    )
}

fn absolute(contenders: &[Contender]) -> String {
    let head = [
        "",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "CPU us per request",
        "generator, cores",
    ];
    let row = |contender: &Contender| {
        let spread =
            |figure: fn(&Measured) -> f64| Spread::of(contender.outcomes.iter().map(figure));
        let cpu = match contender.processes.is_empty() {
            true => String::new(),
            false => spread(Measured::cpu_each).show(1),
        };
        [
            contender.way.name(),
            spread(Measured::per_second).show(0),
            spread(Measured::p50_ms).show(2),
            spread(Measured::p99_ms).show(2),
            cpu,
            format!("{:.2}", spread(Measured::generator_cores).median),
        ]
    };
    table(head, contenders.iter().map(row))
}

type Figure = fn(&Measured) -> f64;

/// Of what is compared, and whether more is better.
const COMPARED: [(&str, Figure); 3] = [
    ("requests/s (more is better)", Measured::per_second),
    ("p99 (less is better)", Measured::p99_ms),
    ("CPU per request (less is better)", Measured::cpu_each),
];

fn ratios(contenders: &[Contender]) -> String {
    let of = |way: Way| {
        let found = contenders.iter().find(|contender| contender.way == way);
        found.map_or(&[][..], |contender| contender.outcomes.as_slice())
    };
    let head = [
        "portcullis divided by",
        "nginx and `auth_request`",
        "Caddy and `forward_auth`",
        "nginx alone",
    ];
    let rows = Caller::ALL.into_iter().flat_map(|caller| {
        COMPARED.map(|(name, figure)| {
            let theirs = [
                Way::NginxAuthRequest(caller),
                Way::CaddyForwardAuth(caller),
                Way::NginxAlone,
            ]
            .map(of);
            let [nginx, caddy, alone] =
                theirs.map(|theirs| ratio(of(Way::Ours(caller)), theirs, figure).show(2));
            [format!("{}: {name}", caller.name()), nginx, caddy, alone]
        })
    });
    table(head, rows)
}
