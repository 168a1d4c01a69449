//! Several hosts of one dashboard: a person signs in at the public one, which hands the session
//! over to the others.
//!
//! An identity provider knows one redirect URI, that of `public_url`, and cookies stay at the host
//! that set them. A sign-in at another host therefore goes through the public one, and comes back
//! with a ticket. That host gets the access token alone: a refresh token is good once, and two
//! hosts would take each other's for stolen. When the access token ends, the browser fetches the
//! next one in the same way, without asking the person while the session at the public host lasts.
//!
//! **Invariant:** a ticket opens a session only in the browser that asked for it, at the host where
//! it asked, once, within [`TICKET_LIFE`]. A link with another person's ticket signs no one in.

use super::super::context::Context;
use super::super::cookie_name::CookieKind;
use super::super::parameters::Parameters;
use super::super::request_cookies::RequestCookies;
use super::super::session_cookie::{TooLarge, deletion};
use super::super::{Dashboard, respond, session_cookie};
use super::notice::Notice;
use super::redirect::{failed, random};
use super::{SignInFailure, about, now, since_epoch, tell_failure};
use crate::audit::EventName;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::utf8_percent_encode;
use portcullis_auth::{
    HANDOVER_PATH, ProviderName, SecretDigest, Session, TICKET_LIFE, safe_target,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Sessions that may wait to be fetched.
const MAX_WAITING: usize = 1_000;
/// Sessions of one person among them: each tab of a browser fetches one.
const MAX_WAITING_PER_PERSON: usize = 32;
/// How long a browser may take from one host to the other and back, in seconds: it may sign in
/// meanwhile.
const ERRAND_SECONDS: u64 = super::under_way::SIGN_IN_SECONDS;
/// How long a browser fetches sessions by itself after one was handed over, in seconds.
const REMEMBERED_SECONDS: u64 = 30 * 24 * 3600;
/// The name under which errands are sealed, and that of their parameter.
const ERRAND: &str = "handover";
/// The parameter of `/login` that shows the page in place of fetching a session.
const CHOOSE: &str = "choose";

/// What a browser keeps at the host that sessions are handed to.
#[derive(Serialize, Deserialize)]
struct Keepsake {
    /// Proves that a ticket was asked for by this browser.
    nonce: String,
    /// The provider of the session that was handed over last.
    provider: Option<String>,
}

/// What a browser carries, sealed, to the public host: where a session is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Errand {
    /// The other host's scheme, name and port.
    origin: String,
    /// The digest of the browser's nonce there, in hex.
    binding: String,
    /// Whether the person is not to be asked.
    is_quiet: bool,
    /// Seconds since the Unix epoch.
    expires_at: u64,
}

impl Errand {
    /// The one in the query, if this dashboard made it and it is in time.
    pub(super) fn of(dashboard: &Dashboard, parameters: &Parameters) -> Option<Self> {
        let errand: Self = dashboard.sealer.open(ERRAND, parameters.only(ERRAND)?)?;
        (errand.expires_at > now()).then_some(errand)
    }

    /// Returns whether it began at the host of this request: a proxy that names its own `Host`
    /// makes all hosts look like one.
    pub(super) fn is_from(&self, context: &Context) -> bool {
        context
            .elsewhere
            .as_ref()
            .is_some_and(|origin| origin.to_string() == self.origin)
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// Back without a session: the other host shows its sign-in page.
    pub(super) fn fruitless(&self, context: &Context, next: &str) -> Response {
        let login = respond::login_url(&context.site, next);
        found(format!("{}{login}&{CHOOSE}=1", self.origin))
    }
}

/// A session that waits to be fetched.
struct WaitingSession {
    session: Arc<Session>,
    origin: String,
    binding: String,
    expires: Instant,
}

impl WaitingSession {
    /// The provider and the person's identifier there.
    fn person(&self) -> (&ProviderName, &str) {
        (self.session.provider(), &self.session.claims().user_id)
    }
}

/// The sessions that wait, by the digest of their ticket.
#[derive(Default)]
pub(super) struct Handovers(Mutex<HashMap<[u8; 32], WaitingSession>>);

impl Handovers {
    fn keep(&self, ticket: &str, waiting: WaitingSession) -> Result<(), SignInFailure> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        all.retain(|_, waiting| waiting.expires > now);
        let person = waiting.person();
        let of_person = all
            .values()
            .filter(|other| other.person() == person)
            .count();

        if all.len() >= MAX_WAITING || of_person >= MAX_WAITING_PER_PERSON {
            let failure =
                SignInFailure::new("too_many_handovers", "too many sessions wait to be fetched");
            return Err(failure.with_notice(Notice::OutOfOrder));
        }

        all.insert(digest(ticket), waiting);
        Ok(())
    }

    fn spend(&self, ticket: &str) -> Option<WaitingSession> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&digest(ticket))
            .filter(|waiting| waiting.expires > Instant::now())
    }
}

/// Sends a browser at another host to the public one for a session of this provider.
pub(super) fn ask(
    dashboard: &Dashboard,
    context: &Context,
    sent: &RequestCookies<'_>,
    provider: &str,
    next: &str,
    is_quiet: bool,
) -> Result<Response, SignInFailure> {
    let (Some(there), Some(public)) = (&context.elsewhere, context.site.public_origin()) else {
        return Err(SignInFailure::new(
            "no_public_url",
            "a session is handed over between hosts of `public_url`",
        ));
    };

    let before: Option<Keepsake> = dashboard
        .sealer
        .read(CookieKind::Handover, sent, &context.site);
    let keepsake = match before {
        Some(keepsake) => keepsake,
        None => Keepsake {
            nonce: random()?,
            provider: None,
        },
    };

    let errand = Errand {
        origin: there.to_string(),
        binding: hex::encode(digest(&keepsake.nonce)),
        is_quiet,
        expires_at: now() + ERRAND_SECONDS,
    };

    let sealed = dashboard.sealer.seal(ERRAND, &errand);
    let [provider, sealed] = [provider, sealed.as_str()]
        .map(|text| utf8_percent_encode(text, respond::QUERY_VALUE).to_string());

    let login = respond::page_url(&context.site, "/auth/login", next);
    let mut response = found(format!(
        "{public}{login}&provider={provider}&{ERRAND}={sealed}"
    ));
    let cookie = keepsake
        .cookie(dashboard, context, sent)
        .map_err(too_large)?;
    session_cookie::set(response.headers_mut(), [cookie]);
    Ok(response)
}

/// The answer of `/login` at another host to a browser to which a session was handed before.
/// `None`: the page is shown.
pub(super) fn fetch(
    dashboard: &Dashboard,
    context: &Context,
    headers: &HeaderMap,
    parameters: &Parameters,
    next: &str,
) -> Option<Response> {
    context.elsewhere.as_ref()?;
    let is_asked_to_choose = [CHOOSE, "failed"]
        .into_iter()
        .any(|name| parameters.names().any(|known| known == name));
    let sent = RequestCookies::of(headers);
    let keepsake: Keepsake = dashboard
        .sealer
        .read(CookieKind::Handover, &sent, &context.site)?;
    let provider = keepsake.provider.filter(|_| !is_asked_to_choose)?;

    ask(dashboard, context, &sent, &provider, next, true).ok()
}

/// Sends a browser back to the other host, with a ticket for the session. `cookies` are those of
/// this host.
pub(super) fn hand_over(
    dashboard: &Dashboard,
    context: &Context,
    errand: &Errand,
    session: &Session,
    next: &str,
    cookies: Vec<HeaderValue>,
) -> Response {
    let kept = random().and_then(|ticket| {
        let waiting = WaitingSession {
            session: Arc::new(session.without_refresh_token()),
            origin: errand.origin.clone(),
            binding: errand.binding.clone(),
            expires: Instant::now() + TICKET_LIFE,
        };
        dashboard
            .sign_ins
            .handovers
            .keep(&ticket, waiting)
            .map(|()| ticket)
    });

    let mut response = match kept {
        Ok(ticket) => {
            let path = respond::page_url(&context.site, HANDOVER_PATH, next);
            found(format!("{}{path}&ticket={ticket}", errand.origin))
        }
        Err(failure) => {
            tell_failure(dashboard, context, None, &failure);
            failed(context, next, &failure)
        }
    };

    session_cookie::set(response.headers_mut(), cookies);
    response
}

/// `GET /auth/handover?ticket=&next=`, at the host that asked for the session.
pub(in crate::web) async fn arrive(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    headers: HeaderMap,
    parameters: Parameters,
) -> Response {
    let next = safe_target(parameters.only("next").unwrap_or("/"));
    let sent = RequestCookies::of(&headers);

    match take(
        &dashboard,
        &context,
        &sent,
        parameters.only("ticket").unwrap_or_default(),
    ) {
        Ok((session, cookies)) => {
            tracing::info!(provider = %session.provider(), "session handed over");
            let record = about(EventName::SessionHandedOver, &session);
            let record = record.with("host", context.elsewhere.as_ref().map(ToString::to_string));
            dashboard.audit.write(record.with("ip", context.ip()));
            let mut response = found(context.site.location(next));
            session_cookie::set(response.headers_mut(), cookies);
            response
        }
        Err(failure) => {
            tell_failure(&dashboard, &context, None, &failure);
            failed(&context, next, &failure)
        }
    }
}

/// Spends a ticket. Returns its session and the cookies of it.
fn take(
    dashboard: &Dashboard,
    context: &Context,
    sent: &RequestCookies<'_>,
    ticket: &str,
) -> Result<(Arc<Session>, Vec<HeaderValue>), SignInFailure> {
    let refused = |why: &str| SignInFailure::new("bad_handover", why).with_notice(Notice::Expired);
    let waiting = dashboard.sign_ins.handovers.spend(ticket);
    let waiting = waiting.ok_or_else(|| refused("the ticket is unknown, spent or too old"))?;

    if context.elsewhere.as_ref().map(ToString::to_string) != Some(waiting.origin) {
        return Err(refused("the ticket is for another host"));
    }

    let keepsake: Option<Keepsake> =
        dashboard
            .sealer
            .read(CookieKind::Handover, sent, &context.site);
    let is_of_browser = |keepsake: &Keepsake| {
        let binding = hex::encode(digest(&keepsake.nonce));
        SecretDigest::of(binding.as_bytes()).matches(waiting.binding.as_bytes())
    };
    let Some(keepsake) = keepsake.filter(is_of_browser) else {
        return Err(refused("the ticket was asked for in another browser"));
    };

    let session = waiting.session;
    if dashboard
        .live
        .now()
        .gate
        .people()
        .sessions
        .is_over(&(&*session).into())
    {
        return Err(refused("the session is over"));
    }

    let keepsake = Keepsake {
        provider: Some(session.provider().to_string()),
        ..keepsake
    };
    let cookies = dashboard
        .sealer
        .of_session(&session, sent, &context.site, since_epoch());
    // The names of cookies are longer at some hosts.
    let mut cookies = cookies.map_err(|large| too_large(large).with_notice(Notice::TooLarge))?;
    cookies.push(
        keepsake
            .cookie(dashboard, context, sent)
            .map_err(too_large)?,
    );
    Ok((session, cookies))
}

/// The end of what a browser keeps at a host to which sessions were handed over, if it keeps
/// anything.
pub(super) fn forget(
    dashboard: &Dashboard,
    context: &Context,
    sent: &RequestCookies<'_>,
) -> Option<HeaderValue> {
    let _: Keepsake = dashboard
        .sealer
        .read(CookieKind::Handover, sent, &context.site)?;
    let name = dashboard.sealer.name_to_write(
        CookieKind::Handover,
        &[CookieKind::Handover],
        sent,
        &context.site,
    );

    Some(deletion(name, &context.site))
}

impl Keepsake {
    fn cookie(
        &self,
        dashboard: &Dashboard,
        context: &Context,
        sent: &RequestCookies<'_>,
    ) -> Result<HeaderValue, TooLarge> {
        let seconds = if self.provider.is_some() {
            REMEMBERED_SECONDS
        } else {
            ERRAND_SECONDS
        };
        let name = dashboard.sealer.name_to_write(
            CookieKind::Handover,
            &[CookieKind::Handover],
            sent,
            &context.site,
        );

        dashboard.sealer.sealed(name, self, &context.site, seconds)
    }
}

fn too_large(large: TooLarge) -> SignInFailure {
    SignInFailure::new("session_too_large", large.to_string()).with_notice(Notice::OutOfOrder)
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn found(location: String) -> Response {
    (StatusCode::FOUND, [(LOCATION, location)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_auth::{Registered, SessionClaims};
    use zeroize::Zeroizing;

    fn waiting(provider: &str, user_id: &str, expires: Instant) -> WaitingSession {
        let claims = SessionClaims {
            user_id: user_id.to_owned(),
            email: String::new(),
            display_name: String::new(),
            org_id: String::new(),
            expires_at: 60,
            access_token: Zeroizing::new("access".to_owned()),
            refresh_token: Zeroizing::default(),
            groups: Vec::new(),
        };
        let registered = Registered::new(ProviderName::new(provider).unwrap(), [].into());
        let session = Arc::new(Session::open(&registered, 0, claims.checked(0).unwrap()).unwrap());
        WaitingSession {
            session,
            origin: String::new(),
            binding: String::new(),
            expires,
        }
    }

    #[test]
    fn one_person_does_not_take_the_places_of_the_others() {
        let handovers = Handovers::default();
        let later = Instant::now() + TICKET_LIFE;
        for ticket in 0..MAX_WAITING_PER_PERSON {
            assert!(
                handovers
                    .keep(&format!("ada {ticket}"), waiting("corp", "ada", later))
                    .is_ok()
            );
        }
        assert!(
            handovers
                .keep("one more", waiting("corp", "ada", later))
                .is_err()
        );
        assert!(
            handovers
                .keep("another person", waiting("corp", "bob", later))
                .is_ok()
        );
        assert!(
            handovers
                .keep("another provider", waiting("basic", "ada", later))
                .is_ok()
        );

        assert!(handovers.spend("one more").is_none());
        assert!(handovers.spend("ada 0").is_some());
        assert!(
            handovers
                .keep("in its place", waiting("corp", "ada", later))
                .is_ok()
        );
    }

    #[test]
    fn all_together_have_a_bound_and_what_has_expired_leaves_its_place() {
        let handovers = Handovers::default();
        let (now, later) = (Instant::now(), Instant::now() + TICKET_LIFE);
        for person in 0..MAX_WAITING {
            let expires = if person == 0 { now } else { later };
            let person = person.to_string();
            assert!(
                handovers
                    .keep(&person, waiting("corp", &person, expires))
                    .is_ok()
            );
        }
        assert!(
            handovers
                .keep("in the place of the first", waiting("corp", "ada", later))
                .is_ok()
        );
        assert!(
            handovers
                .keep("one more", waiting("corp", "bob", later))
                .is_err()
        );
    }
}
