//! Write a Portcullis auth provider in Rust.
//!
//! A provider is a type that implements [`Provider`], named once to [`export!`]. It is built for
//! `wasm32-unknown-unknown` or `wasm32-wasip2` as a `cdylib`; natively the same code is an ordinary
//! library, so its logic is unit-tested with a [`FakeHost`] and no WebAssembly in sight.
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
//! A provider that signs people in implements [`PasswordSignIn`] or [`RedirectSignIn`] as well, and [`Refresh`], and
//! is built with the feature `password` or `redirect`. What it may be granted: a [`Bucket`], and [`Http`] (feature
//! `http`).
//!
//! Every call runs in a fresh instance: nothing a provider keeps in memory outlives the call.

#[cfg(all(target_family = "wasm", feature = "password", feature = "redirect"))]
compile_error!("a component signs people in by a password or by a redirect: choose one of the features");

mod bucket;
mod host;
mod http;
mod provider;
mod secret;
mod sign_in;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod wasm;

pub use bucket::{Bucket, FakeBucket, HostBucket};
pub use host::{FakeHost, Host};
pub use http::{HostHttp, Http, HttpRequest, HttpResponse};
pub use provider::{Provider, Session, TokenPrincipal, Unavailable};
pub use secret::same_secret;
pub use sign_in::{
    CodeError, LoginRequest, LoginResponse, PasswordError, PasswordSignIn, RedirectSignIn, Refresh,
    RefreshError,
};

/// Makes the type that implements [`Provider`] the component's provider. Natively it does nothing, so
/// that a workspace's `cargo test` links.
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
