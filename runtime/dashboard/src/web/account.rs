//! Who may sign in and how, and who has: `GET /api/auth/providers`, `/api/auth/me`,
//! `POST /api/auth/ws-ticket`.

use super::context::Context;
use super::whoami::Permitted;
use super::{Dashboard, respond, sign_in};
use crate::audit::{EventName, Record};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use portcullis_auth::{Caller, TICKET_LIFE, TicketHolder};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Public: the sign-in page shows the same.
pub(super) async fn providers(State(dashboard): State<Arc<Dashboard>>) -> Json<Value> {
    let serving = dashboard.live.now();
    let people = serving
        .gate
        .registry()
        .iter()
        .filter(|registered| registered.signs_people_in());
    let providers: Vec<_> = people
        .map(|registered| json!({"name": registered.name, "display_name": registered.display_name, "supports_password": registered.password.is_some()}))
        .collect();
    Json(json!({"providers": providers}))
}

pub(super) async fn me(Permitted(permit): Permitted) -> Response {
    match permit.caller() {
        Caller::Person(session) => {
            let claims = session.claims();
            let body = json!({
                "user_id": claims.user_id, "email": claims.email, "display_name": claims.display_name,
                "org_id": claims.org_id, "groups": claims.groups, "role": permit.role(),
                "provider": session.provider(), "expires_at": claims.expires_at,
            });
            Json(body).into_response()
        }
        Caller::ProcessTokenHolder | Caller::Service(_) => respond::error(
            StatusCode::NOT_FOUND,
            "not_found",
            "Nobody is signed in: this dashboard needs no sign-in here",
        ),
    }
}

pub(super) async fn ws_ticket(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    Permitted(permit): Permitted,
) -> Response {
    let holder = match permit.caller() {
        Caller::Person(session) => TicketHolder::Person(session.clone()),
        Caller::ProcessTokenHolder => TicketHolder::ProcessTokenHolder,
        Caller::Service(_) => {
            return respond::error(StatusCode::FORBIDDEN, "forbidden", "Forbidden");
        }
    };

    let record = match &holder {
        TicketHolder::Person(session) => sign_in::about(EventName::WsTicketMinted, session),
        TicketHolder::ProcessTokenHolder => {
            Record::now(EventName::WsTicketMinted).with("user_id", permit.name())
        }
    };

    match dashboard
        .live
        .now()
        .gate
        .people()
        .tickets
        .mint(holder, Instant::now())
    {
        Ok(ticket) => {
            dashboard.audit.write(record.with("ip", context.ip()));
            Json(json!({"ticket": ticket, "ttl_seconds": TICKET_LIFE.as_secs()})).into_response()
        }
        Err(why) => {
            tracing::warn!(%why, "no ticket");
            let answer = respond::error(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_tickets",
                "Too many tickets wait to be spent",
            );
            ([(RETRY_AFTER, TICKET_LIFE.as_secs().to_string())], answer).into_response()
        }
    }
}
