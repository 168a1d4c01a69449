//! What each route takes and answers. A route has one entry per kind of answer here.

use super::super::routes::{
    BACKCHANNEL_PATH, DRAIN_PATH, OPENAPI_PATH, PAGE_DRAIN_PATH, PAGE_RESTART_PATH, RESTART_PATH,
    SESSION_PATH, SESSIONS_PATH, WHOAMI_PATH,
};
use super::operation::{
    Answer, Body, Content, Field, Guard, Kind, Operation, Parameter, answer, field, query,
};
use crate::auth::{HANDOVER_PATH, RESUME_PATH, VERIFY_PATH, WS_PATH};

/// An error as JSON.
pub(super) const PROBLEM: Content =
    Content::Json(&[field("detail", Kind::Text), field("error", Kind::Text).optional()]);
const HTML: Content = Content::Text("text/html");
const NEXT: Parameter = query("next", "Path on this origin to go on to. Any other becomes `/`.", Kind::Text);

const DRAIN_REQUEST: &[Field] = &[
    field("action", Kind::Text).optional(),
    field("owner", Kind::Text).optional(),
    field("reason", Kind::Text).optional(),
    field("ttl_seconds", Kind::Integer).optional(),
    field("wait_seconds", Kind::Integer).optional(),
    field("suppress_notification", Kind::Boolean).optional(),
    field("force", Kind::Boolean).optional(),
];
const DRAIN_ANSWERS: &[Answer] = &[
    answer(
        200,
        "The drain is begun or cancelled, durably.",
        Content::Json(&[
            field("ok", Kind::Boolean),
            field("action", Kind::Text),
            field("requested_at", Kind::Time).or_null().optional(),
            field("was_draining", Kind::Boolean).optional(),
            field("draining", Kind::Boolean),
            field("suppress_notification", Kind::Boolean).optional(),
            field("expires_at", Kind::Time).or_null().optional(),
            field("generation", Kind::Integer),
            field("holders", Kind::Objects),
            field("acknowledged", Kind::Boolean),
            field("ignored", Kind::Texts).optional(),
        ]),
    ),
    answer(400, "A field is wrong; `detail` names it.", PROBLEM),
    answer(409, "Too many owners drain.", PROBLEM),
    answer(500, "The change could not be made durably.", PROBLEM),
];
const RESTART_REQUEST: &[Field] =
    &[field("grace_seconds", Kind::Integer).optional(), field("reason", Kind::Text).optional()];
const RESTART_ANSWERS: &[Answer] = &[
    answer(
        202,
        "The request is on the disk. Every drain is cancelled.",
        Content::Json(&[
            field("ok", Kind::Boolean),
            field("restart_id", Kind::Text),
            field("ignored", Kind::Texts).optional(),
        ]),
    ),
    answer(400, "A field is wrong; `detail` names it.", PROBLEM),
    answer(409, "No gateway runs over the home.", PROBLEM),
    answer(500, "The request could not be written.", PROBLEM),
];
const ENDED: Content = Content::Json(&[field("ok", Kind::Boolean), field("ended", Kind::Integer)]);
const READINESS: Content = Content::Json(&[field("ready", Kind::Boolean), field("providers", Kind::Object)]);

/// An operation without parameters and body.
const fn operation(
    path: &'static str,
    methods: &'static [&'static str],
    about: &'static str,
    guard: Guard,
    answers: &'static [Answer],
) -> Operation {
    Operation { path, methods, about, guard, parameters: &[], body: Body::None, answers }
}

impl Operation {
    const fn with(self, parameters: &'static [Parameter]) -> Self {
        Self { parameters, ..self }
    }

    const fn taking(self, body: Body) -> Self {
        Self { body, ..self }
    }
}

pub(super) const OPERATIONS: &[Operation] = &[
    operation("/", &["get"], "The live page.", Guard::Page, &[answer(200, "The page.", HTML)]),
    operation(
        DRAIN_PATH,
        &["get"],
        "The drain, its holders and the turns in flight. With `wait` and `generation`, a long poll.",
        Guard::DrainSecret,
        &[
            answer(
                200,
                "The drain. `ETag` has the generation.",
                Content::Json(&[
                    field("ok", Kind::Boolean),
                    field("draining", Kind::Boolean),
                    field("requested_at", Kind::Time).or_null(),
                    field("expires_at", Kind::Time).or_null(),
                    field("generation", Kind::Integer),
                    field("holders", Kind::Objects),
                    field("acknowledged", Kind::Boolean),
                    field("drained", Kind::Boolean),
                    field("gateway_state", Kind::Text).or_null(),
                    field("active_agents", Kind::Integer).or_null(),
                    field("turns", Kind::Objects),
                ]),
            ),
            answer(304, "The generation is the one of `If-None-Match`.", Content::Empty),
            answer(400, "A parameter is wrong; `detail` names it.", PROBLEM),
        ],
    )
    .with(&[
        query("wait", "Longest wait for another generation, in seconds (0 to 30).", Kind::Integer),
        query("generation", "The generation that the caller knows.", Kind::Integer),
        Parameter {
            name: "If-None-Match",
            place: "header",
            about: "Tags that the caller knows.",
            kind: Kind::Text,
        },
    ]),
    operation(DRAIN_PATH, &["post"], "Begins or cancels a drain.", Guard::DrainSecret, DRAIN_ANSWERS)
        .taking(Body::Json(DRAIN_REQUEST)),
    operation(
        RESTART_PATH,
        &["post"],
        "Cancels every drain and restarts the gateway. A token route if configured.",
        Guard::Operators,
        RESTART_ANSWERS,
    )
    .taking(Body::Json(RESTART_REQUEST)),
    operation(
        WHOAMI_PATH,
        &["get"],
        "Says who the caller is.",
        Guard::BearerToken,
        &[answer(
            200,
            "The caller.",
            Content::Json(&[
                field("principal", Kind::Text),
                field("provider", Kind::Text).or_null(),
                field("scopes", Kind::Texts),
                field("groups", Kind::Texts),
            ]),
        )],
    ),
    operation(
        "/login",
        &["get"],
        "The sign-in page.",
        Guard::Public,
        &[
            answer(200, "The page.", HTML),
            answer(302, "To the public host, which has the session.", Content::Empty),
        ],
    )
    .with(&[NEXT, query("failed", "Why the last sign-in failed, as one word.", Kind::Text)]),
    operation(
        "/auth/login",
        &["get"],
        "Begins a sign-in at an identity provider.",
        Guard::Public,
        &[
            answer(302, "To the identity provider.", Content::Empty),
            answer(400, "The request is not for a page of its own.", PROBLEM),
            answer(404, "No such provider redirects.", PROBLEM),
            answer(429, "Too many attempts.", HTML),
        ],
    )
    .with(&[query("provider", "Name of the provider.", Kind::Text), NEXT]),
    operation(
        "/auth/callback",
        &["get"],
        "The return from the identity provider.",
        Guard::Public,
        &[answer(302, "To `next` with a session, or to the sign-in page.", Content::Empty)],
    )
    .with(&[
        query("code", "Authorization code.", Kind::Text),
        query("state", "State of the sign-in.", Kind::Text),
        query("error", "Error of the identity provider.", Kind::Text),
        query("iss", "Issuer (RFC 9207).", Kind::Text),
    ]),
    operation(
        "/auth/password-login",
        &["post"],
        "Signs a person in with a password.",
        Guard::Public,
        &[
            answer(
                200,
                "Signed in.",
                Content::Json(&[field("ok", Kind::Boolean), field("next", Kind::Text)]),
            ),
            answer(
                303,
                "The answer to a good form: to `next`. A form that fails gets the page again.",
                Content::Empty,
            ),
            answer(400, "Fields are missing.", PROBLEM),
            answer(401, "The user name or the password is wrong.", PROBLEM),
            answer(403, "The person has no role, or cannot be used.", PROBLEM),
            answer(404, "No such provider takes passwords.", PROBLEM),
            answer(429, "Too many attempts; `Retry-After` says how long to wait.", PROBLEM),
            answer(500, "The session could not be made.", PROBLEM),
            answer(503, "The provider gave no answer.", PROBLEM),
        ],
    )
    .taking(Body::JsonOrForm(&[
        field("provider", Kind::Text),
        field("username", Kind::Text),
        field("password", Kind::Text),
        field("next", Kind::Text).optional(),
    ])),
    operation(
        "/auth/logout",
        &["post"],
        "Ends the session of the caller.",
        Guard::Public,
        &[answer(302, "To the sign-in page, or to the sign-out of the identity provider.", Content::Empty)],
    ),
    operation(
        BACKCHANNEL_PATH,
        &["post"],
        "Takes a logout token of an identity provider.",
        Guard::Public,
        &[
            answer(200, "The sessions are over.", Content::Empty),
            answer(
                400,
                "The logout token is refused.",
                Content::Json(&[field("error", Kind::Text), field("error_description", Kind::Text)]),
            ),
            answer(404, "No such provider takes logout tokens.", PROBLEM),
            answer(429, "Too many requests.", PROBLEM),
            answer(500, "The end could not be written to the disk.", PROBLEM),
            answer(503, "The provider gave no answer.", PROBLEM),
        ],
    )
    .with(&[Parameter { name: "provider", place: "path", about: "Name of the provider.", kind: Kind::Text }])
    .taking(Body::Form(&[field("logout_token", Kind::Text)])),
    operation(
        HANDOVER_PATH,
        &["get"],
        "Takes a session over from the public host.",
        Guard::Public,
        &[answer(302, "To `next` with the session, or to the sign-in page.", Content::Empty)],
    )
    .with(&[query("ticket", "Ticket of the session.", Kind::Text), NEXT]),
    operation(
        VERIFY_PATH,
        &["get", "post", "put", "patch", "delete", "head", "options", "trace"],
        "Says to a reverse proxy who calls, also at every path below.",
        Guard::Proxy,
        &[answer(
            200,
            "The caller, in `X-Auth-User`, `X-Auth-Email`, `X-Auth-Provider`, `X-Auth-Scopes` and `X-Auth-Groups`.",
            Content::Empty,
        )],
    ),
    operation(
        RESUME_PATH,
        &["get"],
        "Renews the session and goes on.",
        Guard::Page,
        &[answer(302, "To `next`, or to the sign-in page.", Content::Empty)],
    )
    .with(&[NEXT]),
    operation(
        "/api/auth/providers",
        &["get"],
        "The providers that sign people in.",
        Guard::Public,
        &[answer(
            200,
            "Each with `name`, `display_name` and `supports_password`.",
            Content::Json(&[field("providers", Kind::Objects)]),
        )],
    ),
    operation(
        "/api/auth/me",
        &["get"],
        "The person who is signed in.",
        Guard::People,
        &[
            answer(
                200,
                "The person.",
                Content::Json(&[
                    field("user_id", Kind::Text),
                    field("email", Kind::Text),
                    field("display_name", Kind::Text),
                    field("org_id", Kind::Text),
                    field("groups", Kind::Texts),
                    field("role", Kind::Text).or_null(),
                    field("provider", Kind::Text),
                    field("expires_at", Kind::Integer),
                ]),
            ),
            answer(404, "No sign-in is needed here.", PROBLEM),
        ],
    ),
    operation(
        "/api/auth/ws-ticket",
        &["post"],
        "Makes a ticket for the web socket.",
        Guard::People,
        &[
            answer(
                200,
                "The ticket, which is spent once.",
                Content::Json(&[field("ticket", Kind::Text), field("ttl_seconds", Kind::Integer)]),
            ),
            answer(429, "Too many tickets wait to be spent.", PROBLEM),
        ],
    ),
    operation(
        WS_PATH,
        &["get"],
        "The web socket of the live page: `docs/live.schema.json`.",
        Guard::Ticket,
        &[
            answer(101, "The connection is a web socket.", Content::Empty),
            answer(426, "The request is no upgrade to a web socket.", PROBLEM),
            answer(503, "Too many web sockets are open.", PROBLEM),
        ],
    )
    .with(&[query("ticket", "A ticket.", Kind::Text)]),
    operation(
        PAGE_DRAIN_PATH,
        &["post"],
        "Begins or cancels a drain, from the page.",
        Guard::Operators,
        DRAIN_ANSWERS,
    )
    .taking(Body::JsonOrForm(DRAIN_REQUEST)),
    operation(
        PAGE_RESTART_PATH,
        &["post"],
        "Restarts the gateway, from the page.",
        Guard::Operators,
        RESTART_ANSWERS,
    )
    .taking(Body::JsonOrForm(RESTART_REQUEST)),
    operation(
        SESSIONS_PATH,
        &["get"],
        "The sessions of the caller, for operators those of everyone.",
        Guard::People,
        &[answer(
            200,
            "The sessions.",
            Content::Json(&[
                field("sessions", Kind::Objects),
                field("complete", Kind::Boolean),
                field("since", Kind::Time).or_null(),
            ]),
        )],
    ),
    operation(
        SESSIONS_PATH,
        &["delete"],
        "Ends the sessions of a person, of a provider, of both, or all.",
        Guard::Operators,
        &[
            answer(200, "The sessions are over.", ENDED),
            answer(400, "A parameter is unknown, repeated, empty or missing.", PROBLEM),
            answer(500, "The sessions are over, but this is not on the disk.", PROBLEM),
        ],
    )
    .with(&[
        query("user", "User id.", Kind::Text),
        query("provider", "Name of the provider.", Kind::Text),
        query("all", "`true` ends all sessions.", Kind::Boolean),
    ]),
    operation(
        SESSION_PATH,
        &["delete"],
        "Ends one session.",
        Guard::People,
        &[
            answer(200, "The session is over.", ENDED),
            answer(404, "The session is not listed for the caller.", PROBLEM),
            answer(500, "The session is over, but this is not on the disk.", PROBLEM),
        ],
    )
    .with(&[Parameter { name: "id", place: "path", about: "Id of the session.", kind: Kind::Text }]),
    operation(
        "/favicon.ico",
        &["get"],
        "The icon.",
        Guard::Public,
        &[answer(200, "The icon.", Content::Text("image/svg+xml"))],
    ),
    operation(
        "/api/status",
        &["get"],
        "The state of the gateway and the drain.",
        Guard::Public,
        &[answer(
            200,
            "The state. Scripts act on `quiesced`.",
            Content::Json(&[
                field("version", Kind::Text),
                field("gateway_running", Kind::Boolean).or_null(),
                field("gateway_state", Kind::Text).or_null(),
                field("gateway_updated_at", Kind::Text).or_null(),
                field("active_agents", Kind::Integer).or_null(),
                field("gateway_busy", Kind::Boolean),
                field("gateway_drainable", Kind::Boolean),
                field("drained", Kind::Boolean),
                field("quiesced", Kind::Boolean),
                field("acknowledged", Kind::Boolean),
                field("generation", Kind::Integer),
                field("drain", Kind::Object),
                field("restart_drain_timeout", Kind::Number),
                field("nous_session_valid", Kind::Text),
                field("profiles", Kind::Texts),
                field("auth_required", Kind::Boolean),
            ]),
        )],
    ),
    operation(
        "/metrics",
        &["get"],
        "The metrics. A token route if configured.",
        Guard::Metrics,
        &[answer(200, "The metrics.", Content::Text("application/openmetrics-text"))],
    ),
    operation(
        "/healthz",
        &["get"],
        "Whether the process serves requests.",
        Guard::Public,
        &[answer(200, "It does.", Content::Text("text/plain"))],
    ),
    operation(
        "/readyz",
        &["get"],
        "Whether the dashboard is ready, and the counts of its providers.",
        Guard::Public,
        &[answer(200, "It is ready.", READINESS), answer(503, "It starts or ends.", READINESS)],
    ),
    operation(
        OPENAPI_PATH,
        &["get"],
        "This document.",
        Guard::Page,
        &[answer(200, "An OpenAPI 3.1 document.", Content::Object)],
    ),
];
