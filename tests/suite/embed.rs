//! `portcullis-tower`: a service behind providers, without a dashboard.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request, Response};
use portcullis_tests::{Home, Reply, SOON, get, guest};
use portcullis_tower::{
    Capabilities, ComponentSource, Guard, GuardBuilder, GuardError, GuardLayer, Limits, LoadError,
    NotLoaded, Principal, ProviderName, ProviderSpec,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs;
use std::future::{Ready, ready};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt, service_fn};

const SCOPE: &str = "metrics.read";
/// Of a provider that only a clock stops.
const SHORT: Duration = Duration::from_millis(300);
/// For one call on a busy machine.
const LONG: Duration = Duration::from_secs(2);

/// A provider named as in [`Home::guests_config`], with the same limits.
fn spec(guest_name: &str, index: usize) -> ProviderSpec {
    let deadline = if guest_name == "loops" { SHORT } else { LONG };
    ProviderSpec {
        name: ProviderName::new(&format!("{guest_name}-{index}")).expect("a name"),
        source: ComponentSource::File(guest(guest_name)),
        sha256: None,
        settings: BTreeMap::new(),
        capabilities: Capabilities::default(),
        limits: Limits {
            deadline,
            ..Limits::default()
        },
        link_modules: false,
    }
}

/// A guard over these guests. The compiled components are those of the other tests.
async fn guard_of(home: &Home, guests: &[&str]) -> GuardLayer {
    let add = |builder: GuardBuilder, (index, name): (usize, &&str)| {
        builder.provider(spec(name, index), &[SCOPE])
    };
    let builder = guests.iter().enumerate().fold(Guard::builder(), add);
    builder
        .require(SCOPE)
        .cache(home.file("cache/components"))
        .build()
        .await
        .expect("a guard")
}

/// The headers of each request that reached the inner service.
#[derive(Clone, Default)]
struct Reached(Arc<Mutex<Vec<HeaderMap>>>);

impl Reached {
    fn take(&self) -> Vec<HeaderMap> {
        std::mem::take(&mut *self.0.lock().expect("no test panics with it"))
    }
}

/// Sends a request to a service behind the guard, which answers with what the guard says of the
/// caller.
async fn ask(guard: &GuardLayer, reached: &Reached, authorization: &[&str]) -> Reply {
    let seen = reached.clone();
    let inner = service_fn(move |request: Request<Full<Bytes>>| {
        let caller = request.extensions().get::<Principal>().map(describe);
        seen.0
            .lock()
            .expect("no test panics with it")
            .push(request.headers().clone());
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(
            caller.unwrap_or_default(),
        ))))
    });
    let request = Request::builder().uri("/").header("x-other", "stays");
    let request = authorization.iter().fold(request, |request, value| {
        request.header("authorization", *value)
    });
    let request = request.body(Full::<Bytes>::default()).expect("a request");

    let response = guard
        .layer(inner)
        .oneshot(request)
        .await
        .expect("the service never fails");
    let status = response.status().as_u16();
    let text = |value: &hyper::header::HeaderValue| value.to_str().expect("text").to_owned();
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect();
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a whole body")
        .to_bytes();
    Reply {
        status,
        headers,
        body: String::from_utf8(body.to_vec()).expect("text"),
    }
}

fn describe(caller: &Principal) -> String {
    let scopes: Vec<_> = caller.scopes().map(ToString::to_string).collect();
    format!(
        "{} of {} with {}",
        caller.name(),
        caller.provider(),
        scopes.join(" ")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn inner_service_finds_the_caller_and_no_credential() {
    let (home, reached) = (Home::new(), Reached::default());
    let guard = guard_of(&home, &["known"]).await;
    assert!(guard.not_loaded().is_empty());
    let reply = ask(&guard, &reached, &["Bearer good-token"]).await;
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (200, "good-bot of known-0 with metrics.read")
    );
    let requests = reached.take();
    assert_eq!(requests.len(), 1);
    assert!(!requests[0].contains_key("authorization"));
    assert_eq!(requests[0]["x-other"], "stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_those_of_the_dashboard() {
    /// What a client sees of a refusal.
    fn seen(reply: &Reply) -> (u16, Vec<Option<&str>>, &str) {
        let names = [
            "www-authenticate",
            "retry-after",
            "content-type",
            "cache-control",
        ];
        (
            reply.status,
            names.map(|name| reply.header(name)).to_vec(),
            reply.body.as_str(),
        )
    }
    let reached = Reached::default();
    for (guests, cases) in [
        (
            &["known"][..],
            &[
                (None, 401),
                (Some("Bearer wrong"), 401),
                (Some("Bearer"), 401),
                (Some("Basic good-token"), 401),
                (Some("Bearer scopeless-token"), 403),
            ][..],
        ),
        (
            &["known", "unreachable"],
            &[
                (Some("Bearer wrong"), 503),
                (Some("Bearer scopeless-token"), 403),
            ],
        ),
    ] {
        let home = Home::with_guests(guests);
        let dashboard = home.dashboard();
        let guard = guard_of(&home, guests).await;
        for (authorization, status) in cases {
            let values: Vec<&str> = authorization.iter().copied().collect();
            let headers: Vec<_> = values
                .iter()
                .map(|value| ("authorization", *value))
                .collect();
            let expected = get(&dashboard.url("/metrics"), &headers);
            let found = ask(&guard, &reached, &values).await;
            assert_eq!(found.status, *status, "{authorization:?}");
            assert_eq!(seen(&found), seen(&expected), "{authorization:?}");
        }
    }
    assert_eq!(reached.take().len(), 0);
}

/// Counts how often it is asked for a place.
#[derive(Clone, Default)]
struct Crowded(Arc<AtomicUsize>);

impl Service<Request<Full<Bytes>>> for Crowded {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        ready(Ok(Response::new(Full::default())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_that_is_refused_takes_no_place_of_the_inner_service() {
    let (home, inner) = (Home::new(), Crowded::default());
    let guard = guard_of(&home, &["known"]).await;
    for (token, status, places) in [("Bearer wrong", 401, 0), ("Bearer good-token", 200, 1)] {
        let request = Request::builder().uri("/").header("authorization", token);
        let request = request.body(Full::default()).expect("a request");
        let response = guard
            .layer(inner.clone())
            .oneshot(request)
            .await
            .expect("the service never fails");
        assert_eq!(
            (response.status().as_u16(), inner.0.load(Ordering::Relaxed)),
            (status, places),
            "{token}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_credentials_are_none() {
    let (home, reached) = (Home::new(), Reached::default());
    let guard = guard_of(&home, &["known"]).await;
    let reply = ask(
        &guard,
        &reached,
        &["Bearer good-token", "Bearer good-token"],
    )
    .await;
    assert_eq!((reply.status, reached.take().len()), (401, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn provider_that_loops_is_ended() {
    let (home, reached) = (Home::new(), Reached::default());
    let guard = guard_of(&home, &["loops"]).await;
    let reply = ask(&guard, &reached, &["Bearer good-token"]).await;
    assert_eq!(
        (reply.status, reached.take().len()),
        (503, 0),
        "{}",
        reply.body
    );
    assert_eq!(
        reply.json()["detail"],
        "Auth provider 'loops-0' unreachable"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn provider_that_keeps_failing_is_not_asked_about_a_token_that_it_knows() {
    let (home, reached) = (Home::new(), Reached::default());
    let guard = guard_of(&home, &["brittle"]).await;
    let refusal = async {
        loop {
            let reply = ask(&guard, &reached, &["Bearer good-token"]).await;
            if reply.status != 200 {
                return reply;
            }
            // On a busy machine the quarantine may be over before the good token comes again: then
            // once more.
            for _ in 0..8 {
                let trapped = ask(&guard, &reached, &["Bearer trap-token"]).await;
                // A fault is no answer, and a caller without one is refused; one in quarantine is not
                // asked at all.
                assert!(
                    [401, 503].contains(&trapped.status),
                    "{} {}",
                    trapped.status,
                    trapped.body
                );
            }
        }
    };
    let reply = tokio::time::timeout(SOON, refusal)
        .await
        .expect("faults lead to a quarantine");
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert_eq!(
        reply.json()["detail"],
        "Auth provider 'brittle-0' unreachable"
    );
    assert!(
        !reached.take().is_empty(),
        "the token was good before the faults"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn provider_that_loops_holds_up_no_caller_of_another_for_longer_than_its_deadline() {
    let (home, reached) = (Home::new(), Reached::default());
    let guard = guard_of(&home, &["loops", "known"]).await;
    assert_eq!(
        ask(&guard, &reached, &["Bearer good-token"]).await.status,
        200
    );
    assert_eq!(ask(&guard, &reached, &["Bearer wrong"]).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn provider_that_is_not_loaded_answers_503_and_is_named() {
    let (home, reached) = (Home::new(), Reached::default());
    let missing = ProviderSpec {
        source: ComponentSource::File(home.file("missing.wasm")),
        ..spec("known", 7)
    };
    let builder = Guard::builder()
        .provider(missing, &[SCOPE])
        .provider(spec("known", 1), &[SCOPE]);
    let builder = builder.require(SCOPE).cache(home.file("cache/components"));
    let guard = builder.build().await.expect("a guard");
    let [
        NotLoaded::Refused {
            name,
            cause: LoadError::Unreadable { .. },
        },
    ] = guard.not_loaded()
    else {
        panic!("{:?}", guard.not_loaded());
    };
    assert_eq!(name.as_str(), "known-7");

    let reply = ask(&guard, &reached, &["Bearer wrong"]).await;
    assert_eq!((reply.status, reached.take().len()), (503, 0));
    assert_eq!(
        reply.json()["detail"],
        "Auth provider 'known-7' unreachable"
    );
    assert_eq!(
        ask(&guard, &reached, &["Bearer good-token"]).await.status,
        200
    );
    assert_eq!(ask(&guard, &reached, &[]).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_scope_opens_another_service_with_the_same_providers() {
    let (home, reached) = (Home::new(), Reached::default());
    let builder = Guard::builder().provider(spec("known", 0), &[SCOPE, "not.granted", "a.third"]);
    let builder = builder.require(SCOPE).cache(home.file("cache/components"));
    let guard = builder.build().await.expect("a guard");
    let other = guard
        .requiring("not.granted")
        .expect("a scope that is granted here");
    let third = guard
        .requiring("a.third")
        .expect("a scope that is granted here");
    let scopeless = &["Bearer scopeless-token"];
    assert_eq!(ask(&guard, &reached, scopeless).await.status, 403);
    assert_eq!(
        ask(&other, &reached, scopeless).await.body,
        "scopeless-bot of known-0 with not.granted"
    );
    assert_eq!(ask(&third, &reached, scopeless).await.status, 403);
    assert!(matches!(
        guard.requiring("a.fourth"),
        Err(GuardError::NotGranted(_))
    ));
    assert!(matches!(
        guard.requiring("two words"),
        Err(GuardError::BadName(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn guard_that_could_let_no_caller_in_is_a_mistake() {
    let home = Home::new();
    let known = || {
        Guard::builder()
            .cache(home.file("cache/components"))
            .provider(spec("known", 0), &[SCOPE])
    };
    let mistake = async |builder: GuardBuilder| builder.build().await.err();
    assert!(matches!(
        mistake(known()).await,
        Some(GuardError::NothingRequired)
    ));
    assert!(matches!(
        mistake(known().require("drain")).await,
        Some(GuardError::NotGranted(_))
    ));
    assert!(matches!(
        mistake(known().require("")).await,
        Some(GuardError::BadName(_))
    ));
    assert!(matches!(
        mistake(Guard::builder().require(SCOPE)).await,
        Some(GuardError::NotGranted(_))
    ));
    let bad_scope = known()
        .require(SCOPE)
        .provider(spec("known", 1), &["two words"]);
    assert!(matches!(
        mistake(bad_scope).await,
        Some(GuardError::BadName(_))
    ));
    let twice = known().require(SCOPE).provider(spec("known", 0), &[SCOPE]);
    assert!(matches!(
        mistake(twice).await,
        Some(GuardError::SameName(_))
    ));
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The example, which is built with the suite as `target/<profile>/examples/embed`. It ends with
/// the test.
struct Example {
    process: Child,
    origin: String,
}

impl Example {
    fn start(arguments: &[&OsStr]) -> Self {
        let suite = std::env::current_exe().expect("the suite");
        let program = suite
            .ancestors()
            .nth(2)
            .expect("target/<profile>")
            .join("examples/embed");
        let mut command = Command::new(program);
        let process = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut example = Self {
            process: process.expect("the example starts"),
            origin: String::new(),
        };
        let stdout = example.process.stdout.take().expect("stdout is piped");
        BufReader::new(stdout)
            .read_line(&mut example.origin)
            .expect("stdout is text");
        assert!(
            example.origin.starts_with("http://"),
            "{:?}",
            example.origin
        );
        example
    }

    fn ask(&self, path: &str, token: &str) -> Reply {
        let credential = format!("Bearer {token}");
        let headers = [("authorization", credential.as_str())];
        let headers = &headers[..usize::from(!token.is_empty())];
        get(&format!("{}{path}", self.origin.trim_end()), headers)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const KEY: &str = "wz0Tn8cVqk3PZrWm2yLhNdXu5BfGa7sE";

/// Writes the settings of `service-keys` with [`KEY`], and returns their file.
fn keys(home: &Home) -> PathBuf {
    let digest = hex::encode(Sha256::digest(KEY));
    let entry = json!([{"sha256": digest, "principal": "ci-bot", "scopes": ["notes.read"]}]);
    home.write("keys.json", &entry.to_string());
    home.file("keys.json")
}

#[test]
fn example_guards_its_route() {
    let home = Home::new();
    let example = Example::start(&[keys(&home).as_os_str()]);
    let reply = example.ask("/v1/notes", KEY);
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (200, "notes for ci-bot of keys\n")
    );
    for (path, token, status) in [
        ("/v1/notes", "wrong", 401),
        ("/v1/notes", "", 401),
        ("/other", "", 401),
        ("/other", KEY, 404),
        ("/healthz", "", 200),
    ] {
        assert_eq!(example.ask(path, token).status, status, "{path} {token:?}");
    }
}

#[test]
fn example_stays_shut_behind_any_other_component() {
    let home = Home::new();
    let keys = keys(&home);
    home.write("text.wasm", "not a component");
    for (component, status) in [
        (guest("loops"), 503),
        (guest("known"), 401),
        (home.file("text.wasm"), 503),
    ] {
        let example = Example::start(&[keys.as_os_str(), component.as_os_str()]);
        let reply = example.ask("/v1/notes", KEY);
        assert_eq!(
            reply.status,
            status,
            "{}: {}",
            component.display(),
            reply.body
        );
        assert_eq!(example.ask("/healthz", "").status, 200);
    }
}

#[test]
fn example_in_the_docs_is_the_one_that_runs() {
    let source =
        fs::read_to_string(project("runtime/tower/examples/embed.rs")).expect("the example");
    let (_, code) = source
        .split_once("\n\n")
        .expect("a line that says what it is, then the code");
    let page = fs::read_to_string(project("docs/embed.md")).expect("the page");
    assert!(
        page.contains(&format!("```rust\n{code}```")),
        "docs/embed.md shows another example"
    );
}
