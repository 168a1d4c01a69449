//! Who the caller is, and the permit that handlers take.

use super::excerpt::excerpt;
use super::respond;
use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use portcullis_auth::{Caller, OperatorPermit, Permit, Role};
use serde_json::json;

/// The permit that the gate attached. A handler that is reached without one is our mistake: 500,
/// never an open door.
pub(super) struct Permitted(pub(super) Permit);

impl<S: Sync> FromRequestParts<S> for Permitted {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        match parts.extensions.get::<Permit>() {
            Some(permit) => Ok(Self(permit.clone())),
            None => {
                tracing::error!(
                    path = parts.uri.path(),
                    "a guarded handler was reached without a permit"
                );
                Err(respond::internal_error())
            }
        }
    }
}

/// The permit of a caller that may operate the gateway. A viewer gets 403.
pub(super) struct Operator(pub(super) OperatorPermit);

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Permitted(permit) = Permitted::from_request_parts(parts, state).await?;
        let Some(operator) = permit.to_operate() else {
            tracing::info!(
                path = excerpt(parts.uri.path()),
                user = permit.name(),
                "refused: not an operator"
            );
            return Err(respond::needs_role(Role::Operator));
        };
        Ok(Self(operator))
    }
}

/// `GET /api/auth/whoami`: authors and services test with it.
pub(super) async fn whoami(Permitted(permit): Permitted) -> Response {
    match permit.caller() {
        Caller::Service(principal) => Json(principal).into_response(),
        Caller::Person(_) | Caller::ProcessTokenHolder => {
            let (name, groups) = (permit.name(), permit.groups());
            Json(json!({"principal": name, "provider": null, "scopes": [], "groups": groups}))
                .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    #[tokio::test]
    async fn handler_without_a_permit_is_an_error_not_a_door() {
        let (mut parts, ()) = axum::http::Request::new(()).into_parts();
        let refused = Permitted::from_request_parts(&mut parts, &()).await.err();
        assert_eq!(
            refused.map(|response| response.status()),
            Some(StatusCode::INTERNAL_SERVER_ERROR)
        );
    }
}
