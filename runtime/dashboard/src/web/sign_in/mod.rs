//! How people sign in and out. State, nonce, PKCE verifier, cookies and the throttle are the
//! host's; a provider only checks a password, builds a URL, or redeems a code.

mod backchannel;
mod device;
mod handover;
mod notice;
mod page;
mod password;
mod redirect;
mod refused;
mod sign_out;
mod targets;
mod under_way;

pub(super) use backchannel::backchannel;
pub(super) use handover::arrive;
pub(super) use page::login;
pub(super) use password::password_login;
pub(super) use redirect::{callback, start};
pub(super) use sign_out::logout;

use super::Dashboard;
use super::context::Context;
use super::excerpt::excerpt;
use super::request_cookies::RequestCookies;
use super::session_cookie::TooLarge;
use crate::audit::{EventName, Record};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use handover::Handovers;
use maud::Render;
use notice::Notice;
use page::Typed;
use portcullis_auth::{
    CallFault, CheckedClaims, LastFew, ProviderFault, Registered, Session, Sighting, Throttle,
};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use targets::Targets;

/// The longest that a sign-in waits for its provider, also if the provider's own deadline is later.
const DEADLINE: Duration = Duration::from_secs(30);
/// The reason of a sign-in that failed because the host cannot use what the provider says of the
/// person.
const UNUSABLE_CLAIM: &str = "unusable_claim";
/// Sign-ins that came back, and must not come back again.
const MAX_SPENT: usize = 10_000;

/// The state that all sign-ins share.
pub struct SignIns {
    throttle: Throttle,
    spent: Mutex<LastFew<String>>,
    targets: Targets,
    handovers: Handovers,
}

impl Default for SignIns {
    fn default() -> Self {
        Self {
            throttle: Throttle::default(),
            spent: Mutex::new(LastFew::new(MAX_SPENT)),
            targets: Targets::default(),
            handovers: Handovers::default(),
        }
    }
}

impl SignIns {
    /// False: this sign-in came back before.
    fn spend(&self, state: &str) -> bool {
        self.spent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(state.to_owned())
    }
}

/// Why a sign-in came to nothing. The person reads the notice alone.
#[derive(Debug)]
struct SignInFailure {
    /// A short constant for metrics and audit lines.
    reason: &'static str,
    /// Why, for the log.
    detail: String,
    /// The account that was tried, as it was typed.
    account: Option<String>,
    /// The person whom the provider vouched for: user id and e-mail address.
    person: Option<(String, String)>,
    notice: Notice,
}

impl SignInFailure {
    fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            account: None,
            person: None,
            notice: Notice::Failed,
        }
    }

    /// `dashboard.access` gives the person no role.
    fn not_permitted(claims: &CheckedClaims) -> Self {
        let person = Some((claims.user_id.clone(), claims.email.clone()));
        let failure = Self::new("not_permitted", "dashboard.access gives the person no role");
        Self {
            person,
            ..failure.with_notice(Notice::NoRole)
        }
    }

    fn with_notice(self, notice: Notice) -> Self {
        Self { notice, ..self }
    }

    /// The name of a person who is known and may not enter.
    fn denied_person(&self) -> Option<&str> {
        match (self.notice, &self.person) {
            (Notice::Denied, _) => self.account.as_deref(),
            (Notice::NoRole, Some((user_id, email))) => {
                Some(if email.is_empty() { user_id } else { email })
            }
            _ => None,
        }
    }

    /// The host cannot use what the provider says of the person.
    fn unusable(why: String) -> Self {
        Self::new(UNUSABLE_CLAIM, why).with_notice(Notice::Unusable)
    }

    fn at_account(self, account: &str) -> Self {
        Self {
            account: Some(excerpt(account).to_owned()),
            ..self
        }
    }
}

fn deadline() -> Instant {
    Instant::now() + DEADLINE
}

/// The time since the Unix epoch.
pub(super) fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Seconds since the Unix epoch.
pub(super) fn now() -> u64 {
    since_epoch().as_secs()
}

/// A session that was opened.
struct Opened {
    session: Session,
    cookies: Vec<HeaderValue>,
}

/// Opens a session for a person who has a role, and audits it. `sent` are those of the request.
fn open_session(
    dashboard: &Dashboard,
    context: &Context,
    sent: &RequestCookies<'_>,
    registered: &Registered,
    claims: CheckedClaims,
) -> Result<Opened, SignInFailure> {
    let serving = dashboard.live.now();
    if serving
        .gate
        .access()
        .role_of(&registered.name, &claims)
        .is_none()
    {
        return Err(SignInFailure::not_permitted(&claims));
    }

    let session = Session::open(registered, now(), claims).map_err(|error| {
        SignInFailure::new("no_random", error.to_string()).with_notice(Notice::OutOfOrder)
    })?;

    let people = serving.gate.people();
    let opened_at = people.sessions.opening_time(&(&session).into());
    let session = session.with_opened_at(opened_at);
    let cookies = dashboard
        .sealer
        .of_session(&session, sent, &context.site, since_epoch());
    let cookies = cookies.map_err(|large| {
        tell_too_large(dashboard, registered, large);
        let failure = SignInFailure::new("session_too_large", large.to_string())
            .with_notice(Notice::TooLarge);
        failure.at_account(&session.claims().user_id)
    })?;

    people.known.saw(
        &session,
        Sighting {
            now: now(),
            address: context.ip(),
            user_agent: None,
        },
    );
    dashboard.metrics.sign_in(Some(&registered.name), "success");
    tracing::info!(provider = %session.provider(), user = session.claims().user_id, "signed in");

    let record = about(EventName::LoginSuccess, &session)
        .with("email", session.claims().email.as_str())
        .with("org_id", session.claims().org_id.as_str())
        .with("ip", context.ip());
    dashboard.audit.write(record);
    Ok(Opened { session, cookies })
}

/// A line about a session: who, and by which provider.
pub(super) fn about(event: EventName, session: &Session) -> Record {
    Record::now(event)
        .with("provider", session.provider().as_str())
        .with("component", session.component())
        .with("user_id", session.claims().user_id.as_str())
}

fn tell_failure(
    dashboard: &Dashboard,
    context: &Context,
    provider: Option<&Registered>,
    failure: &SignInFailure,
) {
    let SignInFailure {
        reason,
        detail,
        account,
        person,
        ..
    } = failure;
    let name = provider.map(|provider| provider.name.as_str());
    dashboard
        .metrics
        .sign_in(provider.map(|provider| &provider.name), reason);
    tracing::info!(provider = name, reason, detail, "sign-in failed");
    let record = Record::now(EventName::LoginFailure)
        .with("provider", name)
        .with(
            "component",
            provider.and_then(|provider| provider.component.as_deref()),
        )
        .with("reason", *reason)
        .with("ip", context.ip());

    // Which account is under attack is the first question of an operator, so the name is written
    // although a person may have typed a password into its field. The audit log is readable by its
    // owner alone; the log on stderr, which often goes elsewhere, does not have it.
    let record = match account {
        Some(account) => record.with("account", account.as_str()),
        None => record,
    };

    dashboard.audit.write(match person {
        Some((user_id, email)) => record
            .with("user_id", user_id.as_str())
            .with("email", email.as_str()),
        None => record,
    });
}

/// Counts and logs that a provider makes a session which fits no cookie. It does not count towards
/// its quarantine: the tokens of one person with many groups must not shut out all others.
pub(super) fn tell_too_large(dashboard: &Dashboard, registered: &Registered, large: TooLarge) {
    let fault = ProviderFault::Malformed(large.to_string());
    dashboard.tell_fault(registered, &CallFault::from(fault));
}

/// Counts and logs a provider's fault, and makes it the reason of a failure.
fn fault(dashboard: &Dashboard, registered: &Registered, fault: &CallFault) -> SignInFailure {
    dashboard.tell_fault(registered, fault);
    SignInFailure::new(fault.fault.kind(), fault.to_string())
        .with_notice(Notice::of_fault(&fault.fault))
}

/// A sign-in at a provider that is still being loaded.
fn still_loading() -> SignInFailure {
    SignInFailure::new("unavailable", "the provider is still being loaded")
        .with_notice(Notice::Unanswered)
}

/// The sign-in page, which asks the person to wait.
fn too_many(
    dashboard: &Dashboard,
    context: &Context,
    next: &str,
    typed: Option<Typed<'_>>,
    wait: Duration,
) -> Response {
    let message = "Too many attempts. Wait a minute, then try again.";
    let status = StatusCode::TOO_MANY_REQUESTS;
    with_retry(
        wait,
        page::render(
            dashboard,
            context,
            next,
            status,
            Some(message.render()),
            typed,
        ),
    )
}

fn with_retry(wait: Duration, mut response: Response) -> Response {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

/// Deletes the cookies of a session, and those of the sign-ins under way.
fn end_in_browser(
    dashboard: &Dashboard,
    context: &Context,
    sent: &RequestCookies<'_>,
) -> Vec<HeaderValue> {
    let mut cookies = dashboard.sealer.session_deletions(sent, &context.site);
    cookies.extend(under_way::end_all(&dashboard.sealer, sent, &context.site));
    cookies.extend(handover::forget(dashboard, context, sent));
    cookies
}
