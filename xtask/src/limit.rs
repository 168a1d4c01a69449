//! The limits that the dashboard is compared with: one axum handler with no auth before it, and the
//! same behind the same check done natively, as a layer. No audit, no metrics, no limits: as fast
//! as this stack can be.

use anyhow::Context;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;

/// What the handler answers: the shape of `GET /api/auth/whoami`.
#[derive(Clone, Serialize)]
struct Principal {
    principal: &'static str,
    provider: &'static str,
    scopes: [&'static str; 1],
    groups: [&'static str; 0],
}

const PRINCIPAL: Principal = Principal {
    principal: "demo",
    provider: "native",
    scopes: ["metrics.read"],
    groups: [],
};

/// Serves both on a free port, which it prints: `/bare`, and `/native` for callers with the token.
pub(crate) fn serve(token: String) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?.port())?;
        let token: Arc<str> = token.into();
        let guarded = Router::new()
            .route("/native", get(whoami))
            .layer(from_fn_with_state(token, check));
        let router = Router::new().route("/bare", get(bare)).merge(guarded);
        axum::serve(listener, router).await?;
        Ok(())
    })
}

async fn bare() -> Json<Principal> {
    Json(PRINCIPAL)
}

async fn whoami(Extension(principal): Extension<Principal>) -> Json<Principal> {
    Json(principal)
}

async fn check(State(token): State<Arc<str>>, mut request: Request, next: Next) -> Response {
    let is_known =
        bearer(request.headers()).is_some_and(|given| given.ct_eq(token.as_bytes()).into());
    if !is_known {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    request.extensions_mut().insert(PRINCIPAL);
    next.run(request).await
}

/// The token of the one `Authorization` header (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    (values.next().is_none() && scheme.eq_ignore_ascii_case(b"bearer ")).then_some(token)
}
