//! `GET /api/ws?ticket=`: the live page's web socket. The gate has spent the ticket; the socket
//! ends with its session.
//!
//! Every message is one JSON object with a `type`; `docs/live.schema.json` describes them.

use super::feed::LiveState;
use crate::audit::{EventName, Record};
use crate::web::context::Context;
use crate::web::sign_in::now;
use crate::web::whoami::Permitted;
use crate::web::{Dashboard, respond};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use portcullis_auth::{Caller, Followed, Role, Session};
use portcullis_net::listen::ProtocolChange;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

/// Longest message of a page. The dashboard reads none of them.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;
/// Between two pings. A page that has not answered the last one is gone.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long the page may take for one message. Over HTTP/2 the window of its stream alone holds
/// data back, which no timeout of the connection sees.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two checks of the session by its provider: an account can be closed while its page is
/// open.
const VERIFY_EVERY: Duration = Duration::from_secs(30);
/// How long a provider may take for one check.
const VERIFY_DEADLINE: Duration = Duration::from_secs(5);

pub(in crate::web) async fn socket(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    Permitted(permit): Permitted,
    change: Option<Extension<ProtocolChange>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return respond::error(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade_required",
            "This is a web socket",
        );
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

    let place = SocketSlot {
        change: change.map(|Extension(change)| change),
        _slot: slot,
    };
    upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .on_upgrade(move |socket| {
            Watcher::new(dashboard, socket, session.flatten(), is_operator, place).run()
        })
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
    moments: watch::Receiver<Arc<LiveState>>,
    audit: broadcast::Receiver<Arc<Value>>,
    last: LiveState,
    place: SocketSlot,
}

/// The slots that a socket holds.
struct SocketSlot {
    /// `None`: the request did not come through a listener.
    change: Option<ProtocolChange>,
    _slot: OwnedSemaphorePermit,
}

impl SocketSlot {
    /// Waits until the server ends.
    async fn server_ends(&mut self) {
        match &mut self.change {
            Some(change) => change.server_ends().await,
            None => std::future::pending().await,
        }
    }
}

struct FollowedSession {
    session: Arc<Session>,
    /// The person's role when the page was opened.
    role: Role,
    is_over: Followed,
}

/// Subscribes to the end of the session. `None`: the session already has the most open pages that
/// it may have.
fn follow(dashboard: &Dashboard, session: &Arc<Session>, role: Role) -> Option<FollowedSession> {
    let is_over = dashboard
        .live
        .now()
        .gate
        .people()
        .sessions
        .follow(session)?;
    Some(FollowedSession {
        session: session.clone(),
        role,
        is_over,
    })
}

/// Why a socket ends.
enum SocketEnd {
    /// The page went away.
    Gone,
    /// The session is over.
    Session,
    /// The person has another role now, or none.
    Role,
    /// The dashboard ends.
    Server,
}

impl Watcher {
    fn new(
        dashboard: Arc<Dashboard>,
        socket: WebSocket,
        session: Option<FollowedSession>,
        is_operator: bool,
        place: SocketSlot,
    ) -> Self {
        let (moments, audit) = (dashboard.feed.watch(), dashboard.audit.follow());
        let (gates, last) = (dashboard.live.replacements(), LiveState::default());

        Self {
            dashboard,
            socket,
            session,
            is_operator,
            gates,
            moments,
            audit,
            last,
            place,
        }
    }

    async fn run(mut self) {
        let (code, reason) = match self.serve().await {
            SocketEnd::Gone => return,
            SocketEnd::Session => (close_code::POLICY, "the session is over"),
            SocketEnd::Role => (close_code::POLICY, "the role has changed"),
            SocketEnd::Server => (close_code::AWAY, "the dashboard ends"),
        };
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let _ = self.pass(Message::Close(Some(frame))).await;
    }

    async fn serve(&mut self) -> SocketEnd {
        let first = self.dashboard.feed.look().await;
        if !self.keeps_role() {
            return SocketEnd::Role;
        }

        if self.tell(&first).await.is_err() || self.tell_audit_so_far().await.is_err() {
            return SocketEnd::Gone;
        }

        let mut ping = tokio::time::interval_at((Instant::now() + PING_EVERY).into(), PING_EVERY);
        let mut verify =
            tokio::time::interval_at((Instant::now() + VERIFY_EVERY).into(), VERIFY_EVERY);
        let mut heard = Instant::now();

        loop {
            let told = tokio::select! {
                biased;
                () = over(&mut self.session) => return SocketEnd::Session,
                () = self.place.server_ends() => return SocketEnd::Server,
                changed = self.moments.changed() => match changed {
                    Ok(()) => { let moment = self.moments.borrow_and_update().clone(); self.tell(&moment).await }
                    Err(_) => return SocketEnd::Gone,
                },
                replaced = self.gates.changed() => match replaced {
                    Ok(()) if self.keeps_role() => Ok(()),
                    Ok(()) => return SocketEnd::Role,
                    Err(_) => return SocketEnd::Gone,
                },
                line = self.audit.recv(), if self.is_operator => match line {
                    Ok(record) => self.send(&json!({"type": "audit", "records": [record]})).await,
                    Err(broadcast::error::RecvError::Lagged(missed)) => self.send(&json!({"type": "audit_missed", "missed": missed})).await,
                    Err(broadcast::error::RecvError::Closed) => return SocketEnd::Gone,
                },
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return SocketEnd::Gone,
                    Some(Ok(_)) => { heard = Instant::now(); Ok(()) }
                },
                _ = ping.tick() => {
                    if heard.elapsed() > 3 * PING_EVERY {
                        return SocketEnd::Gone;
                    }
                    match self.pass(Message::Ping(axum::body::Bytes::new())).await {
                        // A script sees no ping: without a message the page would not notice a dead
                        // connection.
                        Ok(()) => self.tell_status().await,
                        lost => lost,
                    }
                },
                _ = verify.tick() => {
                    if !self.still_holds().await { return SocketEnd::Session }
                    Ok(())
                },
            };
            if told.is_err() {
                return SocketEnd::Gone;
            }
        }
    }

    /// Sends the parts of the status that have changed.
    async fn tell(&mut self, moment: &LiveState) -> Result<(), axum::Error> {
        let moment = if self.is_operator {
            moment.clone()
        } else {
            moment.clone().for_viewers()
        };
        let before = std::mem::replace(&mut self.last, moment);
        if self.last.status != before.status {
            self.tell_status().await?;
        }

        if self.last.providers != before.providers {
            let message = json!({"type": "providers", "providers": self.last.providers});
            self.send(&message).await?;
        }

        Ok(())
    }

    /// Sends the gateway, the drain and the turns as they were last read.
    async fn tell_status(&mut self) -> Result<(), axum::Error> {
        let mut status = self.last.status.clone();
        status["type"] = "status".into();
        self.send(&status).await
    }

    async fn tell_audit_so_far(&mut self) -> Result<(), axum::Error> {
        if !self.is_operator {
            return Ok(());
        }
        let records = self.dashboard.audit.tail();
        self.send(&json!({"type": "audit", "records": records}))
            .await
    }

    async fn send(&mut self, message: &Value) -> Result<(), axum::Error> {
        self.pass(Message::Text(message.to_string().into())).await
    }

    /// Sends a message. One that the page does not take in time is an error.
    async fn pass(&mut self, message: Message) -> Result<(), axum::Error> {
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.socket.send(message)).await;
        sent.unwrap_or_else(|late| Err(axum::Error::new(late)))
    }

    /// Returns whether the rules that hold now give the person the same role as when the page was
    /// opened.
    fn keeps_role(&self) -> bool {
        let Some(FollowedSession { session, role, .. }) = &self.session else {
            return true;
        };
        let serving = self.dashboard.live.now();
        serving
            .gate
            .access()
            .role_of(session.provider(), session.claims())
            == Some(*role)
    }

    /// Returns whether the provider still vouches for the session. A provider that cannot answer
    /// does not end the socket: requests are refused meanwhile, and the end of the access token is
    /// watched as well. One that takes long does not hold up the end of the session.
    async fn still_holds(&mut self) -> bool {
        let Some(FollowedSession { session, .. }) = &self.session else {
            return true;
        };
        let session = session.clone();
        let serving = self.dashboard.live.now();
        let deadline = Instant::now() + VERIFY_DEADLINE;
        tokio::select! {
            biased;
            () = over(&mut self.session) => false,
            is_over = serving.gate.is_over(&session, deadline) => !is_over,
        }
    }
}

/// Waits until the session was ended, or its access token has. A page whose session continues comes
/// back by itself, with a ticket for the renewed one.
async fn over(followed: &mut Option<FollowedSession>) {
    let Some(FollowedSession {
        session, is_over, ..
    }) = followed
    else {
        return std::future::pending().await;
    };
    let left = Duration::from_secs(session.claims().expires_at.saturating_sub(now()));
    tokio::select! {
        () = tokio::time::sleep(left) => {}
        _ = async { is_over.wait_for(|is_over| *is_over).await.is_ok() } => {}
    }
}
