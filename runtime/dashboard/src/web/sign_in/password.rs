//! `POST /auth/password-login`: JSON for programs, a form for the page, which works without any
//! script.

use super::super::body::BoundedBody;
use super::super::context::Context;
use super::super::request_cookies::RequestCookies;
use super::super::{Dashboard, respond, session_cookie};
use super::device::Device;
use super::notice::Notice;
use super::page::Typed;
use super::{
    SignInFailure, UNUSABLE_CLAIM, deadline, fault, open_session, page, still_loading,
    tell_failure, too_many, with_retry,
};
use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::Render;
use person_text::{
    MAX_NAME_BYTES, MAX_PASSWORD_BYTES, MAX_TYPED_NAME_BYTES, MAX_TYPED_PASSWORD_BYTES, normalised,
};
use portcullis_auth::{Account, Attempt, PasswordVerdict, Registered, Role, safe_target};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// What a person or a program sent.
#[derive(Deserialize)]
struct Credentials {
    provider: String,
    username: String,
    password: Zeroizing<String>,
    #[serde(default)]
    next: String,
}

/// The outcome of an attempt, before it is rendered as JSON or as a page.
enum AttemptOutcome {
    SignedIn(Vec<HeaderValue>),
    /// An unknown user and a wrong password look alike.
    Refused,
    /// An unknown provider and one without passwords look alike as well.
    NoSuchProvider,
    TooMany(Duration),
    /// The password is right, but the host cannot use what the provider says of the person.
    Unusable,
    /// The password is right, and the person has no role.
    NoRole,
    /// The provider of this name gave no answer that can be used.
    Unanswered(String, Notice),
    /// No browser would keep the session.
    TooLarge,
    /// The session could not be made.
    Failed(Notice),
}

pub(in crate::web) async fn password_login(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    headers: HeaderMap,
    BoundedBody(body): BoundedBody,
) -> Response {
    let is_form = headers.get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    let parsed = if is_form {
        serde_urlencoded::from_bytes(&body).ok()
    } else {
        of_json(&body)
    };

    // The parsers' own complaints may quote what was typed.
    let Some(credentials) = parsed else {
        return respond::bad_request("provider, username and password are needed, each as text");
    };

    let sent = RequestCookies::of(&headers);
    let outcome = try_password(&dashboard, &context, &sent, &credentials).await;
    if is_form {
        as_page(&dashboard, &context, &credentials, outcome)
    } else {
        as_json(&credentials, outcome)
    }
}

/// An object. A derived reader takes a list as well, with its items in the order of the fields.
fn of_json(body: &[u8]) -> Option<Credentials> {
    let is_object = body.trim_ascii_start().starts_with(b"{");
    serde_json::from_slice(body).ok().filter(|_| is_object)
}

async fn try_password(
    dashboard: &Dashboard,
    context: &Context,
    sent: &RequestCookies<'_>,
    credentials: &Credentials,
) -> AttemptOutcome {
    let Credentials {
        provider,
        username,
        password,
        ..
    } = credentials;
    let serving = dashboard.live.now();
    let takes_passwords =
        |registered: &&Registered| registered.password.is_some() && registered.signs_people_in();
    let registered = serving
        .gate
        .registry()
        .named_by(provider)
        .filter(takes_passwords);
    let account = registered.and_then(|registered| {
        Some((registered.name.to_string(), account_of(username, password)?))
    });

    let device = Device::of(&dashboard.sealer, sent, &context.site);
    let attempt = Attempt {
        address: context.client,
        account: account.as_ref(),
        device: account.as_ref().and_then(|account| device.id_for(account)),
    };

    let counted = dashboard.sign_ins.throttle.attempt(attempt, Instant::now());
    let counted = match counted {
        Ok(counted) => counted,
        Err(wait) => {
            let failure =
                SignInFailure::new("too_many_attempts", "the throttle").at_account(username);
            tell_failure(dashboard, context, registered, &failure);
            return AttemptOutcome::TooMany(wait);
        }
    };
    if serving.is_loading(provider) {
        let failure = still_loading();
        let outcome = AttemptOutcome::Unanswered(provider.clone(), failure.notice);
        tell_failure(dashboard, context, None, &failure.at_account(username));
        return outcome;
    }

    let Some(registered) = registered else {
        pad(serving.gate.registry().iter().find(takes_passwords)).await;
        let failure = SignInFailure::new(
            "no_such_provider",
            "no provider of that name takes passwords",
        );
        tell_failure(dashboard, context, None, &failure.at_account(username));
        return AttemptOutcome::NoSuchProvider;
    };
    let Some(account) = account else {
        pad(Some(registered)).await;
        let failure =
            SignInFailure::new("invalid_credentials", "longer than any").at_account(username);
        tell_failure(dashboard, context, Some(registered), &failure);
        return AttemptOutcome::Refused;
    };

    match ask(dashboard, context, sent, registered, username, password).await {
        Ok(mut cookies) => {
            counted.take_back();
            dashboard
                .sign_ins
                .throttle
                .succeeded(context.client, account.clone());
            cookies.extend(device_cookie(dashboard, context, sent, device, account));
            AttemptOutcome::SignedIn(cookies)
        }
        Err((failure, outcome)) => {
            tell_failure(
                dashboard,
                context,
                Some(registered),
                &failure.at_account(username),
            );
            outcome
        }
    }
}

/// The account that an attempt is counted at: every way to type a name is one account. `None` when
/// the name or the password is longer than any that a provider accepts.
fn account_of(username: &str, password: &str) -> Option<String> {
    if username.len() > MAX_TYPED_NAME_BYTES || password.len() > MAX_TYPED_PASSWORD_BYTES {
        return None;
    }
    let account = normalised(username);
    let password = Zeroizing::new(normalised(password).into_owned());
    let is_short = account.len() <= MAX_NAME_BYTES && password.len() <= MAX_PASSWORD_BYTES;
    is_short.then(|| account.into_owned())
}

/// The cookie by which the throttle distinguishes the account's owner from strangers. A sign-in
/// does not fail without it.
fn device_cookie(
    dashboard: &Dashboard,
    context: &Context,
    sent: &RequestCookies<'_>,
    device: Device,
    account: Account,
) -> Option<HeaderValue> {
    let device = device
        .signed_in(account)
        .inspect_err(|error| tracing::warn!(%error, "no device cookie"))
        .ok()?;
    let cookie = device.cookie(&dashboard.sealer, sent, &context.site);

    cookie
        .inspect_err(|error| tracing::warn!(%error, "no device cookie"))
        .ok()
}

async fn ask(
    dashboard: &Dashboard,
    context: &Context,
    sent: &RequestCookies<'_>,
    registered: &Registered,
    username: &str,
    password: &str,
) -> Result<Vec<HeaderValue>, (SignInFailure, AttemptOutcome)> {
    let Some(provider) = &registered.password else {
        return Err((
            SignInFailure::new("no_passwords", ""),
            AttemptOutcome::NoSuchProvider,
        ));
    };
    match provider
        .check_password(username, password, deadline())
        .await
    {
        Ok(PasswordVerdict::SignedIn(claims)) => {
            open_session(dashboard, context, sent, registered, claims)
                .map(|opened| opened.cookies)
                .map_err(|failure| {
                    let outcome = match failure.notice {
                        Notice::NoRole => AttemptOutcome::NoRole,
                        Notice::TooLarge => AttemptOutcome::TooLarge,
                        notice => AttemptOutcome::Failed(notice),
                    };
                    (failure, outcome)
                })
        }
        Ok(PasswordVerdict::Unusable(why)) => {
            Err((SignInFailure::unusable(why), AttemptOutcome::Unusable))
        }
        Ok(PasswordVerdict::InvalidCredentials) => {
            let detail = "the provider knows no such user with that password";
            Err((
                SignInFailure::new("invalid_credentials", detail),
                AttemptOutcome::Refused,
            ))
        }
        Err(call) => {
            let failure = fault(dashboard, registered, &call);
            let outcome = AttemptOutcome::Unanswered(registered.name.to_string(), failure.notice);
            Err((failure, outcome))
        }
    }
}

/// Does the same work for an unknown provider as for a known one, so that the time does not reveal
/// which exist. What was really typed is not passed to another provider.
async fn pad(registered: Option<&Registered>) {
    if let Some(provider) = registered.and_then(|registered| registered.password.as_ref()) {
        let _ = provider
            .check_password("nobody", "no password at all", deadline())
            .await;
    }
}

fn as_json(credentials: &Credentials, outcome: AttemptOutcome) -> Response {
    let next = safe_target(&credentials.next);
    match outcome {
        AttemptOutcome::SignedIn(cookies) => {
            let mut response = Json(json!({"ok": true, "next": next})).into_response();
            session_cookie::set(response.headers_mut(), cookies);
            response
        }
        AttemptOutcome::Refused => respond::error(
            StatusCode::UNAUTHORIZED,
            "invalid_credentials",
            "Invalid username or password",
        ),
        AttemptOutcome::Unusable => respond::error(
            StatusCode::FORBIDDEN,
            UNUSABLE_CLAIM,
            "The account cannot be used here",
        ),
        AttemptOutcome::NoSuchProvider => {
            respond::error(StatusCode::NOT_FOUND, "not_found", "Not Found")
        }
        AttemptOutcome::TooMany(wait) => {
            let detail = "Too many attempts; try again later";
            with_retry(
                wait,
                respond::error(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", detail),
            )
        }
        AttemptOutcome::NoRole => respond::needs_role(Role::Viewer),
        AttemptOutcome::Unanswered(name, _) => respond::unreachable(&name),
        // To try again would not help, so there is no `Retry-After`.
        AttemptOutcome::TooLarge => respond::error(
            StatusCode::BAD_GATEWAY,
            "session_too_large",
            "The provider's session is too large for a cookie; its tokens have to be smaller",
        ),
        AttemptOutcome::Failed(_) => respond::internal_error(),
    }
}

fn as_page(
    dashboard: &Dashboard,
    context: &Context,
    credentials: &Credentials,
    outcome: AttemptOutcome,
) -> Response {
    let next = safe_target(&credentials.next);
    let Credentials {
        provider, username, ..
    } = credentials;
    let typed = (username.len() <= MAX_NAME_BYTES).then_some(Typed { provider, username });
    let again = |status, message: &str| {
        page::render(
            dashboard,
            context,
            next,
            status,
            Some(message.render()),
            typed,
        )
    };

    match outcome {
        AttemptOutcome::SignedIn(cookies) => {
            let location = context.site.location(next);
            let mut response = (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response();
            session_cookie::set(response.headers_mut(), cookies);
            response
        }
        AttemptOutcome::Refused => again(StatusCode::UNAUTHORIZED, "Invalid username or password."),
        AttemptOutcome::Unusable => again(StatusCode::FORBIDDEN, Notice::Unusable.sentence()),
        AttemptOutcome::NoSuchProvider => again(StatusCode::NOT_FOUND, Notice::Failed.sentence()),
        AttemptOutcome::TooMany(wait) => too_many(dashboard, context, next, typed, wait),
        AttemptOutcome::NoRole => again(StatusCode::FORBIDDEN, Notice::NoRole.sentence()),
        AttemptOutcome::Unanswered(_, notice) => {
            again(StatusCode::SERVICE_UNAVAILABLE, notice.sentence())
        }
        AttemptOutcome::TooLarge => again(StatusCode::BAD_GATEWAY, Notice::TooLarge.sentence()),
        AttemptOutcome::Failed(notice) => {
            again(StatusCode::INTERNAL_SERVER_ERROR, notice.sentence())
        }
    }
}
