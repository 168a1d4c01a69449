//! The fields of a request's body: a JSON object, or a form of the page.
//!
//! A field that occurs twice or has a wrong type is a mistake that names it. Unknown fields are
//! ignored and named in the answer, so that a newer client can talk to an older dashboard.

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use portcullis_auth::is_visible_line;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::time::Duration;

/// Longest text of a caller that is repeated to it, in characters.
const MAX_ECHO: usize = 64;
/// Unknown fields that are named to the caller.
const MAX_IGNORED: usize = 16;

/// Reads a JSON object. An empty body is an empty object.
pub(super) fn parse<T: Default + DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    match body.trim_ascii() {
        b"" => Ok(T::default()),
        [b'{', ..] => serde_json::from_slice(body).map_err(|error| match error.is_data() {
            true => format!("The body cannot be read: {error}"),
            false => format!("The body is not JSON: {error}"),
        }),
        other => {
            let other = serde_json::from_slice::<Value>(other);
            let not_json = |error| format!("The body is not JSON: {error}");
            Err(other.map_or_else(not_json, |_| "The body must be a JSON object".to_owned()))
        }
    }
}

/// Reads a form, in which every field is text. `None`: the body is not a form. `curl` sends JSON
/// with the content type of a form.
fn form(headers: &HeaderMap, body: &[u8]) -> Option<Result<Map<String, Value>, String>> {
    let kind = headers
        .get(CONTENT_TYPE)
        .filter(|_| !body.trim_ascii_start().starts_with(b"{"))?;
    kind.as_bytes()
        .starts_with(b"application/x-www-form-urlencoded")
        .then(|| {
            serde_urlencoded::from_bytes(body)
                .map_err(|mistake| format!("The form cannot be read: {mistake}"))
        })
}

/// Reads the body of a page, which is JSON from its script and a form without it. Returns whether
/// it was a form, and the JSON that `convert` makes of the form.
pub(super) fn of_page(
    headers: &HeaderMap,
    body: Bytes,
    convert: impl FnOnce(Map<String, Value>) -> Result<Value, String>,
) -> Result<(bool, Bytes), String> {
    match form(headers, &body) {
        None => Ok((false, body)),
        Some(fields) => Ok((true, convert(fields?)?.to_string().into())),
    }
}

/// Logs the names of unknown fields, if there are any.
pub(super) fn log_ignored(request: &str, ignored: &[String]) {
    if !ignored.is_empty() {
        tracing::info!(
            request,
            fields = ignored.join(", "),
            "unknown fields are ignored"
        );
    }
}

/// Distinguishes `null` from a field that is absent.
pub(super) fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The names of unknown fields, for the answer.
pub(super) fn ignored(unknown: &Map<String, Value>) -> Vec<String> {
    unknown
        .keys()
        .take(MAX_IGNORED)
        .map(|name| echo(name))
        .collect()
}

/// A caller's own text, cut for the answer.
pub(super) fn echo(text: &str) -> String {
    text.chars().take(MAX_ECHO).collect()
}

/// Text of `min` to `max` visible characters and spaces.
pub(super) fn text_in(
    field: Option<Value>,
    name: &str,
    min: usize,
    max: usize,
) -> Result<Option<String>, String> {
    match field {
        None => Ok(None),
        Some(Value::String(text)) if is_visible_line(&text, &(min..=max)) => Ok(Some(text)),
        Some(_) => Err(format!(
            "'{name}' must be a string of {min} to {max} visible characters, without space around it"
        )),
    }
}

/// A whole number of `min` to `max` seconds.
pub(super) fn seconds_in(
    field: Option<Value>,
    name: &str,
    min: u64,
    max: u64,
) -> Result<Option<Duration>, String> {
    let Some(value) = field else { return Ok(None) };
    let seconds = value
        .as_u64()
        .filter(|seconds| (min..=max).contains(seconds));
    let mistake = || format!("'{name}' must be an integer from {min} to {max}");

    seconds
        .map(|seconds| Some(Duration::from_secs(seconds)))
        .ok_or_else(mistake)
}

/// A boolean, false where it is absent.
pub(super) fn flag_in(field: Option<&Value>, name: &str) -> Result<bool, String> {
    match field {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(format!("'{name}' must be true or false")),
    }
}
