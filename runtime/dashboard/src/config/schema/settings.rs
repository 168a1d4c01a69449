//! The settings (`config`) of the builtin providers. A setting that a provider takes has one line
//! here.

use super::key::{Form, Scalar, SchemaKey, key};

/// Each builtin with its settings.
pub(super) const BUILTINS: &[(&str, &[SchemaKey])] = &[
    ("service-keys", SERVICE_KEYS),
    ("basic", BASIC),
    ("oidc", OIDC),
    ("nous", NOUS),
    ("jwt", JWT),
];

const SERVICE_KEYS: &[SchemaKey] = &[key(
    "keys",
    "The keys, each by its digest.",
    Form::List(&Form::Map(SERVICE_KEY)),
)];

const SERVICE_KEY: &[SchemaKey] = &[
    key(
        "sha256",
        "SHA-256 digest of the key, 64 hex digits.",
        Form::Text("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"),
    )
    .required(),
    key("principal", "Name of the caller.", Form::Text("ci-bot")).required(),
    key(
        "scopes",
        "Scopes of the caller, which `grants.scopes` must have too.",
        Form::List(&Form::Text("metrics.read")),
    ),
    key(
        "expires_at",
        "Time at which the key expires, RFC 3339.",
        Form::Text("2027-01-01T00:00:00Z"),
    ),
];

const BASIC: &[SchemaKey] = &[
    key(
        "users",
        "The users. `users` or `users_file` is needed.",
        Form::List(&Form::Map(USER)),
    ),
    key(
        "users_file",
        "File with the users, relative to this file, YAML or JSON.",
        Form::Text("users.yaml"),
    ),
    key(
        "secret",
        "Key that signs session tokens, at least 32 characters. Without it, a key is made and kept in the bucket.",
        Form::Secret,
    ),
    key(
        "session_ttl_seconds",
        "Lifetime of an access token.",
        Form::Integer(1, 604_800),
    )
    .default(Scalar::Integer(43_200)),
];

const USER: &[SchemaKey] = &[
    key("username", "Name to sign in with.", Form::Text("ada")).required(),
    key(
        "password_hash",
        "Hash that `portcullis provider hash-password` prints.",
        Form::Secret,
    )
    .required(),
    key(
        "user_id",
        "Identifier that stays when the user name changes. Without it, the user name.",
        Form::Text("u-1"),
    ),
    key(
        "display_name",
        "Name as shown to people.",
        Form::Text("Ada Lovelace"),
    ),
    key("email", "E-mail address.", Form::Text("ada@example.com")),
];

const OIDC: &[SchemaKey] = &[
    key(
        "issuer",
        "URL of the issuer. Needed, unless HERMES_DASHBOARD_OIDC_ISSUER is set.",
        Form::Text("https://idp.example.com"),
    ),
    key(
        "client_id",
        "Client identifier at the issuer. Needed, unless HERMES_DASHBOARD_OIDC_CLIENT_ID is set.",
        Form::Text("portcullis"),
    ),
    key(
        "client_secret",
        "Client secret, where the header of the grant is not the form that the issuer takes.",
        Form::Secret,
    ),
    key(
        "scopes",
        "Scopes of the authorization request, words or a list.",
        Form::Either(&[
            Form::Text("openid email profile"),
            Form::List(&Form::Text("openid")),
        ]),
    )
    .default(Scalar::Text("openid email profile")),
    key(
        "claims",
        "Claims that hold the facts about a person, each a name or a dotted path.",
        Form::Map(CLAIMS),
    ),
    key(
        "require",
        "Claims that a person must have, each with the values of which it has one.",
        Form::Named(&Form::Either(&[
            Form::Text("staff"),
            Form::List(&Form::Text("staff")),
        ])),
    ),
    key(
        "authorization_params",
        "More parameters of the authorization request.",
        Form::Named(&Form::Text("login")),
    ),
    key(
        "token_auth",
        "How the client authenticates at the token endpoint. Without it, as the issuer announces.",
        Form::OneOf(&["basic", "post", "private_key_jwt", "none"]),
    ),
    key(
        "private_key",
        "PEM key (RSA or P-256) of `token_auth: private_key_jwt`.",
        Form::Secret,
    ),
    key(
        "private_key_id",
        "Key id by which the issuer knows `private_key`.",
        Form::Text("2027-01"),
    ),
    key(
        "discovery_url",
        "URL of the discovery document. Without it, the well-known path below the issuer.",
        Form::Text("https://idp.example.com/.well-known/openid-configuration"),
    ),
    key(
        "endpoints",
        "Endpoints that replace the announced ones.",
        Form::Map(ENDPOINTS),
    ),
    key(
        "userinfo",
        "When the userinfo endpoint is asked. `auto`: when the ID token lacks a claim.",
        Form::OneOf(&["auto", "always", "never"]),
    )
    .default(Scalar::Text("auto")),
    key(
        "end_session",
        "Whether a sign-out leads on to the issuer's `end_session_endpoint`.",
        Form::Boolean,
    )
    .default(Scalar::Boolean(false)),
    LEEWAY,
];

const CLAIMS: &[SchemaKey] = &[
    key("user_id", "The identifier.", Form::Text("sub")).default(Scalar::Text("sub")),
    key("email", "The e-mail address.", Form::Text("email")).default(Scalar::Text("email")),
    key(
        "display_name",
        "The name as shown to people.",
        Form::Text("name"),
    )
    .default(Scalar::Text("name")),
    key("org_id", "The organization.", Form::Text("org_id")),
    key("groups", "The groups.", Form::Text("groups")).default(Scalar::Text("groups")),
];

const ENDPOINTS: &[SchemaKey] = &[
    key(
        "issuer",
        "What the issuer calls itself in its tokens.",
        Form::Text("https://idp.example.com"),
    ),
    key(
        "authorization",
        "Authorization endpoint.",
        Form::Text("https://idp.example.com/authorize"),
    ),
    key(
        "token",
        "Token endpoint.",
        Form::Text("https://idp.example.com/token"),
    ),
    key(
        "jwks",
        "Key set.",
        Form::Text("https://idp.example.com/jwks"),
    ),
    key(
        "userinfo",
        "Userinfo endpoint.",
        Form::Text("https://idp.example.com/userinfo"),
    ),
    key(
        "revocation",
        "Revocation endpoint.",
        Form::Text("https://idp.example.com/revoke"),
    ),
    key(
        "end_session",
        "Sign-out endpoint.",
        Form::Text("https://idp.example.com/logout"),
    ),
];

const NOUS: &[SchemaKey] = &[
    key(
        "portal_url",
        "URL of the portal. Needed, unless HERMES_DASHBOARD_PORTAL_URL is set.",
        Form::Text("https://portal.nousresearch.com"),
    ),
    key(
        "client_id",
        "`agent:` and the identifier of the agent's instance. Needed, unless HERMES_DASHBOARD_OAUTH_CLIENT_ID is set.",
        Form::Text("agent:7f3a"),
    ),
];

const JWT: &[SchemaKey] = &[
    key(
        "issuer",
        "Issuer that the tokens name (`iss`).",
        Form::Text("https://idp.example.com"),
    )
    .required(),
    key(
        "audience",
        "Audience that the tokens name (`aud`).",
        Form::Text("portcullis"),
    )
    .required(),
    key(
        "jwks_url",
        "URL of the key set. `jwks_url` or `jwks` is needed.",
        Form::Text("https://idp.example.com/jwks"),
    ),
    key("jwks", "The key set itself.", Form::Any),
    key(
        "principal_claim",
        "Claim with the name of the caller, a name or a dotted path.",
        Form::Text("sub"),
    )
    .default(Scalar::Text("sub")),
    key(
        "scopes_claim",
        "Claim with the scopes, a name or a dotted path.",
        Form::Text("scope"),
    )
    .default(Scalar::Text("scope")),
    LEEWAY,
];

const LEEWAY: SchemaKey = key(
    "leeway_seconds",
    "How far the clocks may differ.",
    Form::Integer(0, 3600),
)
.default(Scalar::Integer(60));
