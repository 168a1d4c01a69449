//! What reads the outside, each as a function of bytes that panics when a promise is broken: for
//! the property tests in this workspace, and for the fuzzer in `fuzz/`.

use portcullis_auth::{
    BearerToken, Claims, MAX_HEADER_BYTES, MAX_SCOPES, SessionClaims, safe_target,
};
use portcullis_dashboard::config::{Environment, load_text};
use portcullis_home::StatusFile;
use portcullis_home::{MarkerFile, MarkerState, judge};
use portcullis_observe::trace_context::{TRACEPARENT, TRACESTATE, TraceContext};
use portcullis_sandbox::Origin;
use std::cell::OnceCell;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;
use ureq::http::{HeaderMap, HeaderValue};

/// Panics when a promise is broken.
pub type Reader = fn(&[u8]);

/// Every reader, by the name of its folder of seeds.
pub const READERS: &[(&str, Reader)] = &[
    ("bearer", bearer),
    ("next", next),
    ("origin", origin),
    ("config", config),
    ("marker", marker),
    ("status", status),
    ("claims", claims),
    ("trace", trace),
    ("link", link),
];

/// `Authorization`: a token that comes out stood in the header, and has nothing in it that a log
/// would obey.
pub fn bearer(data: &[u8]) {
    if let Ok(token) = BearerToken::from_headers([data]) {
        let text = token.expose();
        assert!(!text.is_empty() && data.len() <= MAX_HEADER_BYTES);
        assert!(!text.contains(char::is_control) && text.trim_matches([' ', '\t']) == text);
        assert!(
            data.windows(text.len())
                .any(|window| window == text.as_bytes())
        );
        assert!(data[..6].eq_ignore_ascii_case(b"bearer"));
    }
    assert!(
        BearerToken::from_headers([data, data]).is_err(),
        "two headers are none"
    );
}

/// `next=`: what comes out leads to a page of this origin, however often a browser decodes it.
pub fn next(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let target = safe_target(text);
    assert!(target == "/" || target == text);
    let (path, rest) = target.split_at(target.find(['?', '#']).unwrap_or(target.len()));
    assert!(
        rest.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "{rest:?}"
    );
    let mut decoded = path.to_owned();
    for _ in 0..4 {
        assert!(
            decoded.starts_with('/') && !decoded.starts_with("//") && !decoded.starts_with("/\\"),
            "{decoded:?}"
        );
        assert!(!decoded.contains(['\\', '\r', '\n']), "{decoded:?}");
        decoded = percent_encoding::percent_decode_str(&decoded)
            .decode_utf8_lossy()
            .into_owned();
    }
}

/// Origins: one that is granted is written as it is compared, and a request is of the origin that
/// its authority says.
pub fn origin(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(origin) = Origin::parse(text) {
        assert_eq!(
            Origin::parse(&origin.to_string()),
            Some(origin.clone()),
            "{text:?}"
        );
        assert!(!text.contains('@') && !text.ends_with('/'), "{text:?}");
        let uri = format!("{origin}/path?query")
            .parse()
            .expect("an origin and a path are a URI");
        assert_eq!(Origin::of(&uri), Some(origin), "{text:?}");
    }
}

/// The configuration: settings or mistakes, each with a place that is in the text.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match load_text("/nowhere".into(), None, text, Environment::default()) {
        Ok(config) => {
            let drain = &config.dashboard.drain_scope;
            assert!(
                config
                    .dashboard
                    .providers
                    .iter()
                    .all(|provider| !provider.grants.scopes.contains(drain))
            );
        }
        Err(error) => {
            let lines = text.lines().count() as u64 + 1;
            assert!(!error.mistakes.is_empty());
            assert!(error.mistakes.iter().all(|mistake| {
                mistake.place.is_some_and(|place| place.line <= lines) && !mistake.text.is_empty()
            }));
        }
    }
}

thread_local! {
    static HOME: OnceCell<TempDir> = const { OnceCell::new() };
}

/// A home of this thread's with one file in it.
fn with_file<T>(name: &str, data: &[u8], read: impl FnOnce(&std::path::Path) -> T) -> T {
    HOME.with(|home| {
        let home = home.get_or_init(|| tempfile::tempdir().expect("a temporary folder"));
        fs::write(home.path().join(name), data).expect("a file in the home");
        read(home.path())
    })
}

/// The marker: any content drains, unless it says itself that it is over.
pub fn marker(data: &[u8]) {
    let state = with_file(".drain_request.json", data, |home| {
        MarkerFile::new(home).read()
    });
    assert_ne!(state, MarkerState::Absent);
    let verdict = judge(
        &state,
        None,
        Duration::from_secs(3600),
        jiff::Timestamp::now(),
    );
    match state {
        MarkerState::Present { content, .. }
            if content.expires_at.is_some() || content.requested_at.is_some() => {}
        _ => assert!(verdict.is_draining(), "{verdict:?}"),
    }
}

/// The status file: garbage is a gateway of which nothing is known.
pub fn status(data: &[u8]) {
    let reading = with_file("gateway_state.json", data, |home| {
        StatusFile::new(home).read()
    });
    let is_object = serde_json::from_slice::<serde_json::Map<_, serde_json::Value>>(data).is_ok();
    assert!(is_object || reading.is_up().is_none());
}

/// What a guest claims: a principal that is believed can be written into a log.
pub fn claims(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let scopes: Vec<String> = text.split(' ').skip(1).map(str::to_owned).collect();
    if let Ok(claims) = Claims::new(text.clone(), &scopes) {
        let principal = claims.principal();
        assert!(
            !principal.is_empty()
                && principal.len() <= 256
                && !principal.contains(char::is_control)
        );
        assert!(claims.scopes().count() <= MAX_SCOPES);
    }
    let mut number = [0; 8];
    number
        .iter_mut()
        .zip(data)
        .for_each(|(byte, given)| *byte = *given);
    let session = SessionClaims {
        user_id: text.clone(),
        email: String::new(),
        display_name: text,
        org_id: String::new(),
        expires_at: u64::from_le_bytes(number),
        access_token: String::new().into(),
        refresh_token: String::new().into(),
        groups: scopes,
    };
    if let Ok(session) = session.checked(1_000_000_000) {
        assert!(session.expires_at > 1_000_000_000 && !session.user_id.contains(char::is_control));
        assert!(
            session
                .groups
                .iter()
                .all(|group| !group.is_empty() && !group.contains(char::is_control))
        );
    }
}

/// `traceparent`, and `tracestate` after the first line: a trace that is read is written as it is
/// read again, within bounds.
pub fn trace(data: &[u8]) {
    let (parent, state) = data.split_at(
        data.iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(data.len()),
    );
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (TRACEPARENT, parent),
        (TRACESTATE, state.get(1..).unwrap_or_default()),
    ] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let Some(trace) = TraceContext::of(&headers) else {
        return;
    };
    let state = trace.state();
    assert!(
        trace.parent().len() == 55 && state.len() <= 512,
        "{trace:?}"
    );
    assert!(
        state.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "{trace:?}"
    );

    let mut written = HeaderMap::new();
    trace.put_on(&mut written);
    assert_eq!(TraceContext::of(&written), Some(trace));
}

/// A component that is to be linked: what comes out has no more modules than what went in.
pub fn link(data: &[u8]) {
    let Ok(linked) = portcullis_module_linker::link(data) else {
        return;
    };
    let modules =
        |component: &[u8]| portcullis_module_linker::modules(component).expect("a component");
    assert!(modules(&linked) <= modules(data));
}
