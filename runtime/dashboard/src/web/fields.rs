//! The fields of a request's body: a JSON object, or a form of the page.
//!
//! A field that occurs twice or has a wrong type is a mistake that names it. Unknown fields are
//! ignored and named in the answer, so that a newer client can talk to an older dashboard. Their
//! values may be of any type, size and depth.

use super::sent_credentials::SentCredentials;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use portcullis_auth::is_visible_line;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

/// Longest text of a caller that is repeated to it, in characters.
const MAX_ECHO: usize = 64;
/// Unknown fields that are named to the caller.
const MAX_IGNORED: usize = 16;

/// The fields of a body, with values of any type.
#[derive(Debug, Default)]
pub(super) struct Fields {
    known: Map<String, Value>,
    /// Names of fields that do nothing, cut for the answer.
    ignored: Vec<String>,
}

impl Fields {
    /// Reads a JSON object with these fields. An empty body is an empty object.
    ///
    /// A body that contains a credential of its request is refused, since texts and names of fields
    /// are written to files and to the log.
    pub(super) fn parse(
        body: &[u8],
        known: &'static [&'static str],
        sent: &SentCredentials,
    ) -> Result<Self, String> {
        match body.trim_ascii() {
            b"" => Ok(Self::default()),
            [b'{', ..] => {
                let fields =
                    read_object(body, known, sent).map_err(|error| match error.is_data() {
                        true => format!("The body cannot be read: {error}"),
                        false => format!("The body is not JSON: {error}"),
                    })?;
                fields.without(sent)
            }
            other => {
                let other = serde_json::from_slice::<Value>(other);
                let not_json = |error| format!("The body is not JSON: {error}");
                Err(other.map_or_else(not_json, |_| "The body must be a JSON object".to_owned()))
            }
        }
    }

    fn without(self, sent: &SentCredentials) -> Result<Self, String> {
        let has_one = |value: &Value| value.as_str().is_some_and(|text| sent.are_in(text));
        match self.known.iter().find(|(_, value)| has_one(value)) {
            Some((name, _)) => Err(format!(
                "'{name}' must not contain the credential of the request"
            )),
            None => Ok(self),
        }
    }

    /// Returns the value of a known field. A list or an object is empty, since no field takes one.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.known.get(name)
    }

    /// Returns the names of the fields that do nothing, for the answer: the unknown ones, and of
    /// the known ones these, which have no effect on this request.
    pub(super) fn ignored(self, without_effect: &[&str]) -> Vec<String> {
        let Self { known, mut ignored } = self;
        let given = without_effect
            .iter()
            .filter(|name| known.contains_key(**name));
        ignored.extend(given.map(|name| (*name).to_owned()));
        ignored
    }

    fn ignore(&mut self, name: &str) {
        let name = echo(name);
        if self.ignored.len() < MAX_IGNORED && !self.ignored.contains(&name) {
            self.ignored.push(name);
        }
    }
}

fn read_object(
    body: &[u8],
    known: &'static [&'static str],
    sent: &SentCredentials,
) -> serde_json::Result<Fields> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let fields = FieldsReader { known, sent }.deserialize(&mut json)?;
    json.end()?;
    Ok(fields)
}

/// Reads an object. It keeps nothing of an unknown field but the name, so neither its depth nor a
/// number out of range makes the body a mistake.
struct FieldsReader<'a> {
    known: &'static [&'static str],
    sent: &'a SentCredentials,
}

impl<'de> DeserializeSeed<'de> for FieldsReader<'_> {
    type Value = Fields;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Fields, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldsReader<'_> {
    type Value = Fields;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<String>()? {
            match self.known.iter().find(|known| **known == name) {
                Some(known) => {
                    let Shallow(value) = map.next_value()?;
                    if fields.known.insert(name, value).is_some() {
                        return Err(A::Error::duplicate_field(known));
                    }
                }
                // Whole, since a part of it is logged.
                None if self.sent.are_in(&name) => {
                    return Err(A::Error::custom(
                        "the name of a field must not contain the credential of the request",
                    ));
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                    fields.ignore(&name);
                }
            }
        }
        Ok(fields)
    }
}

/// A value without what is in a list or an object, which may be nested deeper than is read.
struct Shallow(Value);

impl<'de> Deserialize<'de> for Shallow {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ShallowVisitor)
    }
}

struct ShallowVisitor;

impl<'de> Visitor<'de> for ShallowVisitor {
    type Value = Shallow;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Shallow, E> {
        Ok(Shallow(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Shallow, E> {
        Ok(Shallow(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Shallow, E> {
        Ok(Shallow(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Shallow, E> {
        Ok(Shallow(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Shallow, E> {
        Ok(Shallow(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Shallow, E> {
        Ok(Shallow(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shallow, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Shallow(Value::Array(Vec::new())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shallow, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Shallow(Value::Object(Map::new())))
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

/// A caller's own text, cut for the answer.
pub(super) fn echo(text: &str) -> String {
    text.chars().take(MAX_ECHO).collect()
}

/// Text of `min` to `max` visible characters and spaces.
pub(super) fn text_in(
    field: Option<&Value>,
    name: &str,
    min: usize,
    max: usize,
) -> Result<Option<String>, String> {
    match field {
        None => Ok(None),
        Some(Value::String(text)) if is_visible_line(text, &(min..=max)) => Ok(Some(text.clone())),
        Some(_) => Err(format!(
            "'{name}' must be a string of {min} to {max} visible characters, without space around it"
        )),
    }
}

/// A whole number of `min` to `max` seconds.
pub(super) fn seconds_in(
    field: Option<&Value>,
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

#[cfg(test)]
mod tests {
    use super::super::sent_credentials::tests::sent;
    use super::*;

    const KNOWN: [&str; 2] = ["a", "b"];

    fn parse(body: &str) -> Result<Fields, String> {
        Fields::parse(body.as_bytes(), &KNOWN, &SentCredentials::default())
    }

    #[test]
    fn no_text_and_no_name_contains_the_credential_of_the_request() {
        let sent = sent("authorization", "Bearer s3cret-of-ci");
        let of_a_field = "'b' must not contain the credential of the request";
        let of_a_name = "the name of a field must not contain the credential of the request";
        for (body, complaint) in [
            (r#"{"a":1,"b":"own-s3cret-of-ci"}"#, of_a_field),
            (r#"{"b":"own-\u00733cret-of-ci"}"#, of_a_field),
            (r#"{"s3cret-of-ci":1}"#, of_a_name),
            (
                &format!(r#"{{"{}s3cret-of-ci":1}}"#, "x".repeat(MAX_ECHO)),
                of_a_name,
            ),
        ] {
            let found = Fields::parse(body.as_bytes(), &KNOWN, &sent).expect_err(body);
            assert!(
                found.contains(complaint) && !found.contains("s3cret"),
                "{body}: {found}"
            );
        }
        // The value of an unknown field is dropped unread.
        let fields = Fields::parse(br#"{"c":"s3cret-of-ci","b":"s3cret"}"#, &KNOWN, &sent);
        assert_eq!(fields.unwrap().ignored(&[]), ["c"]);
    }

    #[test]
    fn unknown_fields_are_ignored_whatever_is_in_them() {
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        let nested = format!("{}1{}", r#"{"a":"#.repeat(5_000), "}".repeat(5_000));
        for value in [
            "null",
            "1e999",
            r#""\ud800""#,
            r#"{"a":1,"a":2,"note":{"b":[]}}"#,
            &deep,
            &nested,
        ] {
            let fields = parse(&format!(r#"{{"note":{value},"a":1}}"#));
            let fields = fields.unwrap_or_else(|error| panic!("{value:.40}: {error}"));
            assert_eq!(fields.get("a"), Some(&Value::from(1)), "{value:.40}");
            assert_eq!(fields.get("b"), None, "{value:.40}");
            assert_eq!(fields.ignored(&[]), ["note"], "{value:.40}");
        }
    }

    #[test]
    fn known_field_is_read_however_deep_it_is() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
        let fields = parse(&deep).unwrap();
        assert_eq!(
            text_in(fields.get("a"), "a", 0, 9),
            Err(
                "'a' must be a string of 0 to 9 visible characters, without space around it"
                    .to_owned()
            )
        );
    }

    #[test]
    fn ignored_fields_are_named_once_and_not_without_end() {
        let fields = parse(r#"{"b":1,"note":1,"note":2}"#).unwrap();
        assert_eq!(fields.ignored(&["a", "b"]), ["note", "b"]);
        let many: Vec<_> = (0..100).map(|n| format!(r#""{n}":{n}"#)).collect();
        let fields = parse(&format!("{{{}}}", many.join(","))).unwrap();
        assert_eq!(fields.ignored(&[]).len(), MAX_IGNORED);
    }

    #[test]
    fn what_is_no_object_is_a_mistake() {
        for body in [
            "[]",
            "null",
            "{",
            "{} {}",
            r#"{"a":1,"a":2}"#,
            r#"{"x":[1}"#,
        ] {
            assert!(parse(body).is_err(), "{body}");
        }
    }
}
