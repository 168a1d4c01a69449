//! Sign-in at an identity provider: `GET /auth/login` sends the browser there, `GET /auth/callback` takes it back.
//!
//! RFC 9700: PKCE always, state and nonce single-use and bound to the browser by a sealed cookie, `iss` handed on to
//! be checked (RFC 9207), one answer for every failure.

use super::super::context::Context;
use super::super::parameters::Parameters;
use super::super::session_cookie::{self, RequestCookies, SIGN_IN_SECONDS};
use super::super::{Dashboard, respond};
use super::{Failure, NOT_PERMITTED, deadline, fault, now, open_session, tell_failure, too_many};
use crate::audit::{EventName, Record};
use crate::auth::{CodeVerdict, LoginRequest, LoginResponse, Registered, SecretDigest, safe_target};
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;

const CALLBACK: &str = "/auth/callback";
const MAX_NEXT_BYTES: usize = 1024;

/// What the host keeps of a sign-in that is under way: in the browser, sealed.
#[derive(Serialize, Deserialize)]
struct UnderWay {
    provider: String,
    state: String,
    nonce: String,
    code_verifier: String,
    redirect_uri: String,
    next: String,
    /// Seconds since the Unix epoch.
    expires_at: u64,
}

pub(in crate::web) async fn start(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    parameters: Parameters,
) -> Response {
    let next = safe_target(parameters.only("next").unwrap_or("/")).to_owned();
    let serving = dashboard.live.now();
    if let Err(wait) = dashboard.sign_ins.throttle.redirect(context.client) {
        tell_failure(&dashboard, &context, None, &Failure::new("too_many_attempts", "the throttle"));
        return too_many(&dashboard, &context, &next, wait);
    }
    let redirects = |by: &&Registered| by.redirect.is_some() && by.signs_people_in();
    let wanted = parameters.only("provider").unwrap_or_default();
    let Some(by) = serving.gate.registry().named_by(wanted).filter(redirects) else {
        return respond::error(StatusCode::NOT_FOUND, "not_found", "Not Found");
    };
    match begin(&dashboard, &context, by, next.clone()).await {
        Ok((url, cookie)) => {
            dashboard.metrics.sign_in("start");
            let record = Record::now(EventName::LoginStart)
                .with("provider", by.name.as_str())
                .with("component", by.component.as_deref())
                .with("ip", context.ip());
            dashboard.audit.write(record);
            let mut response = (StatusCode::FOUND, [(LOCATION, url)]).into_response();
            session_cookie::set(response.headers_mut(), [cookie]);
            response
        }
        Err(failure) => {
            tell_failure(&dashboard, &context, Some(by), &failure);
            failed(&context, &next, &failure)
        }
    }
}

async fn begin(
    dashboard: &Dashboard,
    context: &Context,
    by: &Registered,
    next: String,
) -> Result<(HeaderValue, HeaderValue), Failure> {
    let Some(provider) = &by.redirect else { return Err(Failure::new("no_redirect", "")) };
    let under_way = UnderWay {
        provider: by.name.to_string(),
        state: random()?,
        nonce: random()?,
        code_verifier: random()?,
        redirect_uri: context.site.url(CALLBACK),
        // It lies in the cookie, which has room for so much.
        next: if next.len() <= MAX_NEXT_BYTES { next } else { "/".to_owned() },
        expires_at: now() + SIGN_IN_SECONDS,
    };
    let request = LoginRequest {
        redirect_uri: under_way.redirect_uri.clone(),
        state: under_way.state.clone(),
        nonce: under_way.nonce.clone(),
        code_challenge: URL_SAFE_NO_PAD.encode(Sha256::digest(&under_way.code_verifier)),
    };
    let url = provider.start_login(request, deadline()).await.map_err(|call| fault(dashboard, by, &call))?;
    let url = HeaderValue::try_from(url).map_err(|_| Failure::new("malformed", "a URL that is no header"))?;
    let cookie = dashboard.sealer.of_sign_in(&under_way, &context.site);
    Ok((url, cookie.map_err(|large| Failure::new("session_too_large", large.to_string()))?))
}

/// 256 random bits, as RFC 7636 wants a code verifier (43 characters).
fn random() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Failure::new("no_random", error.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

pub(in crate::web) async fn callback(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    headers: HeaderMap,
    parameters: Parameters,
) -> Response {
    if let Err(wait) = dashboard.sign_ins.throttle.redirect(context.client) {
        tell_failure(&dashboard, &context, None, &Failure::new("too_many_attempts", "the throttle"));
        return too_many(&dashboard, &context, "/", wait);
    }
    let under_way: Option<UnderWay> = dashboard.sealer.sign_in(&RequestCookies::of(&headers), &context.site);
    let serving = dashboard.live.now();
    let by = under_way.as_ref().and_then(|under_way| serving.gate.registry().named_by(&under_way.provider));
    let next = under_way.as_ref().map_or("/", |under_way| under_way.next.as_str()).to_owned();
    match complete(&dashboard, &context, by, under_way, &parameters).await {
        Ok(cookies) => {
            let mut response = (StatusCode::FOUND, [(LOCATION, context.site.path(&next))]).into_response();
            session_cookie::set(response.headers_mut(), cookies);
            session_cookie::set(response.headers_mut(), [session_cookie::sign_in_deletion(&context.site)]);
            response
        }
        Err(failure) => {
            tell_failure(&dashboard, &context, by, &failure);
            failed(&context, &next, &failure)
        }
    }
}

async fn complete(
    dashboard: &Dashboard,
    context: &Context,
    by: Option<&Registered>,
    under_way: Option<UnderWay>,
    parameters: &Parameters,
) -> Result<Vec<HeaderValue>, Failure> {
    let Some(under_way) = under_way else {
        return Err(Failure::new("no_sign_in", "no cookie of a sign-in that is under way"));
    };
    let state = parameters.only("state").unwrap_or_default();
    if !SecretDigest::of(under_way.state.as_bytes()).matches(state.as_bytes()) {
        return Err(Failure::new("wrong_state", "the state is not that of the sign-in under way"));
    }
    if !dashboard.sign_ins.spend(&under_way.state) {
        return Err(Failure::new("replayed", "this sign-in came back before"));
    }
    if under_way.expires_at <= now() {
        return Err(Failure::new("too_late", "the sign-in took more than ten minutes"));
    }
    if ["code", "iss", "error"].into_iter().any(|name| parameters.is_repeated(name)) {
        return Err(Failure::new("repeated_parameter", "which one counts is a guess that is not made"));
    }
    if let Some(error) = parameters.only("error") {
        let error: String = error.chars().take(64).flat_map(char::escape_debug).collect();
        return Err(Failure::new("identity_provider_refused", error));
    }
    let by = by.ok_or_else(|| Failure::new("no_such_provider", "the provider is not there any more"))?;
    let Some(provider) = by.redirect.as_ref().filter(|_| by.signs_people_in()) else {
        return Err(Failure::new("no_such_provider", "the provider redirects nobody any more"));
    };
    let Some(code) = parameters.only("code").filter(|code| !code.is_empty()) else {
        return Err(Failure::new("no_code", "the identity provider sent no code"));
    };
    let response = LoginResponse {
        redirect_uri: under_way.redirect_uri,
        code: code.to_owned(),
        nonce: under_way.nonce,
        code_verifier: under_way.code_verifier,
        issuer: parameters.only("iss").map(str::to_owned),
    };
    match provider.complete_login(response, deadline()).await {
        Ok(CodeVerdict::SignedIn(claims)) => open_session(dashboard, context, by, claims),
        Ok(CodeVerdict::InvalidCode(why)) => Err(Failure::new("invalid_code", why)),
        Ok(CodeVerdict::Unusable(why)) => Err(Failure::unusable(why)),
        Err(call) => Err(fault(dashboard, by, &call)),
    }
}

/// One answer for every failure but the want of a role: the sign-in page. A session that there was goes on: anybody can lead a browser here.
fn failed(context: &Context, next: &str, failure: &Failure) -> Response {
    let reason = if failure.reason == NOT_PERMITTED { NOT_PERMITTED } else { "1" };
    let location = format!("{}&failed={reason}", respond::login_url(&context.site, next));
    let mut response = (StatusCode::FOUND, [(LOCATION, location)]).into_response();
    session_cookie::set(response.headers_mut(), [session_cookie::sign_in_deletion(&context.site)]);
    response
}
