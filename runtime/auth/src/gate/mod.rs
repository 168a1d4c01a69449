mod application;
mod judgement;
mod permit;
mod session;
mod token;

pub use application::TokenStanding;
pub use judgement::{CookieChange, Decision, Judgement, SessionEvent};
pub use permit::{Caller, OperatorPermit, Permit};
pub use token::{TokenGate, TokenJudgement};

use super::refresh::Refresher;
use super::sessions::Sessions;
use super::ticket::{TicketHolder, Tickets};
use super::{
    Access, BearerToken, CutOff, Denial, KnownSession, KnownSessions, PresentedSession,
    ProviderName, Registry, Required, SecretDigest, Session, SessionId, TokenRoutes, Whose,
    safe_target,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// What the gate needs to know of a request.
#[derive(Debug)]
pub struct RequestFacts<'a> {
    /// The path exactly as it was sent, without the query.
    pub path: &'a str,
    /// Path and query, to come back to after a sign-in.
    pub target: &'a str,
    /// Every value of `Authorization`.
    pub authorization: Vec<&'a [u8]>,
    /// Every value of `X-Hermes-Session-Token`.
    pub session_token: Vec<&'a [u8]>,
    /// What the cookies say.
    pub session: PresentedSession,
    /// The ticket in the query of [`WS_PATH`].
    pub ticket: Option<&'a str>,
    /// Seconds since the Unix epoch.
    pub now: u64,
    /// The time of the request.
    pub at: Instant,
    /// When the providers must have answered.
    pub deadline: Instant,
}

impl<'a> RequestFacts<'a> {
    /// Makes the facts of a request with a bearer token and without anything of a browser.
    pub fn of_a_machine(
        path: &'a str,
        authorization: Vec<&'a [u8]>,
        at: Instant,
        deadline: Instant,
    ) -> Self {
        let (session_token, session) = (Vec::new(), PresentedSession::default());
        Self {
            path,
            target: path,
            authorization,
            session_token,
            session,
            ticket: None,
            now: 0,
            at,
            deadline,
        }
    }

    /// Where a person comes back to after signing in. `None`: the path is called by programs and is
    /// no page.
    fn login_next(&self) -> Option<&'a str> {
        let is_page = self.path != "/api" && !self.path.starts_with("/api/");
        is_page.then(|| safe_target(self.target))
    }
}

/// The gate for people, behind the token routes.
#[derive(Clone, Debug)]
pub enum PeopleGate {
    /// A loopback bind, or `--insecure`: every reader of the page at `/` holds this process's
    /// token.
    ProcessToken(SecretDigest),
    /// Every other bind: a person signs in.
    Sessions,
}

/// What is known of people who were let in: it outlives every reload of the providers.
pub struct People {
    /// How they are let in.
    pub gate: PeopleGate,
    /// Sessions that are over, and who follows one.
    pub sessions: Sessions,
    /// Sessions that were seen.
    pub known: KnownSessions,
    /// Refreshes under way, and those of a moment ago.
    pub refresher: Refresher,
    /// Tickets for web sockets.
    pub tickets: Tickets,
}

impl People {
    /// Starts without sessions.
    pub fn new(gate: PeopleGate) -> Self {
        Self::with_sessions(gate, Sessions::default(), KnownSessions::default())
    }

    /// Starts with the sessions of earlier runs: those that are over, and those that were seen.
    pub fn with_sessions(gate: PeopleGate, sessions: Sessions, known: KnownSessions) -> Self {
        Self {
            gate,
            sessions,
            known,
            refresher: Refresher::default(),
            tickets: Tickets::default(),
        }
    }

    /// Ends one session at once, with its sockets and tickets. Returns false if it had ended
    /// before.
    pub fn end(&self, id: &SessionId) -> bool {
        let is_new = self.sessions.end(id);
        self.tickets.revoke(|session| session.id() == id);
        self.known.remove(|known| known.id == *id);
        is_new
    }

    /// Ends these sessions as of `now`, in seconds since the Unix epoch, and returns the cut-off
    /// and those that were listed.
    pub fn end_all(&self, whose: Whose, now: u64) -> (CutOff, Vec<KnownSession>) {
        let opened = self.known.newest_of(&whose).unwrap_or_default();
        let cut_off = self.sessions.next_cut_off(whose, now.max(opened));
        let ended = self.cut_off(&cut_off);
        (cut_off, ended)
    }

    /// The sessions of a provider whose tokens this process holds: for an open page, for a ticket,
    /// or for requests that share a refresh. Each has its newest token. A session whose token has
    /// ended by `now`, in seconds since the Unix epoch, is left out: nothing comes through with it.
    pub fn held(&self, provider: &ProviderName, now: u64) -> Vec<Arc<Session>> {
        let mut newest = HashMap::<SessionId, Arc<Session>>::new();
        let all = [
            self.sessions.followed(),
            self.tickets.sessions(),
            self.refresher.renewed(),
        ];
        let good = |session: &Arc<Session>| {
            session.provider() == provider && session.claims().expires_at > now
        };

        for session in all.into_iter().flatten().filter(good) {
            let known = newest
                .entry(session.id().clone())
                .or_insert_with(|| session.clone());
            if session.claims().expires_at > known.claims().expires_at {
                *known = session;
            }
        }

        newest.into_values().collect()
    }

    /// Takes sessions off the list that a request added again while they were ended.
    pub fn forget_ended(&self) {
        self.known
            .remove(|known| self.sessions.is_over(&known.facts()));
    }

    /// Ends every session that the cut-off ends, at once, with their sockets and tickets. Returns
    /// those that were listed.
    pub fn cut_off(&self, cut_off: &CutOff) -> Vec<KnownSession> {
        self.sessions.cut_off(cut_off.clone());
        self.tickets.revoke(|session| cut_off.ends(&session.into()));
        self.known.remove(|known| cut_off.ends(&known.facts()))
    }
}

/// Decides which requests get through: first by the token routes, which own their paths for every
/// method; then by the gate for people.
#[derive(Clone)]
pub struct Gate {
    routes: TokenRoutes,
    registry: Registry,
    people: Arc<People>,
    access: Access,
}

/// The path at which a reverse proxy asks who calls, by the bearer token or the session of a
/// request.
pub const VERIFY_PATH: &str = "/auth/verify";
/// Renews the session of a browser that was refused at [`VERIFY_PATH`], and sends it back.
pub const RESUME_PATH: &str = "/auth/resume";
/// The web socket: its ticket lets it in.
pub const WS_PATH: &str = "/api/ws";

/// Where a sign-in that was begun at another host of the dashboard arrives.
pub const HANDOVER_PATH: &str = "/auth/handover";
/// The logo of the operator, which the sign-in page shows.
pub const LOGO_PATH: &str = "/auth/logo";
/// What the path begins with to which an identity provider sends its logout tokens. The provider's
/// name follows.
pub const BACKCHANNEL: &str = "/auth/backchannel/";

/// Open on every bind. Exact paths, never prefixes of names.
const PUBLIC: &[&str] = &[
    "/login",
    "/auth/login",
    "/auth/callback",
    "/auth/password-login",
    "/auth/logout",
    HANDOVER_PATH,
    LOGO_PATH,
    "/api/auth/providers",
    "/api/status",
    "/healthz",
    "/readyz",
    "/favicon.ico",
];

impl Gate {
    /// Makes a gate over these routes and providers.
    pub fn new(routes: TokenRoutes, registry: Registry, people: Arc<People>) -> Self {
        Self {
            routes,
            registry,
            people,
            access: Access::default(),
        }
    }

    /// The same, with these roles for people.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Returns the rules that give people roles.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Returns the providers that are asked.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns whether bearer tokens open this exact path, and sessions do not.
    pub fn is_token_route(&self, path: &str) -> bool {
        self.routes.required(path).is_some()
    }

    /// Returns what is known of people.
    pub fn people(&self) -> &Arc<People> {
        &self.people
    }

    /// Decides whether a request gets through.
    pub async fn decide(&self, facts: &RequestFacts<'_>) -> Judgement {
        match (self.routes.required(facts.path), facts.path) {
            (required, VERIFY_PATH) if has_bearer(facts) => {
                self.decide_verify(required, facts).await
            }
            (_, VERIFY_PATH | RESUME_PATH) => self.decide_session(facts).await,
            (Some(required), _) => Judgement::token(self.judge_token(required, facts).await),
            (None, WS_PATH) => Judgement::people(self.decide_ticket(facts)),
            (None, path) if is_public(path) => Judgement::people(Decision::Public),
            (None, _) => self.decide_for_people(facts).await,
        }
    }

    /// A token is for the application or for the dashboard. If no provider recognizes it, a session
    /// may still say who calls.
    async fn decide_verify(
        &self,
        required: Option<&Required>,
        facts: &RequestFacts<'_>,
    ) -> Judgement {
        let judged = self
            .judge_token(required.unwrap_or(&Required::NoScope), facts)
            .await
            .at_applications();
        match judged.outcome {
            Err(_) if !facts.session.is_empty() => {
                self.decide_session(facts).await.after(judged.faults)
            }
            _ => Judgement::token(judged),
        }
    }

    async fn judge_token(&self, required: &Required, facts: &RequestFacts<'_>) -> TokenJudgement {
        token::judge(
            &self.registry,
            required,
            &facts.authorization,
            facts.deadline,
        )
        .await
    }

    async fn decide_for_people(&self, facts: &RequestFacts<'_>) -> Judgement {
        match &self.people.gate {
            PeopleGate::Sessions => self.decide_session(facts).await,
            PeopleGate::ProcessToken(expected) => {
                Judgement::people(decide_process_token(expected, facts))
            }
        }
    }

    fn decide_ticket(&self, facts: &RequestFacts<'_>) -> Decision {
        let holder = facts
            .ticket
            .and_then(|ticket| self.people.tickets.spend(ticket, facts.at));
        match holder {
            Some(TicketHolder::Person(session))
                if !self.people.sessions.is_over(&(&*session).into()) =>
            {
                self.decide_role(session)
            }
            Some(TicketHolder::ProcessTokenHolder) => {
                Decision::Permitted(Permit::process_token_holder())
            }
            _ => Decision::Refused(Denial::NoTicket),
        }
    }
}

fn decide_process_token(expected: &SecretDigest, facts: &RequestFacts<'_>) -> Decision {
    if !needs_process_token(facts.path) {
        return Decision::Public;
    }
    match presents(expected, facts) {
        true => Decision::Permitted(Permit::process_token_holder()),
        false => Decision::Refused(Denial::NoProcessToken),
    }
}

fn is_public(path: &str) -> bool {
    let is_backchannel = path
        .strip_prefix(BACKCHANNEL)
        .is_some_and(|name| !name.is_empty() && !name.contains('/'));
    PUBLIC.contains(&path) || path.starts_with("/assets/") || is_backchannel
}

fn has_bearer(facts: &RequestFacts<'_>) -> bool {
    facts.authorization.iter().any(|value| {
        value
            .get(..7)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"bearer "))
    })
}

fn needs_process_token(path: &str) -> bool {
    path == "/metrics" || path == "/api" || path.starts_with("/api/")
}

/// One `X-Hermes-Session-Token`, or the same token as a bearer.
fn presents(expected: &SecretDigest, facts: &RequestFacts<'_>) -> bool {
    match facts.session_token[..] {
        [token] => expected.matches(token),
        [] => BearerToken::from_headers(facts.authorization.iter().copied())
            .is_ok_and(|token| expected.matches(token.expose().as_bytes())),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::session::tests::{a_session, renewed};
    use super::*;
    use crate::{
        BoxFuture, CallFault, Claims, DenialStatus, Registered, Scope, TokenProvider, TokenReach,
        TokenVerdict,
    };
    use futures_util::FutureExt;

    /// Recognizes every token.
    struct Credulous;

    impl TokenProvider for Credulous {
        fn verify_token<'a>(
            &'a self,
            _: &'a BearerToken,
            _: Instant,
        ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
            let claims = Claims::new("ci".to_owned(), &[]).unwrap();
            Box::pin(std::future::ready(Ok(TokenVerdict::Recognized(claims))))
        }
    }

    fn gate(people: PeopleGate) -> Gate {
        let drain = Required::Scope(Scope::new("drain").unwrap());
        let routes = TokenRoutes::default().with("/api/gateway/drain", drain);
        Gate::new(routes, Registry::default(), Arc::new(People::new(people)))
    }

    fn loopback() -> Gate {
        gate(PeopleGate::ProcessToken(SecretDigest::of(b"process token")))
    }

    fn decide(gate: &Gate, path: &str, authorization: &[&str], session_token: &[&str]) -> Decision {
        let authorization = authorization.iter().map(|value| value.as_bytes()).collect();
        let now = Instant::now();
        let facts = RequestFacts {
            session_token: session_token.iter().map(|value| value.as_bytes()).collect(),
            ..RequestFacts::of_a_machine(path, authorization, now, now)
        };
        gate.decide(&facts)
            .now_or_never()
            .expect("no provider to wait for")
            .decision
    }

    fn status(decision: &Decision) -> Option<DenialStatus<'_>> {
        match decision {
            Decision::Refused(denial) => Some(denial.status()),
            _ => None,
        }
    }

    #[test]
    fn secret_of_the_host_opens_no_application_and_a_native_provider_does() {
        let verified = |token_reach| {
            let name = ProviderName::new("native").unwrap();
            let token = Some(Arc::new(Credulous) as Arc<dyn TokenProvider>);
            let native = Registered {
                token,
                token_reach,
                ..Registered::new(name, [].into())
            };
            let registry = Registry::new(vec![native]).unwrap();
            let people = Arc::new(People::new(PeopleGate::Sessions));
            let gate = Gate::new(TokenRoutes::default(), registry, people);
            decide(&gate, VERIFY_PATH, &["bearer some-token-of-a-service"], &[])
        };
        assert!(matches!(
            verified(TokenReach::Applications),
            Decision::Permitted(_)
        ));
        assert_eq!(
            status(&verified(TokenReach::Dashboard)),
            Some(DenialStatus::Forbidden)
        );
    }

    #[test]
    fn held_sessions_are_those_of_the_provider_with_their_newest_token() {
        let people = People::new(PeopleGate::Sessions);
        let [ada, bob] = ["ada", "bob"].map(|user| Arc::new(a_session(user)));
        let renewed = Arc::new(renewed(&ada, 100));
        let _pages = [&ada, &renewed].map(|session| people.sessions.follow(session));
        let holder = TicketHolder::Person(bob.clone());
        people.tickets.mint(holder, Instant::now()).unwrap();

        let held = |provider: &str, now| {
            let held = people.held(&ProviderName::new(provider).unwrap(), now);
            let mut held: Vec<_> = held
                .iter()
                .map(|session| {
                    (
                        session.claims().user_id.clone(),
                        session.claims().expires_at,
                    )
                })
                .collect();
            held.sort();
            held
        };
        let (first, last) = (bob.claims().expires_at, renewed.claims().expires_at);
        assert_eq!(
            held("basic", 0),
            [("ada".to_owned(), last), ("bob".to_owned(), first)]
        );
        assert_eq!(held("basic", first), [("ada".to_owned(), last)]);
        assert!(held("other", 0).is_empty());
    }

    #[test]
    fn token_route_without_a_provider_stays_shut() {
        for gate in [loopback(), gate(PeopleGate::Sessions)] {
            for authorization in [&[][..], &["Bearer anything"], &["Bearer process token"]] {
                let decision = decide(
                    &gate,
                    "/api/gateway/drain",
                    authorization,
                    &["process token"],
                );
                assert_eq!(status(&decision), Some(DenialStatus::BearerUnauthorized));
            }
        }
    }

    #[test]
    fn process_token_opens_the_api_on_loopback() {
        let gate = loopback();
        let refused = |decision| status(&decision) == Some(DenialStatus::BearerUnauthorized);
        assert!(refused(decide(&gate, "/api/x", &[], &[])));
        assert!(refused(decide(&gate, "/api/x", &[], &["wrong"])));
        assert!(refused(decide(&gate, "/api/x", &["Bearer wrong"], &[])));
        assert!(refused(decide(
            &gate,
            "/api/x",
            &[],
            &["process token", "process token"]
        )));
        assert!(refused(decide(&gate, "/metrics", &[], &[])));
        for (authorization, header) in [
            (&[][..], &["process token"][..]),
            (&["bearer process token"], &[]),
        ] {
            let decision = decide(&gate, "/api/x", authorization, header);
            assert!(
                matches!(decision, Decision::Permitted(permit) if permit.name() == "dashboard")
            );
        }
    }

    #[test]
    fn public_paths_are_exact() {
        for gate in [loopback(), gate(PeopleGate::Sessions)] {
            for path in PUBLIC {
                assert!(
                    matches!(decide(&gate, path, &[], &[]), Decision::Public),
                    "{path}"
                );
                let longer = format!("{path}x");
                if longer.starts_with("/api") {
                    assert!(
                        status(&decide(&gate, &longer, &[], &[])).is_some(),
                        "{longer}"
                    );
                }
            }
        }
    }

    #[test]
    fn without_a_session_only_public_paths_answer() {
        let gate = gate(PeopleGate::Sessions);
        for path in [
            "/",
            "/sessions",
            "/loginx",
            "/auth/backchannel/",
            "/auth/backchannel/a/b",
            "/api/auth/me",
            "/metrics",
            "/assets",
            "/nothing",
        ] {
            let decision = decide(&gate, path, &[], &["x"]);
            assert!(
                matches!(status(&decision), Some(DenialStatus::Unauthorized(_))),
                "{path}"
            );
        }
    }
}
