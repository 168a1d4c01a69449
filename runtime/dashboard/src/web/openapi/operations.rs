//! What each route takes and answers. A route has one entry per kind of answer here.

use super::super::drain::MAX_WAIT_SECONDS;
use super::super::routes::{
    BACKCHANNEL_PATH, DRAIN_PATH, OPENAPI_PATH, PAGE_DRAIN_PATH, PAGE_RESTART_PATH, RESTART_PATH,
    SESSION_PATH, SESSIONS_PATH, WHOAMI_PATH,
};
use super::operation::{
    AnswerSpec, BodySpec, ContentSpec, Field, FieldType, Link, OperationSpec, Parameter,
    SecurityRequirement, answer, field, query,
};
use portcullis_auth::{HANDOVER_PATH, LOGO_PATH, RESUME_PATH, VERIFY_PATH, WS_PATH};
use portcullis_home::MAX_RESTART_GRACE_SECONDS;
use portcullis_home::{MAX_OWNER_CHARS, MAX_REASON_CHARS, MAX_TTL_SECONDS};

/// The keys of an error.
pub(super) const PROBLEM_FIELDS: &[Field] = &[
    field("detail", FieldType::Text),
    field("error", FieldType::Text).optional(),
];
/// An error as JSON.
pub(super) const PROBLEM: ContentSpec = ContentSpec::Json(PROBLEM_FIELDS);
/// An error as JSON, or the page again for the form of a browser.
const PROBLEM_OR_PAGE: ContentSpec = ContentSpec::JsonOrPage(PROBLEM_FIELDS);
const PAGE: ContentSpec = ContentSpec::Text(&["text/html"]);
const NEXT: Parameter = query(
    "next",
    "Path on this origin to go on to. Any other becomes `/`.",
    FieldType::Text,
);

const DRAIN_REQUEST: &[Field] = &[
    field("action", FieldType::OneOf(&["drain", "cancel"])).optional(),
    field("owner", FieldType::Line(1, MAX_OWNER_CHARS)).optional(),
    field("reason", FieldType::Line(0, MAX_REASON_CHARS)).optional(),
    field("ttl_seconds", FieldType::Whole(1, MAX_TTL_SECONDS)).optional(),
    field("wait_seconds", FieldType::Whole(0, MAX_WAIT_SECONDS)).optional(),
    field("suppress_notification", FieldType::Boolean).optional(),
    field("force", FieldType::Boolean).optional(),
];
const DRAIN_ANSWERS: &[AnswerSpec] = &[
    answer(
        200,
        "The drain is begun or cancelled, durably.",
        ContentSpec::Json(&[
            field("ok", FieldType::Boolean),
            field("action", FieldType::Text),
            field("requested_at", FieldType::Time).or_null().optional(),
            field("was_draining", FieldType::Boolean).optional(),
            field("draining", FieldType::Boolean),
            field("suppress_notification", FieldType::Boolean).optional(),
            field("expires_at", FieldType::Time).or_null().optional(),
            field("generation", FieldType::Integer),
            field("holders", FieldType::Objects),
            field("acknowledged", FieldType::Boolean),
            field("ignored", FieldType::Texts).optional(),
        ]),
    ),
    answer(400, "A field is wrong; `detail` names it.", PROBLEM),
    answer(409, "Too many owners drain.", PROBLEM),
    answer(500, "The change could not be made durably.", PROBLEM),
];
const RESTART_REQUEST: &[Field] = &[
    field(
        "grace_seconds",
        FieldType::Whole(0, MAX_RESTART_GRACE_SECONDS),
    )
    .optional(),
    field("reason", FieldType::Line(0, MAX_REASON_CHARS)).optional(),
];
const RESTART_ANSWERS: &[AnswerSpec] = &[
    answer(
        202,
        "The request is on the disk. Every drain is cancelled.",
        ContentSpec::Json(&[
            field("ok", FieldType::Boolean),
            field("restart_id", FieldType::Text),
            field("ignored", FieldType::Texts).optional(),
        ]),
    ),
    answer(400, "A field is wrong; `detail` names it.", PROBLEM),
    answer(409, "No gateway runs over the home.", PROBLEM),
    answer(500, "The request could not be written.", PROBLEM),
];
const ENDED: ContentSpec = ContentSpec::Json(&[
    field("ok", FieldType::Boolean),
    field("ended", FieldType::Integer),
]);
const READINESS: ContentSpec = ContentSpec::Json(&[
    field("ready", FieldType::Boolean),
    field("providers", FieldType::Object),
]);
/// The form of OpenID Connect Back-Channel Logout 1.0 (section 2.8), and that of refusals before it.
const REFUSED_LOGOUT_TOKEN: ContentSpec = ContentSpec::Json(&[
    field("error", FieldType::Text),
    field("error_description", FieldType::Text).optional(),
    field("detail", FieldType::Text).optional(),
]);
/// As a token route, the path also answers 503 without a provider's answer.
const NOT_READY: ContentSpec = ContentSpec::Json(&[
    field("ready", FieldType::Boolean).optional(),
    field("providers", FieldType::Object).optional(),
    field("detail", FieldType::Text).optional(),
]);
const TO_DRAIN: Link = Link {
    name: "watch",
    to: ("get", DRAIN_PATH),
    parameter: "generation",
    value: "/generation",
};

/// An operation without parameters and body.
const fn operation(
    path: &'static str,
    methods: &'static [&'static str],
    about: &'static str,
    guard: SecurityRequirement,
    answers: &'static [AnswerSpec],
) -> OperationSpec {
    OperationSpec {
        path,
        methods,
        about,
        guard,
        parameters: &[],
        body: BodySpec::None,
        answers,
        links: &[],
    }
}

impl OperationSpec {
    const fn with(self, parameters: &'static [Parameter]) -> Self {
        Self { parameters, ..self }
    }

    const fn linked(self, links: &'static [Link]) -> Self {
        Self { links, ..self }
    }

    const fn taking(self, body: BodySpec) -> Self {
        Self { body, ..self }
    }
}

pub(super) const OPERATIONS: &[OperationSpec] = &[
    operation("/", &["get"], "The live page.", SecurityRequirement::Page, &[answer(200, "The page.", PAGE)]),
    operation(
        DRAIN_PATH,
        &["get"],
        "The drain, its holders and the turns in flight. With `wait` and `generation`, a long poll.",
        SecurityRequirement::DrainSecret,
        &[
            answer(
                200,
                "The drain. `ETag` has the generation.",
                ContentSpec::Json(&[
                    field("ok", FieldType::Boolean),
                    field("draining", FieldType::Boolean),
                    field("requested_at", FieldType::Time).or_null(),
                    field("expires_at", FieldType::Time).or_null(),
                    field("generation", FieldType::Integer),
                    field("holders", FieldType::Objects),
                    field("acknowledged", FieldType::Boolean),
                    field("drained", FieldType::Boolean),
                    field("gateway_state", FieldType::Text).or_null(),
                    field("active_agents", FieldType::Integer).or_null(),
                    field("turns", FieldType::Objects),
                ]),
            ),
            answer(304, "The generation is the one of `If-None-Match`.", ContentSpec::Empty),
            answer(400, "A parameter is wrong; `detail` names it.", PROBLEM),
        ],
    )
    .with(&[
        query(
            "wait",
            "Longest wait for another generation, in seconds (0 to 30).",
            FieldType::Whole(0, MAX_WAIT_SECONDS),
        ),
        query("generation", "The generation that the caller knows.", FieldType::Whole(0, u64::MAX)),
        Parameter {
            name: "If-None-Match",
            place: "header",
            about: "Tags that the caller knows.",
            kind: FieldType::Text,
        },
    ])
    .linked(&[TO_DRAIN]),
    operation(
        DRAIN_PATH,
        &["post"],
        "Begins or cancels a drain.",
        SecurityRequirement::DrainSecret,
        DRAIN_ANSWERS,
    )
    .taking(BodySpec::Json(DRAIN_REQUEST))
    .linked(&[TO_DRAIN]),
    operation(
        RESTART_PATH,
        &["post"],
        "Cancels every drain and restarts the gateway. A token route if configured.",
        SecurityRequirement::Operators,
        RESTART_ANSWERS,
    )
    .taking(BodySpec::Json(RESTART_REQUEST)),
    operation(
        WHOAMI_PATH,
        &["get"],
        "Says who the caller is.",
        SecurityRequirement::BearerToken,
        &[answer(
            200,
            "The caller.",
            ContentSpec::Json(&[
                field("principal", FieldType::Text),
                field("provider", FieldType::Text).or_null(),
                field("scopes", FieldType::Texts),
                field("groups", FieldType::Texts),
            ]),
        )],
    ),
    operation(
        "/login",
        &["get"],
        "The sign-in page.",
        SecurityRequirement::Public,
        &[
            answer(200, "The page.", PAGE),
            answer(302, "To the public host, which has the session.", ContentSpec::Empty),
        ],
    )
    .with(&[NEXT, query("failed", "Why the last sign-in failed, as one word.", FieldType::Text)]),
    operation(
        "/auth/login",
        &["get"],
        "Begins a sign-in at an identity provider.",
        SecurityRequirement::Public,
        &[
            answer(302, "To the identity provider.", ContentSpec::Empty),
            answer(400, "The request is not for a page of its own.", PROBLEM),
            answer(404, "No such provider redirects.", PROBLEM),
            answer(429, "Too many attempts.", PAGE),
        ],
    )
    .with(&[query("provider", "Name of the provider.", FieldType::Text), NEXT]),
    operation(
        "/auth/callback",
        &["get"],
        "The return from the identity provider.",
        SecurityRequirement::Public,
        &[answer(302, "To `next` with a session, or to the sign-in page.", ContentSpec::Empty)],
    )
    .with(&[
        query("code", "Authorization code.", FieldType::Text),
        query("state", "State of the sign-in.", FieldType::Text),
        query("error", "Error of the identity provider.", FieldType::Text),
        query("iss", "Issuer (RFC 9207).", FieldType::Text),
    ]),
    operation(
        "/auth/password-login",
        &["post"],
        "Signs a person in with a password.",
        SecurityRequirement::Public,
        &[
            answer(
                200,
                "Signed in.",
                ContentSpec::Json(&[field("ok", FieldType::Boolean), field("next", FieldType::Text)]),
            ),
            answer(
                303,
                "The answer to a good form: to `next`. A form that fails gets the page again.",
                ContentSpec::Empty,
            ),
            answer(400, "Fields are missing.", PROBLEM),
            answer(401, "The user name or the password is wrong.", PROBLEM_OR_PAGE),
            answer(403, "The person has no role, or cannot be used.", PROBLEM_OR_PAGE),
            answer(404, "No such provider takes passwords.", PROBLEM_OR_PAGE),
            answer(429, "Too many attempts; `Retry-After` says how long to wait.", PROBLEM_OR_PAGE),
            answer(500, "The session could not be made.", PROBLEM_OR_PAGE),
            answer(502, "The provider's session is too large for a cookie.", PROBLEM_OR_PAGE),
            answer(503, "The provider gave no answer.", PROBLEM_OR_PAGE),
        ],
    )
    .taking(BodySpec::JsonOrForm(&[
        field("provider", FieldType::Text),
        field("username", FieldType::Text),
        field("password", FieldType::Text),
        field("next", FieldType::Text).optional(),
    ])),
    operation(
        "/auth/logout",
        &["post"],
        "Ends the session of the caller.",
        SecurityRequirement::Public,
        &[answer(
            302,
            "To the sign-in page, or to the sign-out of the identity provider.",
            ContentSpec::Empty,
        )],
    ),
    operation(
        BACKCHANNEL_PATH,
        &["post"],
        "Takes a logout token of an identity provider.",
        SecurityRequirement::Public,
        &[
            answer(200, "The sessions are over.", ContentSpec::Empty),
            answer(
                400,
                "The logout token is refused, with `error_description`. Or the `Host` is unknown or the path is not plain, \
                 with `detail`.",
                REFUSED_LOGOUT_TOKEN,
            ),
            answer(404, "No such provider takes logout tokens.", PROBLEM),
            answer(429, "Too many requests.", PROBLEM),
            answer(500, "The end could not be written to the disk.", PROBLEM),
            answer(503, "The provider gave no answer.", PROBLEM),
        ],
    )
    .with(&[Parameter {
        name: "provider",
        place: "path",
        about: "Name of the provider.",
        kind: FieldType::Text,
    }])
    .taking(BodySpec::Form(&[field("logout_token", FieldType::Text)])),
    operation(
        HANDOVER_PATH,
        &["get"],
        "Takes a session over from the public host.",
        SecurityRequirement::Public,
        &[answer(302, "To `next` with the session, or to the sign-in page.", ContentSpec::Empty)],
    )
    .with(&[query("ticket", "Ticket of the session.", FieldType::Text), NEXT]),
    operation(
        VERIFY_PATH,
        &["get", "post", "put", "patch", "delete", "head", "options", "trace"],
        "Says to a reverse proxy who calls, also at every path below.",
        SecurityRequirement::Proxy,
        &[answer(
            200,
            "The caller, in `X-Auth-User`, `X-Auth-Email`, `X-Auth-Provider`, `X-Auth-Scopes` and `X-Auth-Groups`.",
            ContentSpec::Empty,
        )],
    ),
    operation(
        RESUME_PATH,
        &["get"],
        "Renews the session and redirects to `next`.",
        SecurityRequirement::Page,
        &[answer(302, "To `next`, or to the sign-in page.", ContentSpec::Empty)],
    )
    .with(&[NEXT]),
    operation(
        "/api/auth/providers",
        &["get"],
        "The providers that sign people in.",
        SecurityRequirement::Public,
        &[answer(
            200,
            "Each with `name`, `display_name` and `supports_password`.",
            ContentSpec::Json(&[field("providers", FieldType::Objects)]),
        )],
    )
    .linked(&[
        Link { name: "begin", to: ("get", "/auth/login"), parameter: "provider", value: "/providers/0/name" },
        Link {
            name: "end",
            to: ("post", BACKCHANNEL_PATH),
            parameter: "provider",
            value: "/providers/0/name",
        },
        Link {
            name: "end_all",
            to: ("delete", SESSIONS_PATH),
            parameter: "provider",
            value: "/providers/0/name",
        },
    ]),
    operation(
        "/api/auth/me",
        &["get"],
        "The person who is signed in.",
        SecurityRequirement::People,
        &[
            answer(
                200,
                "The person.",
                ContentSpec::Json(&[
                    field("user_id", FieldType::Text),
                    field("email", FieldType::Text),
                    field("display_name", FieldType::Text),
                    field("org_id", FieldType::Text),
                    field("groups", FieldType::Texts),
                    field("role", FieldType::Text).or_null(),
                    field("provider", FieldType::Text),
                    field("expires_at", FieldType::Integer),
                ]),
            ),
            answer(404, "No sign-in is needed here.", PROBLEM),
        ],
    ),
    operation(
        "/api/auth/ws-ticket",
        &["post"],
        "Makes a ticket for the web socket.",
        SecurityRequirement::People,
        &[
            answer(
                200,
                "The ticket, which is spent once.",
                ContentSpec::Json(&[
                    field("ticket", FieldType::Text),
                    field("ttl_seconds", FieldType::Integer),
                ]),
            ),
            answer(404, "An application has this host for itself.", PROBLEM),
            answer(429, "Too many tickets wait to be spent.", PROBLEM),
        ],
    )
    .linked(&[Link { name: "spend", to: ("get", WS_PATH), parameter: "ticket", value: "/ticket" }]),
    operation(
        WS_PATH,
        &["get"],
        "The web socket of the live page: `docs/live.schema.json`.",
        SecurityRequirement::Ticket,
        &[
            answer(101, "The connection is a web socket.", ContentSpec::Empty),
            answer(426, "The request is no upgrade to a web socket.", PROBLEM),
            answer(503, "Too many web sockets are open.", PROBLEM),
        ],
    )
    .with(&[query("ticket", "A ticket.", FieldType::Text)]),
    operation(
        PAGE_DRAIN_PATH,
        &["post"],
        "Begins or cancels a drain, from the page.",
        SecurityRequirement::Operators,
        DRAIN_ANSWERS,
    )
    .taking(BodySpec::JsonOrForm(DRAIN_REQUEST)),
    operation(
        PAGE_RESTART_PATH,
        &["post"],
        "Restarts the gateway, from the page.",
        SecurityRequirement::Operators,
        RESTART_ANSWERS,
    )
    .taking(BodySpec::JsonOrForm(RESTART_REQUEST)),
    operation(
        SESSIONS_PATH,
        &["get"],
        "The sessions of the caller, for operators those of everyone.",
        SecurityRequirement::People,
        &[answer(
            200,
            "The sessions.",
            ContentSpec::Json(&[
                field("sessions", FieldType::Objects),
                field("complete", FieldType::Boolean),
                field("since", FieldType::Time).or_null(),
            ]),
        )],
    )
    .linked(&[Link {
        name: "end",
        to: ("delete", SESSION_PATH),
        parameter: "id",
        value: "/sessions/0/id",
    }]),
    operation(
        SESSIONS_PATH,
        &["delete"],
        "Ends the sessions of a person, of a provider, of both, or all.",
        SecurityRequirement::Operators,
        &[
            answer(200, "The sessions are over.", ENDED),
            answer(400, "A parameter is unknown, repeated, empty or missing.", PROBLEM),
            answer(500, "The sessions are over, but this is not on the disk.", PROBLEM),
        ],
    )
    .with(&[
        query("user", "User id.", FieldType::Text),
        query("provider", "Name of the provider.", FieldType::Text),
        query("all", "`true` ends all sessions.", FieldType::Boolean),
    ]),
    operation(
        SESSION_PATH,
        &["delete"],
        "Ends one session.",
        SecurityRequirement::People,
        &[
            answer(200, "The session is over.", ENDED),
            answer(404, "The session is not listed for the caller.", PROBLEM),
            answer(500, "The session is over, but this is not on the disk.", PROBLEM),
        ],
    )
    .with(&[Parameter { name: "id", place: "path", about: "Id of the session.", kind: FieldType::Text }]),
    operation(
        LOGO_PATH,
        &["get"],
        "The logo of `dashboard.branding`, a PNG or SVG image.",
        SecurityRequirement::Public,
        &[
            answer(200, "The logo.", ContentSpec::Text(&["image/png", "image/svg+xml"])),
            answer(404, "The dashboard has no logo.", PROBLEM),
        ],
    ),
    operation(
        "/favicon.ico",
        &["get"],
        "The icon.",
        SecurityRequirement::Public,
        &[answer(200, "The icon.", ContentSpec::Text(&["image/svg+xml"]))],
    ),
    operation(
        "/api/status",
        &["get"],
        "The state of the gateway and the drain.",
        SecurityRequirement::Public,
        &[answer(
            200,
            "The state. Scripts act on `quiesced`.",
            ContentSpec::Json(&[
                field("version", FieldType::Text),
                field("gateway_running", FieldType::Boolean).or_null(),
                field("gateway_state", FieldType::Text).or_null(),
                field("gateway_updated_at", FieldType::Text).or_null(),
                field("active_agents", FieldType::Integer).or_null(),
                field("gateway_busy", FieldType::Boolean),
                field("gateway_drainable", FieldType::Boolean),
                field("drained", FieldType::Boolean),
                field("quiesced", FieldType::Boolean),
                field("acknowledged", FieldType::Boolean),
                field("generation", FieldType::Integer),
                field("drain", FieldType::Object),
                field("restart_drain_timeout", FieldType::Number),
                field("nous_session_valid", FieldType::Text),
                field("profiles", FieldType::Texts),
                field("auth_required", FieldType::Boolean),
            ]),
        )],
    ),
    operation(
        "/metrics",
        &["get"],
        "The metrics. A token route if configured.",
        SecurityRequirement::Metrics,
        &[answer(200, "The metrics.", ContentSpec::Text(&["application/openmetrics-text", "text/plain"]))],
    ),
    operation(
        "/healthz",
        &["get"],
        "Whether the process serves requests.",
        SecurityRequirement::Public,
        &[answer(200, "It does.", ContentSpec::Text(&["text/plain"]))],
    ),
    operation(
        "/readyz",
        &["get"],
        "Whether the dashboard is ready, and the counts of its providers.",
        SecurityRequirement::Public,
        &[answer(200, "It is ready.", READINESS), answer(503, "It starts or ends.", NOT_READY)],
    ),
    operation(
        OPENAPI_PATH,
        &["get"],
        "This document.",
        SecurityRequirement::Page,
        &[
            answer(200, "An OpenAPI 3.1 document.", ContentSpec::Object),
            answer(404, "An application has this host for itself.", PROBLEM),
        ],
    ),
];
