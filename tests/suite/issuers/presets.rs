//! What issuers do, by their documentation: where their endpoints and claims are, how a client
//! proves who it is, and when there is a refresh token.

/// An issuer.
pub(super) struct Preset {
    /// As people call it.
    pub(super) name: &'static str,
    /// Its page in `docs/people`, without the ending.
    pub(super) page: &'static str,
    /// As its tokens and its discovery document write it.
    pub(super) issuer: &'static str,
    pub(super) authorization: &'static str,
    pub(super) token: &'static str,
    /// `None`: it sends no ID token, and has no discovery document.
    pub(super) keys: Option<&'static str>,
    pub(super) userinfo: &'static str,
    pub(super) revocation: Option<&'static str>,
    /// Where a browser is sent to sign out (OpenID Connect RP-Initiated Logout 1.0).
    pub(super) end_session: Option<&'static str>,
    /// Whether a sign-out there needs the ID token of the sign-in.
    pub(super) needs_id_token_hint: bool,
    /// Whether it notifies clients of sign-outs (OpenID Connect Back-Channel Logout 1.0).
    pub(super) has_back_channel: bool,
    /// Whether its answers name it (RFC 9207).
    pub(super) names_itself: bool,
    /// The ID token's claims, beside those of the protocol.
    pub(super) id_token: &'static [&'static str],
    /// The claims of userinfo, beside `sub`.
    pub(super) userinfo_claims: &'static [&'static str],
    /// The group that the page requires. `None`: it has no groups.
    pub(super) group: Option<&'static str>,
    /// Whether it calls addresses unverified.
    pub(super) has_unverified_email: bool,
    pub(super) token_auth: TokenAuth,
    pub(super) refresh: Refresh,
    /// A scope that it answers with `invalid_scope`.
    pub(super) refused_scope: Option<&'static str>,
}

/// How a client proves at the token endpoint who it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenAuth {
    Basic,
    Post,
    Either,
}

/// When a refresh token comes with the other tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresh {
    Never,
    Always,
    /// For the scope `offline_access`.
    OfflineAccess,
    /// For `access_type=offline`; the same token is good for every refresh.
    AccessType,
}

const NOTHING: Preset = Preset {
    name: "",
    page: "",
    issuer: "",
    authorization: "",
    token: "",
    keys: None,
    userinfo: "",
    revocation: None,
    end_session: None,
    needs_id_token_hint: false,
    has_back_channel: false,
    names_itself: false,
    id_token: &[],
    userinfo_claims: &[],
    group: None,
    has_unverified_email: false,
    token_auth: TokenAuth::Either,
    refresh: Refresh::OfflineAccess,
    refused_scope: None,
};

const PROFILE: &[&str] = &["name", "preferred_username", "email", "email_verified"];
const PROFILE_AND_GROUPS: &[&str] = &[
    "name",
    "preferred_username",
    "email",
    "email_verified",
    "groups",
];

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "Keycloak",
        page: "keycloak",
        issuer: "https://sso.example.com/realms/REALM",
        authorization: "https://sso.example.com/realms/REALM/protocol/openid-connect/auth",
        token: "https://sso.example.com/realms/REALM/protocol/openid-connect/token",
        keys: Some("https://sso.example.com/realms/REALM/protocol/openid-connect/certs"),
        userinfo: "https://sso.example.com/realms/REALM/protocol/openid-connect/userinfo",
        revocation: Some("https://sso.example.com/realms/REALM/protocol/openid-connect/revoke"),
        end_session: Some("https://sso.example.com/realms/REALM/protocol/openid-connect/logout"),
        has_back_channel: true,
        names_itself: true,
        id_token: PROFILE_AND_GROUPS,
        userinfo_claims: PROFILE_AND_GROUPS,
        group: Some("agent-admins"),
        refresh: Refresh::Always,
        ..NOTHING
    },
    Preset {
        name: "authentik",
        page: "authentik",
        issuer: "https://authentik.example.com/application/o/SLUG/",
        authorization: "https://authentik.example.com/application/o/authorize/",
        token: "https://authentik.example.com/application/o/token/",
        keys: Some("https://authentik.example.com/application/o/SLUG/jwks/"),
        userinfo: "https://authentik.example.com/application/o/userinfo/",
        revocation: Some("https://authentik.example.com/application/o/revoke/"),
        end_session: Some("https://authentik.example.com/application/o/SLUG/end-session/"),
        has_back_channel: true,
        id_token: PROFILE_AND_GROUPS,
        userinfo_claims: PROFILE_AND_GROUPS,
        group: Some("agent-admins"),
        has_unverified_email: true,
        ..NOTHING
    },
    Preset {
        name: "Authelia",
        page: "authelia",
        issuer: "https://auth.example.com",
        authorization: "https://auth.example.com/api/oidc/authorization",
        token: "https://auth.example.com/api/oidc/token",
        keys: Some("https://auth.example.com/jwks.json"),
        userinfo: "https://auth.example.com/api/oidc/userinfo",
        revocation: Some("https://auth.example.com/api/oidc/revocation"),
        names_itself: true,
        userinfo_claims: PROFILE_AND_GROUPS,
        group: Some("admins"),
        token_auth: TokenAuth::Basic,
        ..NOTHING
    },
    Preset {
        name: "Microsoft Entra ID",
        page: "entra-id",
        issuer: "https://login.microsoftonline.com/TENANT_ID/v2.0",
        authorization: "https://login.microsoftonline.com/TENANT_ID/oauth2/v2.0/authorize",
        token: "https://login.microsoftonline.com/TENANT_ID/oauth2/v2.0/token",
        keys: Some("https://login.microsoftonline.com/TENANT_ID/discovery/v2.0/keys"),
        userinfo: "https://graph.microsoft.com/oidc/userinfo",
        end_session: Some("https://login.microsoftonline.com/TENANT_ID/oauth2/v2.0/logout"),
        id_token: &["name", "preferred_username", "email", "groups"],
        userinfo_claims: &["name", "email"],
        group: Some("GROUP_OBJECT_ID"),
        token_auth: TokenAuth::Post,
        ..NOTHING
    },
    Preset {
        name: "Google",
        page: "google",
        issuer: "https://accounts.google.com",
        authorization: "https://accounts.google.com/o/oauth2/v2/auth",
        token: "https://oauth2.googleapis.com/token",
        keys: Some("https://www.googleapis.com/oauth2/v3/certs"),
        userinfo: "https://openidconnect.googleapis.com/v1/userinfo",
        revocation: Some("https://oauth2.googleapis.com/revoke"),
        id_token: &["name", "email", "email_verified", "hd"],
        userinfo_claims: &["name", "email", "email_verified", "hd"],
        refresh: Refresh::AccessType,
        refused_scope: Some("offline_access"),
        ..NOTHING
    },
    Preset {
        name: "Okta",
        page: "okta",
        issuer: "https://ORG.okta.com/oauth2/default",
        authorization: "https://ORG.okta.com/oauth2/default/v1/authorize",
        token: "https://ORG.okta.com/oauth2/default/v1/token",
        keys: Some("https://ORG.okta.com/oauth2/default/v1/keys"),
        userinfo: "https://ORG.okta.com/oauth2/default/v1/userinfo",
        revocation: Some("https://ORG.okta.com/oauth2/default/v1/revoke"),
        end_session: Some("https://ORG.okta.com/oauth2/default/v1/logout"),
        needs_id_token_hint: true,
        // Beside an access token, it sends the claims of the profile in userinfo alone.
        id_token: &["groups"],
        userinfo_claims: PROFILE,
        group: Some("agent-admins"),
        ..NOTHING
    },
    Preset {
        name: "Dex",
        page: "dex",
        issuer: "https://dex.example.com",
        authorization: "https://dex.example.com/auth",
        token: "https://dex.example.com/token",
        keys: Some("https://dex.example.com/keys"),
        userinfo: "https://dex.example.com/userinfo",
        id_token: PROFILE_AND_GROUPS,
        userinfo_claims: PROFILE_AND_GROUPS,
        group: Some("agent-admins"),
        ..NOTHING
    },
    Preset {
        name: "GitHub",
        page: "github",
        issuer: "https://github.com",
        authorization: "https://github.com/login/oauth/authorize",
        token: "https://github.com/login/oauth/access_token",
        userinfo: "https://api.github.com/user",
        userinfo_claims: &["id", "login", "name", "email"],
        token_auth: TokenAuth::Post,
        refresh: Refresh::Never,
        ..NOTHING
    },
];
