//! Every key of the configuration file. A key that the reader takes has one line here.

use super::key::{Form, Key, Scalar, key};

pub(super) const ROOT: &[Key] = &[
    key("dashboard", "The dashboard (`portcullis serve`).", Form::Map(DASHBOARD)),
    key("gateway", "The gateway (`portcullis gateway`).", Form::Map(GATEWAY)),
];

const DASHBOARD: &[Key] = &[
    key(
        "host",
        "Host name or address to bind. People must sign in unless it is localhost, 127.0.0.1 or ::1.",
        Form::Text("127.0.0.1"),
    )
    .default(Scalar::Text("127.0.0.1")),
    key("port", "Port to bind. 0 picks a free port.", Form::Integer(0, 65_535))
        .default(Scalar::Integer(9119)),
    key(
        "public_url",
        "URL by which people reach the dashboard. People must sign in if its host is not a loopback name.",
        Form::Text("https://agent.example.com"),
    ),
    key(
        "allowed_hosts",
        "More host names that are accepted in `Host` and `Origin`.",
        Form::List(&Form::Text("agent.tailnet.example")),
    ),
    key(
        "trusted_proxies",
        "Addresses and networks of the reverse proxies whose forwarding headers are believed.",
        Form::List(&Form::Text("127.0.0.0/8")),
    ),
    key("tls", "TLS of the dashboard's own. People then reach it by https.", Form::Map(TLS)),
    key(
        "redirect_http",
        "Address and port whose plain HTTP is redirected to https. Needs `tls`.",
        Form::Text("0.0.0.0:80"),
    ),
    key("cookie_name", "Prefix of the names of all cookies.", Form::Text("hermes_session"))
        .default(Scalar::Text("hermes_session")),
    key(
        "session_key",
        "Key that seals cookies, or a list of up to 16: the first seals, all open. Without it, a key is made and kept in the \
         home.",
        Form::Either(&[Form::Secret, Form::List(&Form::Secret)]),
    ),
    key("drain_auth", "The drain secret and its scope.", Form::Map(DRAIN_AUTH)),
    key("drain", "Rules for drains.", Form::Map(DRAIN)),
    key("sandbox", "What all providers share.", Form::Map(SANDBOX)),
    key(
        "providers",
        "The auth providers, in the order in which they are asked.",
        Form::List(&Form::Map(PROVIDER)),
    ),
    key(
        "access",
        "Rules that give people roles; the first rule that matches decides. Without the key, everyone who signs in is an \
         operator.",
        Form::List(&Form::Map(ACCESS)),
    ),
    key("apps", "Applications behind the gate.", Form::List(&Form::Map(APP))),
    key(
        "token_routes",
        "Paths that are opened by bearer tokens with a scope.",
        Form::List(&Form::Map(TOKEN_ROUTE)),
    ),
];

const TLS: &[Key] = &[
    key(
        "certificate",
        "PEM file with the certificate chain, read again when it changes.",
        Form::Text("chain.pem"),
    )
    .required(),
    key("key", "PEM file with the private key, read again when it changes.", Form::Text("key.pem"))
        .required(),
    key(
        "client_ca",
        "PEM file of the certificate authorities of client certificates. Clients need not present one.",
        Form::Text("clients.pem"),
    ),
    key("min_version", "Lowest version of TLS that is accepted.", Form::OneOf(&["1.2", "1.3"]))
        .default(Scalar::Text("1.2")),
];

const DRAIN_AUTH: &[Key] = &[
    key("scope", "Scope that the drain secret stands for. No provider can hand it out.", Form::Text("drain"))
        .default(Scalar::Text("drain")),
    key("min_secret_chars", "Minimum length of the drain secret.", Form::Integer(1, 4096))
        .default(Scalar::Integer(43)),
    key(
        "secret",
        "The drain secret, or a list of two while one replaces the other. Without it: HERMES_DASHBOARD_DRAIN_SECRET, else \
         the file `drain-secret` in the home.",
        Form::Either(&[Form::Secret, Form::List(&Form::Secret)]),
    ),
];

const DRAIN: &[Key] = &[key(
    "max_age_seconds",
    "Lifetime of a drain that sets none of its own. 0: until the drain is cancelled.",
    Form::Integer(0, 31_536_000),
)
.default(Scalar::Integer(3600))];

const SANDBOX: &[Key] = &[key(
    "memory_mib",
    "Memory of the calls of all providers together. Without the key, a quarter of the memory of the machine or container.",
    Form::Integer(16, 16_777_216),
)];

const PROVIDER: &[Key] = &[
    key("name", "Unique name of the provider.", Form::Text("service-keys")).required(),
    key(
        "component",
        "Path of the component, relative to this file, or builtin:NAME.",
        Form::Text("providers/own.wasm"),
    )
    .required(),
    key(
        "sha256",
        "SHA-256 digest that the component must have, 64 hex digits.",
        Form::Text("9f2c00000000000000000000000000000000000000000000000000000000abcd"),
    ),
    key(
        "display_name",
        "Name of the provider on the sign-in page, 1 to 100 characters. Without it, `name`.",
        Form::Text("Service keys"),
    ),
    key("config", "Settings of the provider.", Form::Settings),
    key("grants", "What the provider may do.", Form::Map(GRANTS)),
    key("limits", "What one call of the provider may use.", Form::Map(LIMITS)),
    key(
        "cache_ttl_ms",
        "Time for which a token that the provider recognized is accepted without asking again. Without the key, every \
         request asks.",
        Form::Integer(1, 300_000),
    ),
];

const GRANTS: &[Key] = &[
    key("scopes", "Scopes that the provider may hand out.", Form::List(&Form::Text("metrics.read"))),
    key(
        "http",
        "Origins that the provider may call.",
        Form::List(&Form::Either(&[Form::Text("https://idp.example.com"), Form::Map(HTTP_GRANT)])),
    ),
    key("keyvalue", "Whether the provider has a bucket of its own.", Form::Boolean)
        .default(Scalar::Boolean(false)),
];

const HTTP_GRANT: &[Key] = &[
    key("origin", "Scheme, host and port, without a path.", Form::Text("https://idp.example.com")).required(),
    key(
        "networks",
        "Private networks in which the origin may be. Without it, public addresses alone.",
        Form::List(&Form::Text("10.0.0.0/8")),
    ),
    key(
        "headers",
        "Headers that the host adds to requests to the origin. The provider never sees their values.",
        Form::Named(&Form::Either(&[Form::Secret, Form::Map(HEADER)])),
    ),
    key("ca", "PEM file of the certificate authorities that alone are trusted for the origin.", Form::File),
];

const HEADER: &[Key] =
    &[key("basic", "Basic authentication of an OAuth client.", Form::Map(BASIC)).required()];

const BASIC: &[Key] = &[
    key("username", "Client identifier.", Form::Secret).required(),
    key("password", "Client secret.", Form::Secret).required(),
];

const LIMITS: &[Key] = &[
    key("memory_mib", "Linear memory of one call.", Form::Integer(1, 1024)).default(Scalar::Integer(64)),
    key("deadline_ms", "Wall-clock time of one call, with the wait to start.", Form::Integer(10, 30_000))
        .default(Scalar::Integer(1000)),
    key("calls_per_second", "Calls of the provider, over all callers.", Form::Integer(1, 1_000_000))
        .default(Scalar::Integer(100_000)),
    key("component_mib", "Size of the component without its custom sections.", Form::Integer(1, 128))
        .default(Scalar::Integer(32)),
    key("table_elements", "Elements of one table.", Form::Integer(1, 200_000))
        .default(Scalar::Integer(20_000)),
    key("core_instances", "Core instances of the component.", Form::Integer(1, 64))
        .default(Scalar::Integer(16)),
];

const ACCESS: &[Key] = &[
    key(
        "role",
        "Role of the people whom the rule matches. `none` refuses them.",
        Form::OneOf(&["operator", "viewer", "none"]),
    )
    .required(),
    key("provider", "Name of the provider that signed the person in.", Form::Text("service-keys")),
    key("users", "User ids of the people.", Form::List(&Form::Text("ada"))),
    key("groups", "Groups, of which the person is in one.", Form::List(&Form::Text("admins"))),
];

const APP: &[Key] = &[
    key("name", "Unique name of the application: a-z, 0-9 and -.", Form::Text("hermes")).required(),
    key("path", "Path at which and below which the application stands.", Form::Text("/app")).required(),
    key(
        "host",
        "Host name under which alone the application stands. Without it, every name of the dashboard.",
        Form::Text("agent.example.com"),
    ),
    key(
        "upstream",
        "Address of the application: http://HOST:PORT, https://HOST:PORT or unix:/PATH.",
        Form::Text("https://127.0.0.1:9120"),
    )
    .required(),
    key(
        "ca",
        "PEM file of the certificate authorities that alone are trusted for an https upstream.",
        Form::File,
    ),
    key(
        "allow",
        "Who gets in: one way, or a list of which one is enough.",
        Form::Either(&[WAY, Form::List(&WAY)]),
    )
    .default(Scalar::Text("people")),
    key(
        "public_paths",
        "Exact paths of the application that are open to everyone.",
        Form::List(&Form::Text("/app/hook")),
    ),
    key(
        "headers",
        "Headers that the dashboard adds to requests to the application.",
        Form::Named(&Form::Either(&[Form::Secret, Form::Map(HEADER)])),
    ),
    key("limits", "What one request may use.", Form::Map(APP_LIMITS)),
    key("preset", "`hermes`: the application is the original dashboard.", Form::OneOf(&["hermes"])),
];

/// A way into an application.
const WAY: Form = Form::Either(&[Form::OneOf(&["people", "public"]), Form::OneKey(CONDITION)]);

const CONDITION: &[Key] = &[
    key("role", "People with this role.", Form::OneOf(&["operator", "viewer"])),
    key("groups", "People in one of these groups.", Form::List(&Form::Text("admins"))),
    key("scope", "Callers whose bearer token has this scope.", Form::Text("app.use")),
];

const APP_LIMITS: &[Key] = &[
    key("body_mib", "Longest body of a request.", Form::Integer(1, 65_536)).default(Scalar::Integer(64)),
    key("idle_seconds", "Longest time in which neither side sends anything.", Form::Integer(1, 604_800))
        .default(Scalar::Integer(3600)),
];

const TOKEN_ROUTE: &[Key] = &[
    key("path", "The path.", Form::Text("/metrics")).required(),
    key("scope", "Scope that the token must have.", Form::Text("metrics.read")).required(),
];

const GATEWAY: &[Key] = &[
    key("listen", "Address and port of the HTTP port that accepts turns.", Form::Text("127.0.0.1:8642"))
        .default(Scalar::Text("127.0.0.1:8642")),
    key("command", "Program that a turn runs, with its arguments.", Form::List(&Form::Text("my-agent"))),
    key("max_turns", "Maximum number of turns in flight.", Form::Integer(1, 10_000))
        .default(Scalar::Integer(64)),
    key(
        "shutdown_grace_seconds",
        "Time that turns in flight get to finish after SIGTERM.",
        Form::Integer(0, 86_400),
    )
    .default(Scalar::Integer(60)),
    key(
        "turn_timeout_seconds",
        "Longest time of a turn. Without the key, turns have no time limit.",
        Form::Integer(1, 86_400),
    ),
    key(
        "api_key",
        "Bearer token that callers of the HTTP port present. Without it, the gateway starts on a loopback address only.",
        Form::Secret,
    ),
];
