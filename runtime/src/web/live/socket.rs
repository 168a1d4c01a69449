//! `GET /api/ws?ticket=`: the live page's web socket. The gate has spent the ticket; the socket ends with its session.
//!
//! Every message is one JSON object with a `type`; `docs/live.schema.json` describes them.

use super::feed::Moment;
use crate::audit::{EventName, Record};
use crate::auth::{Caller, Followed, Role, Session};
use crate::web::context::Context;
use crate::web::sign_in::now;
use crate::web::whoami::Permitted;
use crate::web::{Dashboard, respond};
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

/// Nothing that a page sends is longer, or read.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;
/// A page that answers no ping in this time is gone.
const PING_EVERY: Duration = Duration::from_secs(20);
/// The session is asked about again: an account can be closed while its page is open.
const VERIFY_EVERY: Duration = Duration::from_secs(30);
/// How long a provider may take for that.
const VERIFY_DEADLINE: Duration = Duration::from_secs(5);

pub(in crate::web) async fn socket(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    Permitted(permit): Permitted,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return respond::error(StatusCode::UPGRADE_REQUIRED, "upgrade_required", "This is a web socket");
    };
    let is_operator = permit.to_operate().is_some();
    let session = match (permit.caller(), permit.role()) {
        (Caller::Person(session), Some(role)) => Some(follow(&dashboard, session, role)),
        _ => None,
    };
    let slot = dashboard.sockets.clone().try_acquire_owned().ok();
    let (Some(slot), true) = (slot, session.as_ref().is_none_or(Option::is_some)) else {
        let record = Record::now(EventName::WsTicketRejected).with("reason", "too_many_sockets");
        dashboard.audit.write(record.with("ip", context.ip()));
        return respond::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_sockets",
            "Too many pages are open",
        );
    };
    upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .on_upgrade(move |socket| Watcher::new(dashboard, socket, session.flatten(), is_operator, slot).run())
}

/// The web socket of one open page.
struct Watcher {
    dashboard: Arc<Dashboard>,
    socket: WebSocket,
    /// Its session, if people must sign in.
    session: Option<FollowedSession>,
    /// Only operators are sent audit lines, the providers, and the turns.
    is_operator: bool,
    /// Changes when the roles may have changed.
    gates: watch::Receiver<()>,
    moments: watch::Receiver<Arc<Moment>>,
    audit: broadcast::Receiver<Arc<Value>>,
    last: Moment,
    _slot: OwnedSemaphorePermit,
}

struct FollowedSession {
    session: Arc<Session>,
    /// The person's role when the page was opened.
    role: Role,
    is_over: Followed,
}

/// `None`: as many pages of it are open as may be.
fn follow(dashboard: &Dashboard, session: &Arc<Session>, role: Role) -> Option<FollowedSession> {
    let is_over = dashboard.live.now().gate.people().sessions.follow(session)?;
    Some(FollowedSession { session: session.clone(), role, is_over })
}

/// Why a socket ends.
enum End {
    /// The page went away.
    Gone,
    /// The session is over.
    Session,
    /// The person has another role now, or none.
    Role,
}

impl Watcher {
    fn new(
        dashboard: Arc<Dashboard>,
        socket: WebSocket,
        session: Option<FollowedSession>,
        is_operator: bool,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        let (moments, audit) = (dashboard.feed.watch(), dashboard.audit.follow());
        let (gates, last) = (dashboard.live.replacements(), Moment::default());
        Self { dashboard, socket, session, is_operator, gates, moments, audit, last, _slot: slot }
    }

    async fn run(mut self) {
        let reason = match self.serve().await {
            End::Gone => return,
            End::Session => "the session is over",
            End::Role => "the role has changed",
        };
        let frame = CloseFrame { code: close_code::POLICY, reason: reason.into() };
        let _ = self.socket.send(Message::Close(Some(frame))).await;
    }

    async fn serve(&mut self) -> End {
        let first = self.dashboard.feed.look().await;
        if !self.keeps_role() {
            return End::Role;
        }
        if self.tell(&first).await.is_err() || self.tell_audit_so_far().await.is_err() {
            return End::Gone;
        }
        let mut ping = tokio::time::interval(PING_EVERY);
        let mut verify = tokio::time::interval_at((Instant::now() + VERIFY_EVERY).into(), VERIFY_EVERY);
        let mut heard = Instant::now();
        loop {
            let told = tokio::select! {
                biased;
                () = over(&mut self.session) => return End::Session,
                changed = self.moments.changed() => match changed {
                    Ok(()) => { let moment = self.moments.borrow_and_update().clone(); self.tell(&moment).await }
                    Err(_) => return End::Gone,
                },
                replaced = self.gates.changed() => match replaced {
                    Ok(()) if self.keeps_role() => Ok(()),
                    Ok(()) => return End::Role,
                    Err(_) => return End::Gone,
                },
                line = self.audit.recv(), if self.is_operator => match line {
                    Ok(record) => self.send(&json!({"type": "audit", "records": [record]})).await,
                    Err(broadcast::error::RecvError::Lagged(missed)) => self.send(&json!({"type": "audit_missed", "missed": missed})).await,
                    Err(broadcast::error::RecvError::Closed) => return End::Gone,
                },
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Gone,
                    Some(Ok(_)) => { heard = Instant::now(); Ok(()) }
                },
                _ = ping.tick() => {
                    if heard.elapsed() > 3 * PING_EVERY {
                        return End::Gone;
                    }
                    self.socket.send(Message::Ping(axum::body::Bytes::new())).await
                },
                _ = verify.tick() => {
                    if !self.still_holds().await { return End::Session }
                    Ok(())
                },
            };
            if told.is_err() {
                return End::Gone;
            }
        }
    }

    /// Only what has changed.
    async fn tell(&mut self, moment: &Moment) -> Result<(), axum::Error> {
        let moment = if self.is_operator { moment.clone() } else { moment.clone().for_viewers() };
        if moment.status != self.last.status {
            let mut status = moment.status.clone();
            status["type"] = "status".into();
            self.send(&status).await?;
        }
        if moment.providers != self.last.providers {
            self.send(&json!({"type": "providers", "providers": moment.providers})).await?;
        }
        self.last = moment;
        Ok(())
    }

    async fn tell_audit_so_far(&mut self) -> Result<(), axum::Error> {
        if !self.is_operator {
            return Ok(());
        }
        let records = self.dashboard.audit.tail();
        self.send(&json!({"type": "audit", "records": records})).await
    }

    async fn send(&mut self, message: &Value) -> Result<(), axum::Error> {
        self.socket.send(Message::Text(message.to_string().into())).await
    }

    /// Whether the rules that hold now give the person the same role as when the page was opened.
    fn keeps_role(&self) -> bool {
        let Some(FollowedSession { session, role, .. }) = &self.session else { return true };
        let serving = self.dashboard.live.now();
        serving.gate.access().role_of(&session.provider, &session.claims) == Some(*role)
    }

    /// A provider that cannot answer does not end the socket: requests are refused meanwhile, and the end of the access
    /// token is watched as well.
    async fn still_holds(&mut self) -> bool {
        let Some(FollowedSession { session, .. }) = &self.session else { return true };
        let serving = self.dashboard.live.now();
        !serving.gate.is_over(session, Instant::now() + VERIFY_DEADLINE).await
    }
}

/// Waits until the session was ended, or its access token has. A page whose session continues comes back by itself, with a
/// ticket for the renewed one.
async fn over(followed: &mut Option<FollowedSession>) {
    let Some(FollowedSession { session, is_over, .. }) = followed else {
        return std::future::pending().await;
    };
    let left = Duration::from_secs(session.claims.expires_at.saturating_sub(now()));
    tokio::select! {
        () = tokio::time::sleep(left) => {}
        _ = async { is_over.wait_for(|is_over| *is_over).await.is_ok() } => {}
    }
}
