//! Who is calling, and may they? Decisions only: the caller hands in every fact, the time included.
//!
//! **Invariant:** nothing here names a web framework, an engine, a file or a clock.

mod bearer;
mod chain;
mod denial;
mod gate;
mod health;
mod name;
mod principal;
mod provider;
mod redirect_target;
mod registry;
mod route;
mod secret_digest;
mod session;

pub use bearer::{BearerToken, MAX_HEADER_BYTES, NoBearer};
pub use chain::{ChainReport, Verified};
pub use denial::{Denial, DenialStatus};
pub use gate::{Caller, Decision, Gate, Judgement, PeopleGate, Permit, RequestFacts};
pub use health::{CallFault, FaultReport, HealthReport, ProviderHealth, ProviderState, Usage};
pub use name::{BadName, ProviderName, Scope};
pub use principal::{BadClaims, Claims, MAX_SCOPES, Principal};
pub use provider::{BoxFuture, ProviderFault, TokenProvider, TokenVerdict};
pub use redirect_target::safe_target;
pub use registry::{Registered, Registry, RegistryError};
pub use route::{Required, TokenRoutes};
pub use secret_digest::SecretDigest;
pub use session::{BadSession, SessionClaims};
