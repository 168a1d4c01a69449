//! Lines of the log in the forms of other programs.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Columns of the CSV form. What else a line has is one JSON object in a last column, `other`.
const COLUMNS: &[&str] = &[
    "ts",
    "event",
    "seq",
    "principal",
    "user_id",
    "account",
    "email",
    "provider",
    "ip",
    "reason",
    "ok",
];

/// Returns the first line of the CSV form (RFC 4180), without its end.
pub fn csv_heading() -> String {
    [COLUMNS, &["other"]].concat().join(",")
}

/// Writes a line in the CSV form, without its end. Text that a spreadsheet would take for a formula
/// gets a `'` before it.
pub fn csv_row(fields: &Map<String, Value>) -> String {
    let mut cells: Vec<_> = COLUMNS
        .iter()
        .map(|column| cell(fields.get(*column)))
        .collect();
    let other: Map<_, _> = fields
        .iter()
        .filter(|(key, _)| !COLUMNS.contains(&key.as_str()))
        .map(cloned)
        .collect();
    cells.push(cell(Some(&Value::String(Value::Object(other).to_string()))));
    cells.join(",")
}

fn cloned((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
            format!("'{text}")
        }
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };

    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// The version of the Open Cybersecurity Schema Framework that [`ocsf_event`] follows.
const OCSF_VERSION: &str = "1.6.0";
/// The class Authentication of the Open Cybersecurity Schema Framework.
const AUTHENTICATION: u64 = 3_002;
/// The category Identity & Access Management.
const IDENTITY: u64 = 3;
const LOGON: u64 = 1;
const LOGOFF: u64 = 2;
const OTHER: u64 = 99;

/// A line of the log as an event of the Open Cybersecurity Schema Framework. Sign-ins, sign-outs of
/// a person and the authentication of services are of the class Authentication; all other lines are
/// base events (class 0), whose fields are in `unmapped`.
pub fn ocsf_event(fields: &Map<String, Value>) -> Value {
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let event = text("event").unwrap_or_default();
    let (class, category, activity) = match event {
        "login_success" | "login_failure" | "token_auth_success" | "token_auth_failure" => {
            (AUTHENTICATION, IDENTITY, LOGON)
        }
        "logout" if text("user_id").is_some() => (AUTHENTICATION, IDENTITY, LOGOFF),
        _ => (0, 0, OTHER),
    };

    let ts = text("ts").unwrap_or_default();
    let time = ts.parse::<Timestamp>().map(Timestamp::as_millisecond);
    let mut ocsf = json!({
        "class_uid": class,
        "category_uid": category,
        "activity_id": activity,
        "activity_name": event,
        "type_uid": class * 100 + activity,
        "severity_id": 1,
        "time": time.unwrap_or_default(),
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "Portcullis", "vendor_name": "Portcullis", "version": env!("CARGO_PKG_VERSION")},
            "event_code": event,
            "original_time": ts,
            "sequence": fields.get("seq"),
        },
    });

    let mut mapped = vec!["ts", "event", "seq"];
    if class == AUTHENTICATION {
        let is_failure = event.ends_with("_failure");
        ocsf["status_id"] = json!(if is_failure { 2 } else { 1 });
        if let Some(reason) = text("reason") {
            ocsf["status_detail"] = json!(reason);
        }
        ocsf["user"] = user(&text);
        mapped.extend(["reason", "principal", "account", "user_id", "email"]);
        if let Some(ip) = text("ip").and_then(|ip| ip.parse::<IpAddr>().ok()) {
            ocsf["src_endpoint"] = json!({"ip": ip});
            mapped.push("ip");
        }
    }

    let unmapped: Map<_, _> = fields
        .iter()
        .filter(|(key, _)| !mapped.contains(&key.as_str()))
        .map(cloned)
        .collect();
    ocsf["unmapped"] = Value::Object(unmapped);
    remove_absent(&mut ocsf);
    ocsf
}

/// An attribute that is not known is left out: the schema gives each one a type, and null is of
/// none.
fn remove_absent(value: &mut Value) {
    match value {
        Value::Object(attributes) => {
            attributes.retain(|_, value| !value.is_null());
            attributes.values_mut().for_each(remove_absent);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_absent),
        _ => {}
    }
}

/// The class Authentication requires a user, which needs an identifier or a name.
fn user<'a>(text: &impl Fn(&str) -> Option<&'a str>) -> Value {
    let mut user = Map::new();
    let name = text("account").or_else(|| text("principal"));
    for (key, value) in [
        ("uid", text("user_id")),
        ("name", name),
        ("email_addr", text("email")),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            user.insert(key.to_owned(), json!(value));
        }
    }

    if !user.contains_key("uid") && !user.contains_key("name") {
        user.insert("name".to_owned(), json!("unknown"));
    }

    Value::Object(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_and_defuses_what_a_stranger_chose() {
        let fields = json!({"ts": "T", "event": "login_failure", "account": "=HYPERLINK(\"x\")", "ok": false, "n": [1, 2]});
        let row = csv_row(fields.as_object().unwrap());
        assert_eq!(
            row,
            r#"T,login_failure,,,,"'=HYPERLINK(""x"")",,,,,false,"{""n"":[1,2]}""#
        );
        assert_eq!(csv_heading().split(',').count(), COLUMNS.len() + 1);
    }

    #[test]
    fn sign_ins_are_of_the_class_authentication_and_the_rest_are_base_events() {
        let failure = json!({
            "ts": "1970-01-01T00:00:01Z", "event": "login_failure", "account": "ada", "provider": "people",
            "reason": "invalid_credentials", "ip": "192.0.2.1", "seq": 7,
        });
        let event = ocsf_event(failure.as_object().unwrap());
        let part = |pointer: &str| event.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(
            (part("/class_uid"), part("/type_uid"), part("/status_id")),
            (json!(3002), json!(300_201), json!(2))
        );
        assert_eq!(
            (part("/user/name"), part("/src_endpoint/ip")),
            (json!("ada"), json!("192.0.2.1"))
        );
        assert_eq!(
            (part("/time"), part("/metadata/sequence")),
            (json!(1_000), json!(7))
        );
        assert_eq!(part("/unmapped"), json!({"provider": "people"}));

        let success = json!({"ts": "T", "event": "token_auth_success", "principal": "ci", "provider": null, "path": "/x"});
        let text = ocsf_event(success.as_object().unwrap()).to_string();
        assert!(!text.contains("null"), "{text}");

        let drain =
            json!({"ts": "1970-01-01T00:00:01Z", "event": "drain_begin", "principal": "nas"});
        let event = ocsf_event(drain.as_object().unwrap());
        assert_eq!(
            (&event["class_uid"], &event["type_uid"]),
            (&json!(0), &json!(99))
        );
        assert_eq!(event["unmapped"], json!({"principal": "nas"}));
    }
}
