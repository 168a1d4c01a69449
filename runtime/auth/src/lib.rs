//! Decides who is calling and what they may do. Decisions are pure: the caller passes in every
//! fact, the time included.
//!
//! **Invariant:** nothing here names a web framework, an engine, a file or a clock. (The caches of
//! the refresher and of the throttle forget by a clock of their own.)

mod access;
mod allow;
mod bearer;
mod chain;
mod cut_off;
mod denial;
mod gate;
mod groups;
mod health;
mod known_sessions;
mod name;
mod principal;
mod provider;
mod redirect_target;
mod refresh;
mod registry;
mod route;
mod secret_digest;
pub mod secret_strength;
mod session;
mod sessions;
mod throttle;
mod ticket;
mod visible_text;

pub use access::{Access, AccessRule, Role};
pub use allow::{Allow, Allowed};
pub use bearer::{BearerToken, MAX_HEADER_BYTES, NoBearer};
pub use chain::{ChainReport, Verified};
pub use cut_off::{CutOff, CutOffs, MAX_CUT_OFFS, SessionFacts, Whose};
pub use denial::{Denial, DenialStatus, NoSession};
pub use gate::{
    BACKCHANNEL, Caller, CookieChange, Decision, Gate, HANDOVER_PATH, Judgement, LOGO_PATH,
    OperatorPermit, People, PeopleGate, Permit, RESUME_PATH, RequestFacts, SessionEvent, TokenGate,
    TokenJudgement, TokenStanding, VERIFY_PATH, WS_PATH,
};
pub use health::{
    CallFault, FaultReport, HealthReport, Latency, Placements, ProviderHealth, ProviderState,
    Spent, Usage,
};
pub use known_sessions::{KnownSession, KnownSessions, Listing, MAX_KNOWN, Sighting, time_of};
pub use name::{BadName, ProviderName, Scope};
pub use principal::{BadClaims, Claims, MAX_SCOPES, Principal};
pub use provider::{
    BoxFuture, CodeVerdict, LoginRequest, LoginResponse, LogoutVerdict, NOT_ALLOWED,
    PasswordProvider, PasswordVerdict, ProviderFault, RedirectProvider, RefreshProvider,
    RefreshVerdict, SessionProvider, SessionVerdict, SignOutProvider, TokenProvider, TokenVerdict,
};
pub use redirect_target::safe_target;
pub use refresh::Refresher;
pub use registry::{Registered, Registry, RegistryError, TokenReach};
pub use route::{Required, TokenRoutes};
pub use secret_digest::SecretDigest;
pub use session::{
    BadSession, CheckedClaims, PresentedSession, Session, SessionClaims, SessionId, SessionToken,
};
pub use sessions::{Followed, LastFew, MAX_ENDED, Sessions};
pub use throttle::{
    ACCOUNT_ATTEMPTS_A_MINUTE, ATTEMPTS_A_MINUTE, Account, Attempt, Counted, DeviceId,
    LOGOUT_TOKENS_A_MINUTE, REDIRECTS_A_MINUTE, Throttle, UNKNOWN_ATTEMPTS_A_MINUTE, host_of,
};
pub use ticket::{NoTicket, TICKET_LIFE, TicketHolder, Tickets};
pub use visible_text::is_visible_line;
