//! Every key of the configuration file. A key that the reader takes has one line here.

use super::key::{Form, Scalar, SchemaKey, key};
use portcullis_net::acme::DEFAULT_DIRECTORY;

pub(super) const ROOT: &[SchemaKey] = &[
    key(
        "dashboard",
        "The dashboard (`portcullis serve`).",
        Form::Map(DASHBOARD),
    ),
    key(
        "gateway",
        "The gateway (`portcullis gateway`).",
        Form::Map(GATEWAY),
    ),
];

const DASHBOARD: &[SchemaKey] = &[
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
    key("connections", "How many connections clients may have at once.", Form::Map(CONNECTIONS)),
    key(
        "tls",
        "TLS of the dashboard's own. People then reach it by https.",
        Form::Map(TLS),
    )
    .with_value(),
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
    )
    .with_value(),
    key("apps", "Applications behind the gate.", Form::List(&Form::Map(APP))),
    key("branding", "How the pages name and show this dashboard.", Form::Map(BRANDING)),
    key(
        "token_routes",
        "Paths that are opened by bearer tokens with a scope.",
        Form::List(&Form::Map(TOKEN_ROUTE)),
    ),
    key("telemetry", "Traces of what the dashboard does.", Form::Map(TELEMETRY)),
];

const CONNECTIONS: &[SchemaKey] = &[
    key(
        "in_all",
        "Most connections of all clients together. Without the key, 1,024, or half of the open files that the process may \
         have if that is less.",
        Form::Integer(2, 65_536),
    ),
    key(
        "per_address",
        "Most connections of one address (IPv6: of one /64). Trusted proxies and loopback have no limit of their own. \
         Without the key, a quarter of all.",
        Form::Integer(1, 65_536),
    ),
];

const TLS: &[SchemaKey] = &[
    key(
        "certificate",
        "PEM file with the certificate chain, read again when it changes. Needed unless `acme` is there.",
        Form::Text("chain.pem"),
    )
    .unless("acme"),
    key(
        "key",
        "PEM file with the private key, read again when it changes. Needed unless `acme` is there.",
        Form::Text("key.pem"),
    )
    .unless("acme"),
    key(
        "acme",
        "Order and renew the certificate at an ACME directory instead. A change waits for a restart.",
        Form::Map(ACME),
    )
    .with_value(),
    key(
        "client_ca",
        "PEM file of the certificate authorities of client certificates. Clients need not present one.",
        Form::Text("clients.pem"),
    ),
    key("min_version", "Lowest version of TLS that is accepted.", Form::OneOf(&["1.2", "1.3"]))
        .default(Scalar::Text("1.2")),
];

const ACME: &[SchemaKey] = &[
    key(
        "domains",
        "Host names that the certificate is for, 1 to 100, without wildcards. The directory connects to each.",
        Form::List(&Form::Text("agent.example.com")),
    )
    .required(),
    key(
        "contact",
        "Addresses by which the directory reaches the operator, up to 10, each with mailto:.",
        Form::List(&Form::Text("mailto:ops@example.com")),
    ),
    key(
        "directory",
        "URL of the directory: https, or http on a loopback address. Its terms of service are accepted.",
        Form::Text("https://ca.example.com/acme/directory"),
    )
    .default(Scalar::Text(DEFAULT_DIRECTORY)),
    key(
        "ca",
        "PEM file of the certificate authorities that alone are trusted for the directory.",
        Form::File,
    ),
    key(
        "challenge",
        "How the directory looks whether the domains lead here: by TLS at port 443, or by plain HTTP at port 80, where \
         `dashboard.redirect_http` answers.",
        Form::OneOf(&["tls-alpn-01", "http-01"]),
    )
    .default(Scalar::Text("tls-alpn-01")),
    key(
        "eab",
        "Account that the directory knows from elsewhere, to which a new ACME account is bound. Some directories ask for it.",
        Form::Map(EXTERNAL_ACCOUNT),
    )
    .with_value(),
];

const EXTERNAL_ACCOUNT: &[SchemaKey] = &[
    key(
        "kid",
        "Identifier of the key, as the directory shows it.",
        Form::Text("kid-1"),
    )
    .required(),
    key(
        "hmac",
        "The key, in base64url as the directory shows it.",
        Form::Secret,
    )
    .required(),
];

const DRAIN_AUTH: &[SchemaKey] = &[
    key(
        "scope",
        "Scope that the drain secret stands for. No provider can hand it out.",
        Form::Text("drain"),
    )
    .default(Scalar::Text("drain")),
    key(
        "min_secret_chars",
        "Minimum length of the drain secret.",
        Form::Integer(1, 4096),
    )
    .default(Scalar::Integer(43)),
    key(
        "secret",
        "The drain secret, or a list of two while one replaces the other. Without it: HERMES_DASHBOARD_DRAIN_SECRET, else \
         the file `drain-secret` in the home.",
        Form::Either(&[Form::Secret, Form::List(&Form::Secret)]),
    ),
];

const DRAIN: &[SchemaKey] = &[key(
    "max_age_seconds",
    "Lifetime of a drain that sets none of its own. 0: until the drain is cancelled.",
    Form::Integer(0, 31_536_000),
)
.default(Scalar::Integer(3600))];

const SANDBOX: &[SchemaKey] = &[key(
    "memory_mib",
    "Memory of the calls of all providers together. Without the key, a quarter of the memory of the machine or container.",
    Form::Integer(16, 16_777_216),
)];

const PROVIDER: &[SchemaKey] = &[
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
        "link_modules",
        "Whether the host links the core modules of the component before it compiles it. The code that runs is then not what the \
         file holds. An author links with `portcullis provider link` instead.",
        Form::Boolean,
    )
    .default(Scalar::Boolean(false)),
    key(
        "cache_ttl_ms",
        "Time for which a token that the provider recognized is accepted without asking again. Without the key, every \
         request asks.",
        Form::Integer(1, 300_000),
    ),
];

const GRANTS: &[SchemaKey] = &[
    key(
        "scopes",
        "Scopes that the provider may hand out.",
        Form::List(&Form::Text("metrics.read")),
    ),
    key(
        "http",
        "Origins that the provider may call.",
        Form::List(&Form::Either(&[
            Form::Text("https://idp.example.com"),
            Form::Map(HTTP_GRANT),
        ])),
    ),
    key(
        "keyvalue",
        "Whether the provider has a bucket of its own.",
        Form::Boolean,
    )
    .default(Scalar::Boolean(false)),
];

const HTTP_GRANT: &[SchemaKey] = &[
    key(
        "origin",
        "Scheme, host and port, without a path.",
        Form::Text("https://idp.example.com"),
    )
    .required(),
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
    key(
        "ca",
        "PEM file of the certificate authorities that alone are trusted for the origin.",
        Form::File,
    ),
];

const HEADER: &[SchemaKey] = &[key(
    "basic",
    "Basic authentication of an OAuth client.",
    Form::Map(BASIC),
)
.required()];

const BASIC: &[SchemaKey] = &[
    key("username", "Client identifier.", Form::Secret).required(),
    key("password", "Client secret.", Form::Secret).required(),
];

const LIMITS: &[SchemaKey] = &[
    key(
        "memory_mib",
        "Linear memory of one call.",
        Form::Integer(1, 1024),
    )
    .default(Scalar::Integer(64)),
    key(
        "deadline_ms",
        "Wall-clock time of one call, with the wait to start. Without it, `builtin:basic` has 5000.",
        Form::Integer(10, 30_000),
    )
    .default(Scalar::Integer(1000)),
    key(
        "calls_per_second",
        "Calls of the provider, over all callers.",
        Form::Integer(1, 1_000_000),
    )
    .default(Scalar::Integer(100_000)),
    key(
        "component_mib",
        "Size of the component without its custom sections.",
        Form::Integer(1, 128),
    )
    .default(Scalar::Integer(32)),
    key(
        "table_elements",
        "Elements of one table.",
        Form::Integer(1, 200_000),
    )
    .default(Scalar::Integer(20_000)),
    key(
        "core_instances",
        "Core instances of the component.",
        Form::Integer(1, 64),
    )
    .default(Scalar::Integer(16)),
];

const ACCESS: &[SchemaKey] = &[
    key(
        "role",
        "Role of the people whom the rule matches. `none` refuses them.",
        Form::OneOf(&["operator", "viewer", "none"]),
    )
    .required(),
    key(
        "provider",
        "Name of the provider that signed the person in.",
        Form::Text("service-keys"),
    )
    .with_value(),
    key(
        "users",
        "User ids of the people.",
        Form::List(&Form::Text("ada")),
    )
    .with_value(),
    key(
        "groups",
        "Groups, of which the person is in one.",
        Form::List(&Form::Text("admins")),
    )
    .with_value(),
];

const APP: &[SchemaKey] = &[
    key(
        "name",
        "Unique name of the application: a-z, 0-9 and -.",
        Form::Text("hermes"),
    )
    .required(),
    key(
        "path",
        "Path at which and below which the application stands.",
        Form::Text("/app"),
    )
    .required(),
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
    .with_value()
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
    key(
        "preset",
        "`hermes`: the application is the original dashboard.",
        Form::OneOf(&["hermes"]),
    ),
];

/// A way into an application.
const WAY: Form = Form::Either(&[Form::OneOf(&["people", "public"]), Form::OneKey(CONDITION)]);

const CONDITION: &[SchemaKey] = &[
    key(
        "role",
        "People with this role.",
        Form::OneOf(&["operator", "viewer"]),
    ),
    key(
        "groups",
        "People in one of these groups.",
        Form::List(&Form::Text("admins")),
    ),
    key(
        "scope",
        "Callers whose bearer token has this scope.",
        Form::Text("app.use"),
    ),
];

const APP_LIMITS: &[SchemaKey] = &[
    key(
        "body_mib",
        "Longest body of a request.",
        Form::Integer(1, 65_536),
    )
    .default(Scalar::Integer(64)),
    key(
        "idle_seconds",
        "Longest time in which neither side sends anything.",
        Form::Integer(1, 604_800),
    )
    .default(Scalar::Integer(3600)),
];

const BRANDING: &[SchemaKey] = &[
    key(
        "title",
        "Name of the dashboard, 1 to 60 visible characters. Without it, Portcullis.",
        Form::Text("Acme Agents"),
    ),
    key(
        "logo",
        "PNG or SVG file of at most 256 KiB, relative to this file. It is read again when it changes.",
        Form::Text("logo.svg"),
    ),
    key(
        "accent",
        "Colour of buttons, as #rrggbb.",
        Form::Text("#0a7d4f"),
    ),
];

const TOKEN_ROUTE: &[SchemaKey] = &[
    key("path", "The path.", Form::Text("/metrics")).required(),
    key(
        "scope",
        "Scope that the token must have.",
        Form::Text("metrics.read"),
    )
    .required(),
];

const TELEMETRY: &[SchemaKey] = &[key(
    "otlp",
    "Sends traces to a collector of OpenTelemetry. Without the key, none are made.",
    Form::Map(OTLP),
)];

const OTLP: &[SchemaKey] = &[
    key(
        "endpoint",
        "Base URL of the collector. With `http`, /v1/traces is appended; with `grpc`, it has no path.",
        Form::Text("https://otel.example.com:4318"),
    )
    .required(),
    key(
        "protocol",
        "`http`: OTLP/HTTP with protobuf. `grpc`: OTLP/gRPC.",
        Form::OneOf(&["http", "grpc"]),
    )
    .default(Scalar::Text("http")),
    key(
        "headers",
        "Headers of the requests to the collector.",
        Form::Named(&Form::Either(&[Form::Secret, Form::Map(HEADER)])),
    ),
    key(
        "ca",
        "PEM file of the certificate authorities that alone are trusted for an https endpoint.",
        Form::File,
    ),
    key(
        "sample_ratio",
        "Share of the traces that are recorded, 0 to 1, of those that no trusted proxy has begun.",
        Form::Ratio,
    )
    .default(Scalar::Integer(1)),
];

const GATEWAY: &[SchemaKey] = &[
    key(
        "listen",
        "Address and port of the HTTP port that accepts turns.",
        Form::Text("127.0.0.1:8642"),
    )
    .default(Scalar::Text("127.0.0.1:8642")),
    key(
        "command",
        "Program that a turn runs, with its arguments.",
        Form::List(&Form::Text("my-agent")),
    ),
    key(
        "max_turns",
        "Maximum number of turns in flight.",
        Form::Integer(1, 10_000),
    )
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
