//! A [`tower::Layer`] for services that take bearer tokens: providers in the sandbox decide who
//! calls.
//!
//! It guards any service of HTTP requests, of axum or hyper. [`Guard::builder`] loads the providers
//! and returns a [`GuardLayer`]. The inner service finds the caller as a [`Principal`] in the
//! extensions of the request. Every other request is answered by the layer, as the dashboard
//! answers it:
//!
//! - 401 with `WWW-Authenticate: Bearer`: the token is missing, malformed or unknown.
//! - 403: a provider knows the caller, who does not have the scope.
//! - 503 with `Retry-After: 1`: a provider cannot be asked (not loaded, out of time, quarantined,
//!   its store out of reach), and no other knows the token.
//!
//! Limits of a call, its deadline and the quarantine are those of the sandbox. Sessions of people
//! are the dashboard's.
//!
//! **Invariant:** the inner service is called with a [`Principal`] that the gate minted and without
//! `Authorization`, or it is not called.

mod builder;
mod guard;
mod load;
mod refusal;
mod service;

pub use builder::{GuardBuilder, GuardError};
pub use guard::Guard;
pub use load::NotLoaded;
pub use portcullis_auth::{BadName, Principal, ProviderName, Scope};
pub use portcullis_sandbox::{
    Buckets, Capabilities, ComponentSource, HttpGrant, Limits, LoadError, Origin, ProviderSpec,
    SandboxError,
};
pub use service::{GuardBody, GuardLayer, GuardService};
