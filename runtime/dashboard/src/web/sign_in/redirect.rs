//! Sign-in at an identity provider: `GET /auth/login` sends the browser there, `GET /auth/callback`
//! takes it back.
//!
//! RFC 9700: PKCE always, state and nonce bound to the browser by a sealed cookie, `iss` handed on
//! to be checked (RFC 9207). A state is used once while the process runs; after a restart, the
//! issuer refuses the code that was used. A failure leads to the sign-in page, which says no more
//! than the person may know.

use super::super::context::Context;
use super::super::gate_layer::{GoodSession, good_session};
use super::super::parameters::Parameters;
use super::super::request_cookies::RequestCookies;
use super::super::{Dashboard, respond, session_cookie};
use super::handover::{self, Errand};
use super::notice::Notice;
use super::refused::RefusedPerson;
use super::under_way::{self, SIGN_IN_SECONDS, UnderWay};
use super::{
    Opened, SignInFailure, deadline, fault, now, open_session, since_epoch, still_loading,
    tell_failure, too_many,
};
use crate::audit::{EventName, Record};
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_auth::{
    CodeVerdict, LoginRequest, LoginResponse, NOT_ALLOWED, Registered, safe_target,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Instant;

const CALLBACK: &str = "/auth/callback";
/// Longest target to come back to, in bytes. A longer one is kept without its query.
const MAX_NEXT_BYTES: usize = 8 * 1024;
/// What a browser loads (Fetch Metadata). Browsers send it to addresses that they trust: https, and
/// loopback.
const FETCH_DEST: &str = "sec-fetch-dest";

pub(in crate::web) async fn start(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    headers: HeaderMap,
    parameters: Parameters,
) -> Response {
    // Not counted: the images of any page can ask for this path, and must not use up the visitor's
    // sign-ins.
    if headers
        .get(FETCH_DEST)
        .is_some_and(|dest| dest != "document")
    {
        return respond::bad_request("a sign-in begins as a page of its own");
    }

    let next = safe_target(parameters.only("next").unwrap_or("/")).to_owned();
    let serving = dashboard.live.now();
    let counted = dashboard
        .sign_ins
        .throttle
        .redirect(context.client, Instant::now());
    if let Err(wait) = counted {
        tell_failure(
            &dashboard,
            &context,
            None,
            &SignInFailure::new("too_many_attempts", "the throttle"),
        );
        return too_many(&dashboard, &context, &next, None, wait);
    }

    let redirects =
        |registered: &&Registered| registered.redirect.is_some() && registered.signs_people_in();
    let wanted = parameters.only("provider").unwrap_or_default();
    if serving.is_loading(wanted) {
        let failure = still_loading();
        tell_failure(&dashboard, &context, None, &failure);
        return failed(&context, &next, &failure);
    }
    let Some(registered) = serving.gate.registry().named_by(wanted).filter(redirects) else {
        return respond::error(StatusCode::NOT_FOUND, "not_found", "Not Found");
    };

    let sent = RequestCookies::of(&headers);
    let errand = Errand::of(&dashboard, &parameters);
    if context.elsewhere.is_some()
        && !errand
            .as_ref()
            .is_some_and(|errand| errand.is_from(&context))
    {
        let asked = handover::ask(
            &dashboard,
            &context,
            &sent,
            registered.name.as_str(),
            &next,
            false,
        );
        return asked.unwrap_or_else(|failure| {
            tell_failure(&dashboard, &context, Some(registered), &failure);
            failed(&context, &next, &failure)
        });
    }

    let errand = errand.filter(|_| context.elsewhere.is_none());
    let renewed = match &errand {
        None => Vec::new(),
        Some(errand) => {
            match without_asking(&dashboard, &context, &headers, registered, errand, &next).await {
                Ok(response) => return response,
                Err(renewed) => renewed,
            }
        }
    };

    let mut response = match begin(&dashboard, &context, &sent, registered, errand, &next).await {
        Ok((url, cookies)) => {
            dashboard.metrics.sign_in(Some(&registered.name), "start");
            let record = Record::now(EventName::LoginStart)
                .with("provider", registered.name.as_str())
                .with("component", registered.component.as_deref())
                .with("ip", context.ip());
            dashboard.audit.write(record);
            let mut response = (StatusCode::FOUND, [(LOCATION, url)]).into_response();
            session_cookie::set(response.headers_mut(), cookies);
            response
        }
        Err(failure) => {
            tell_failure(&dashboard, &context, Some(registered), &failure);
            failed(&context, &next, &failure)
        }
    };

    session_cookie::set(response.headers_mut(), renewed);
    response
}

/// The answer to a browser that needs a session at another host, if the person need not be asked or
/// must not be. Otherwise the person signs in, and the error is what the answer sets for the
/// session of another provider, which may have been refreshed.
async fn without_asking(
    dashboard: &Dashboard,
    context: &Context,
    headers: &HeaderMap,
    registered: &Registered,
    errand: &Errand,
    next: &str,
) -> Result<Response, Vec<HeaderValue>> {
    let renewed = match good_session(dashboard, headers, context).await {
        Some(GoodSession { session, cookies }) if *session.provider() == registered.name => {
            return Ok(handover::hand_over(
                dashboard, context, errand, &session, next, cookies,
            ));
        }
        Some(GoodSession { cookies, .. }) => cookies,
        None => Vec::new(),
    };

    if !errand.is_quiet() {
        return Err(renewed);
    }

    let mut response = errand.fruitless(context, next);
    session_cookie::set(response.headers_mut(), renewed);
    Ok(response)
}

/// The address at the identity provider, and the cookies of the sign-in. `sent` are those of the
/// request.
async fn begin(
    dashboard: &Dashboard,
    context: &Context,
    sent: &RequestCookies<'_>,
    registered: &Registered,
    errand: Option<Errand>,
    next: &str,
) -> Result<(HeaderValue, Vec<HeaderValue>), SignInFailure> {
    let Some(provider) = &registered.redirect else {
        return Err(SignInFailure::new("no_redirect", ""));
    };
    let under_way = UnderWay {
        provider: registered.name.to_string(),
        state: random()?,
        nonce: random()?,
        code_verifier: random()?,
        redirect_uri: context.site.url(CALLBACK),
        next: next.to_owned(),
        errand,
        began_at: u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX),
        expires_at: now() + SIGN_IN_SECONDS,
    };

    let request = LoginRequest {
        redirect_uri: under_way.redirect_uri.clone(),
        state: under_way.state.clone(),
        nonce: under_way.nonce.clone(),
        code_challenge: URL_SAFE_NO_PAD.encode(Sha256::digest(&under_way.code_verifier)),
    };
    let url = provider
        .start_login(request, deadline())
        .await
        .map_err(|call| fault(dashboard, registered, &call))?;

    let url = HeaderValue::try_from(url).map_err(|_| {
        SignInFailure::new("malformed", "a URL that is no header").with_notice(Notice::OutOfOrder)
    })?;
    let begun = under_way
        .begin(&dashboard.sealer, sent, &context.site)
        .map_err(|large| {
            SignInFailure::new("session_too_large", large.to_string())
                .with_notice(Notice::OutOfOrder)
        })?;

    if !begun.has_target && next.len() <= MAX_NEXT_BYTES {
        dashboard.sign_ins.targets.keep(&under_way.state, next);
    }
    Ok((url, begun.cookies))
}

/// 256 random bits, as RFC 7636 wants a code verifier (43 characters).
pub(super) fn random() -> Result<String, SignInFailure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        SignInFailure::new("no_random", error.to_string()).with_notice(Notice::OutOfOrder)
    })?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

pub(in crate::web) async fn callback(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    headers: HeaderMap,
    parameters: Parameters,
) -> Response {
    let sent = RequestCookies::of(&headers);
    let state = parameters.only("state").unwrap_or_default();
    let Some(under_way) = UnderWay::find(&dashboard.sealer, &sent, &context.site, state) else {
        // Not counted: any page can lead a browser here, and must not use up the visitor's
        // sign-ins.
        let failure = match under_way::is_any(&dashboard.sealer, &sent, &context.site) {
            true => SignInFailure::new(
                "wrong_state",
                "the state is not that of a sign-in under way",
            ),
            false => SignInFailure::new("no_sign_in", "no cookie of a sign-in that is under way"),
        };
        // Some identity providers leave the state out of an error (RFC 6749, section 4.1.2.1, wants
        // it there).
        let error = parameters.only("error").filter(|_| state.is_empty());
        let failure =
            failure.with_notice(error.map_or(Notice::Expired, Notice::of_authorization_error));
        return unfinished(&dashboard, &context, &headers, None, &failure, "/").await;
    };

    let next = dashboard
        .sign_ins
        .targets
        .of(state)
        .unwrap_or_else(|| under_way.next.clone());
    let counted = dashboard
        .sign_ins
        .throttle
        .redirect(context.client, Instant::now());
    if let Err(wait) = counted {
        tell_failure(
            &dashboard,
            &context,
            None,
            &SignInFailure::new("too_many_attempts", "the throttle"),
        );
        return too_many(&dashboard, &context, &next, None, wait);
    }
    let errand = under_way.errand.clone();
    let end = under_way.end(&dashboard.sealer, &context.site);
    let serving = dashboard.live.now();
    let registered = serving.gate.registry().named_by(&under_way.provider);
    let mut response = match complete(
        &dashboard,
        &context,
        &sent,
        registered,
        under_way,
        &parameters,
    )
    .await
    {
        Ok(Opened { session, cookies }) => match &errand {
            Some(errand) => {
                handover::hand_over(&dashboard, &context, errand, &session, &next, cookies)
            }
            None => go_on(&context, &next, cookies),
        },
        Err(failure) => {
            unfinished(&dashboard, &context, &headers, registered, &failure, &next).await
        }
    };
    session_cookie::set(response.headers_mut(), [end]);
    response
}

async fn complete(
    dashboard: &Dashboard,
    context: &Context,
    sent: &RequestCookies<'_>,
    registered: Option<&Registered>,
    under_way: UnderWay,
    parameters: &Parameters,
) -> Result<Opened, SignInFailure> {
    if !dashboard.sign_ins.spend(&under_way.state) {
        let failure = SignInFailure::new("replayed", "this sign-in came back before");
        return Err(failure.with_notice(Notice::Expired));
    }
    if under_way.expires_at <= now() {
        let failure = SignInFailure::new("too_late", "the sign-in took more than ten minutes");
        return Err(failure.with_notice(Notice::Expired));
    }

    if ["code", "iss", "error"]
        .into_iter()
        .any(|name| parameters.is_repeated(name))
    {
        return Err(SignInFailure::new(
            "repeated_parameter",
            "which one counts is a guess that is not made",
        ));
    }
    // The `iss` of an error is not compared: the provider alone knows its issuer, and the contract
    // takes codes alone. The sign-in ends either way.
    if let Some(error) = parameters.only("error") {
        let notice = Notice::of_authorization_error(error);
        let error: String = error
            .chars()
            .take(64)
            .flat_map(char::escape_debug)
            .collect();
        return Err(SignInFailure::new("identity_provider_refused", error).with_notice(notice));
    }

    let registered = registered.ok_or_else(|| {
        SignInFailure::new("no_such_provider", "the provider is not there any more")
    })?;
    let Some(provider) = registered
        .redirect
        .as_ref()
        .filter(|_| registered.signs_people_in())
    else {
        return Err(SignInFailure::new(
            "no_such_provider",
            "the provider no longer signs people in by a redirect",
        ));
    };
    let Some(code) = parameters.only("code").filter(|code| !code.is_empty()) else {
        return Err(SignInFailure::new(
            "no_code",
            "the identity provider sent no code",
        ));
    };

    let response = LoginResponse {
        redirect_uri: under_way.redirect_uri,
        code: code.to_owned(),
        nonce: under_way.nonce,
        code_verifier: under_way.code_verifier,
        issuer: parameters.only("iss").map(str::to_owned),
    };
    match provider.complete_login(response, deadline()).await {
        Ok(CodeVerdict::SignedIn(claims)) => {
            open_session(dashboard, context, sent, registered, claims)
        }
        Ok(CodeVerdict::InvalidCode(why)) if why.starts_with(NOT_ALLOWED) => {
            let person = denied_person(&why).to_owned();
            Err(SignInFailure::new("not_allowed", why)
                .with_notice(Notice::Denied)
                .at_account(&person))
        }
        Ok(CodeVerdict::InvalidCode(why)) => Err(SignInFailure::new("invalid_code", why)),
        Ok(CodeVerdict::Unusable(why)) => Err(SignInFailure::unusable(why)),
        Err(call) => Err(fault(dashboard, registered, &call)),
    }
}

/// Who may not enter, in a provider's words: a name, `: ` and the reason. A name that the person
/// chose may have `: ` in it, but the reason has not.
fn denied_person(why: &str) -> &str {
    let words = why.strip_prefix(NOT_ALLOWED).unwrap_or(why);
    words.rsplit_once(": ").map_or(words, |(person, _)| person)
}

/// The answer to a callback that opened no session. One that came too late or a second time costs a
/// person with a good session nothing: they continue. Every other failure leads to the sign-in
/// page. The session that there was stays in any case, since any page can lead a browser here.
async fn unfinished(
    dashboard: &Dashboard,
    context: &Context,
    headers: &HeaderMap,
    registered: Option<&Registered>,
    failure: &SignInFailure,
    next: &str,
) -> Response {
    if failure.notice == Notice::Expired
        && let Some(GoodSession { cookies, .. }) = good_session(dashboard, headers, context).await
    {
        return go_on(context, next, cookies);
    }

    tell_failure(dashboard, context, registered, failure);

    let mut response = failed(context, next, failure);
    let sent = RequestCookies::of(headers);
    // Without it, the page says the same without the name.
    let refused = failure.denied_person().and_then(|name| {
        RefusedPerson::new(name)
            .cookie(&dashboard.sealer, &sent, &context.site)
            .ok()
    });
    session_cookie::set(response.headers_mut(), refused);
    response
}

pub(super) fn go_on(context: &Context, next: &str, cookies: Vec<HeaderValue>) -> Response {
    let location = context.site.location(next);
    let mut response = (StatusCode::FOUND, [(LOCATION, location)]).into_response();
    session_cookie::set(response.headers_mut(), cookies);
    response
}

/// The way to the sign-in page, with the word for what a person reads there.
pub(super) fn failed(context: &Context, next: &str, failure: &SignInFailure) -> Response {
    let login_url = respond::login_url(&context.site, next);
    let word = failure.notice.word();
    let location = format!("{login_url}&failed={word}");

    (StatusCode::FOUND, [(LOCATION, location)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_that_a_person_chose_is_not_cut() {
        for (why, person) in [
            (
                "not allowed: ada@b: the claim `groups` has none of the required values",
                "ada@b",
            ),
            (
                "not allowed: root: all is well: the claim `groups` has none of the required values",
                "root: all is well",
            ),
            ("not allowed: not allowed: ada: why", "not allowed: ada"),
            ("not allowed: a visitor", "a visitor"),
        ] {
            assert_eq!(denied_person(why), person);
        }
    }
}
