//! Write a Portcullis auth provider in Rust.
//!
//! A provider is a type that implements [`Provider`], named once to [`export!`]. It is built for
//! `wasm32-unknown-unknown` or `wasm32-wasip2` as a `cdylib`; natively the same code is an ordinary
//! library, so its logic is unit-tested with a [`MockHost`] and no WebAssembly in sight.
//!
//! ```
//! use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};
//!
//! pub struct Demo;
//!
//! impl Provider for Demo {
//!     fn verify_token(_: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
//!         Ok((token == "open sesame").then(|| TokenPrincipal::new("ali-baba", ["cave.enter"])))
//!     }
//! }
//! portcullis_guest::export!(Demo);
//! ```
//!
//! A provider that signs people in implements [`PasswordSignIn`] or [`RedirectSignIn`] as well, and
//! [`Refresh`], and is built with the feature `password` or `redirect`. One that also signs people
//! out together with their identity provider implements [`SignOut`], and is built with the feature
//! `sign-out`. What an operator may grant it, it asks for with a feature as well: a [`Bucket`] with
//! `keyvalue`, [`Http`] with `http`. The feature `json` adds reading and writing of JSON.
//!
//! Every call runs in a fresh instance: nothing a provider keeps in memory outlives the call.

#[cfg(all(target_family = "wasm", feature = "password", feature = "redirect"))]
compile_error!(
    "a component signs people in by a password or by a redirect: choose one of the features"
);

mod bucket;
#[cfg(any(
    test,
    all(feature = "allocator", target_family = "wasm", target_os = "unknown")
))]
mod bump;
mod encoding;
#[cfg(feature = "json")]
mod fields;
mod host;
mod http;
mod mock;
mod provider;
mod secret;
mod sign_in;
mod sign_out;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod wasm;

pub use bucket::{Bucket, KeyPage, MAX_VALUE_BYTES};
pub use encoding::{base64url, from_base64url};
#[cfg(feature = "json")]
pub use fields::Fields;
pub use host::Host;
#[cfg(feature = "json")]
pub use host::json_setting;
pub use http::{Http, HttpBody, HttpRequest, HttpResponse};
pub use mock::{MockBucket, MockHost, MockHttp};
pub use provider::{Provider, Session, TokenPrincipal, Unavailable};
pub use secret::same_secret;
pub use sign_in::{
    CodeError, LoginRequest, LoginResponse, PasswordError, PasswordSignIn, RedirectSignIn, Refresh,
    RefreshError,
};
pub use sign_out::{Ended, LogoutError, SignOut};

/// Makes the type that implements [`Provider`] the component's provider. Natively it does nothing,
/// so that a workspace's `cargo test` links.
#[macro_export]
macro_rules! export {
    ($provider:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Component = $crate::wasm::Component<$provider>;
    $crate::wasm::bindings::export!(Component with_types_in $crate::wasm::bindings);
        };
    };
}

/// The recipes of the documentation are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/providers/cookbook.md")]
struct Cookbook;

/// The code of the page on sessions is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/providers/sessions.md")]
struct Sessions;

/// The code of the walk-through is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/providers/redirect.md")]
struct Redirect;
