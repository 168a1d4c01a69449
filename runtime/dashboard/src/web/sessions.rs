//! Lists and ends sessions: `GET` and `DELETE /api/sessions`, `DELETE /api/sessions/ID`.
//!
//! An operator sees and ends every session, others their own. An end holds at once in memory, and
//! is on the disk before the request is answered.

use super::context::Context;
use super::parameters::{Named, Parameters};
use super::sign_in::now;
use super::view::client_name;
use super::whoami::{Operator, Permitted};
use super::{Dashboard, respond};
use crate::audit::{EventName, Record};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use portcullis_auth::{Caller, KnownSession, Listing, People, Permit, SessionId, Whose, time_of};
use serde_json::{Value, json};
use std::sync::Arc;

/// The parameters of `DELETE /api/sessions`.
const PARAMETERS: [&str; 3] = ["user", "provider", "all"];

/// `complete` says whether every session that can be used is listed. That is certain when all
/// sessions from before `since` were ended; otherwise a session that made no request after `since`
/// is missing.
pub(super) async fn list(
    State(dashboard): State<Arc<Dashboard>>,
    Permitted(permit): Permitted,
) -> Response {
    let serving = dashboard.live.now();
    let people = serving.gate.people();
    let (since, listed) = listed(people, &permit);
    let is_complete = people
        .sessions
        .everyone_is_over_until()
        .is_some_and(|until| until >= since);
    Json(json!({"sessions": listed, "complete": is_complete, "since": time_of(since)}))
        .into_response()
}

/// The sessions that the caller may see, and since when the list is whole (in seconds since the
/// Unix epoch).
pub(super) fn listed(people: &People, permit: &Permit) -> (u64, Value) {
    people.forget_ended();
    let Listing {
        since, sessions, ..
    } = people.known.list(now());
    let may_see = sight_of(permit);
    let listed = sessions
        .iter()
        .filter(|known| may_see(known))
        .map(|known| describe(known, permit));
    (since, listed.collect())
}

/// Which sessions the caller may see and end.
fn sight_of(permit: &Permit) -> impl Fn(&KnownSession) -> bool {
    let is_operator = permit.to_operate().is_some();
    move |known: &KnownSession| {
        let is_own = matches!(permit.caller(), Caller::Person(session)
            if session.provider().as_str() == known.provider && session.claims().user_id == known.user_id);
        is_operator || is_own
    }
}

fn describe(known: &KnownSession, permit: &Permit) -> Value {
    let is_current =
        matches!(permit.caller(), Caller::Person(session) if *session.id() == known.id);
    let mut fields = known.to_json();
    fields.insert("current".to_owned(), is_current.into());
    fields.insert(
        "client".to_owned(),
        known.user_agent.as_deref().and_then(client_name).into(),
    );
    Value::Object(fields)
}

pub(super) async fn end_one(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    Permitted(permit): Permitted,
    Named(id): Named,
) -> Response {
    let serving = dashboard.live.now();
    let people = serving.gate.people();
    let listed = SessionId::written(&id).and_then(|id| people.known.get(&id));
    let Some(known) = listed.filter(sight_of(&permit)) else {
        return respond::error(
            StatusCode::NOT_FOUND,
            "not_found",
            "No such session is listed",
        );
    };
    people.end(&known.id);
    let record = about_end(&permit, &context)
        .with("provider", known.provider)
        .with("user_id", known.user_id)
        .with("session", known.id.as_str());
    dashboard.audit.write(record);

    // In a task: a caller that disconnects does not stop the write.
    let written = tokio::spawn((dashboard.ended)(known.id)).await;
    ended(1, written.unwrap_or(false))
}

pub(super) async fn end_many(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    Operator(permit): Operator,
    parameters: Parameters,
) -> Response {
    let whose = match whose(&parameters) {
        Ok(whose) => whose,
        Err(mistake) => return respond::bad_request(mistake),
    };
    let (cut_off, over) = dashboard.live.now().gate.people().end_all(whose, now());
    let record = about_end(&permit, &context)
        .with("provider", cut_off.whose.provider.clone())
        .with("user_id", cut_off.whose.user_id.clone())
        .with("ended", over.len());
    dashboard.audit.write(record);

    let written = tokio::spawn((dashboard.cut_off)(cut_off)).await;
    ended(over.len(), written.unwrap_or(false))
}

/// Refuses everything that is not exactly one of the forms: a mistyped name must not end more
/// sessions than the caller wanted.
fn whose(parameters: &Parameters) -> Result<Whose, &'static str> {
    if parameters.names().any(|name| !PARAMETERS.contains(&name)) {
        return Err("Only 'user', 'provider' and 'all' are known");
    }

    if PARAMETERS
        .iter()
        .any(|name| parameters.is_repeated(name) || parameters.only(name) == Some(""))
    {
        return Err("'user', 'provider' and 'all' must each be given once, with a value");
    }

    let given = |name: &str| parameters.only(name).map(str::to_owned);
    match (given("user"), given("provider"), parameters.only("all")) {
        (None, None, Some("true")) => Ok(Whose::default()),
        (None, None, _) => Err("Say whose sessions end: 'user', 'provider' or both, or all=true"),
        (user_id, provider, None) => Ok(Whose {
            provider,
            user_id,
            session: None,
        }),
        _ => Err("'all' goes with neither 'user' nor 'provider'"),
    }
}

fn about_end(permit: &Permit, context: &Context) -> Record {
    Record::now(EventName::Logout)
        .with("by", permit.name())
        .with("ip", context.ip())
}

fn ended(count: usize, is_written: bool) -> Response {
    if is_written {
        return Json(json!({"ok": true, "ended": count})).into_response();
    }
    let detail = "Ended, but this could not be written to the disk: after a restart the sessions may count again";
    respond::error(StatusCode::INTERNAL_SERVER_ERROR, "not_written", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Uri;

    fn read(query: &str) -> Option<(Option<String>, Option<String>)> {
        let uri: Uri = format!("/api/sessions{query}").parse().unwrap();
        let whose = whose(&Parameters::of(&uri)).ok()?;
        Some((whose.user_id, whose.provider))
    }

    #[test]
    fn only_what_is_said_whole_ends_sessions() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            read("?user=a%40b&provider=corp"),
            Some((text("a@b"), text("corp")))
        );
        assert_eq!(read("?user=ada"), Some((text("ada"), None)));
        assert_eq!(read("?provider=corp"), Some((None, text("corp"))));
        assert_eq!(read("?all=true"), Some((None, None)));
        for query in [
            "",
            "?all=false",
            "?all=1",
            "?all=true&user=ada",
            "?all=false&user=ada",
            "?user=",
            "?user=&provider=corp",
            "?usr=ada&provider=corp",
            "?user=ada&user=bob",
            "?user=ada&user=bob&provider=corp",
        ] {
            assert_eq!(read(query), None, "{query}");
        }
    }
}
