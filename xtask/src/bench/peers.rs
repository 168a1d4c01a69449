//! Others that do the same check, each by its own way of doing it: see `tests/peers/README.md`.

use super::dashboard::{self, TOKEN, bearer};
use super::guest;
use super::server::{Server, free_port, workspace};
use super::throughput::{CONNECTIONS, Contender};
use super::wrk::{Answer, Load, Question, drive};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections that vllm-router's plugins serve before it answers 503: twice its plugin threads.
const VLLM_CONNECTIONS: u32 = 4;
/// From a router's port to the one of its metrics.
const METRICS_ABOVE: u16 = 1_000;
/// How long one may take to answer as it should, once it accepts connections.
const WARMS_UP: Duration = Duration::from_secs(60);

fn script(name: &str) -> Command {
    let mut command = Command::new(workspace("tests/peers/speed").join(name));
    command.env("PEER_TOKEN", TOKEN);
    command
}

/// FastAPI and uvicorn, the way of the original: a middleware, and the provider inside the process.
pub(super) fn fastapi(workers: u32) -> anyhow::Result<Arc<Server>> {
    let (port, home) = (free_port()?, tempfile::tempdir()?);
    let mut command = script("run-fastapi");
    command
        .args([port.to_string(), workers.to_string()])
        .arg(home.path());
    command.env("PEER_DRAIN_SECRET", dashboard::DRAIN_SECRET);
    Server::start_on(&mut command, port, Some(home)).map(Arc::new)
}

fn on_a_port(name: &str, arguments: &[String]) -> anyhow::Result<Arc<Server>> {
    // The routers count their metrics on a port of their own, a thousand above.
    let port = loop {
        let port = free_port()?;
        if port < u16::MAX - METRICS_ABOVE {
            break port;
        }
    };
    let mut command = script(name);
    command.arg(port.to_string()).args(arguments);
    Server::start_on(&mut command, port, None).map(Arc::new)
}

/// Installs and starts them all, one after the other: the first time this takes minutes. One that
/// cannot be run is left out, and it is said why.
pub(super) fn start() -> anyhow::Result<Vec<Contender>> {
    let backend = on_a_port("run-nginx", &["backend".into()])?;
    let ours = Arc::new(dashboard::start(dashboard::home(guest::std(), 1, "")?)?);
    let peers: [(&str, &dyn Fn() -> anyhow::Result<Contender>); 7] = [
        ("fastapi, one worker", &|| Ok(check(&fastapi(1)?))),
        ("fastapi, two workers", &|| Ok(check(&fastapi(2)?))),
        ("wasmtime serve 48", &|| {
            Ok(check(&on_a_port("run-wasmtime-serve", &[])?))
        }),
        ("nginx, inline", &|| {
            Ok(check(&on_a_port("run-nginx", &["check".into()])?))
        }),
        ("nginx auth_request to portcullis, std guest", &|| {
            let nginx = on_a_port(
                "run-nginx",
                &["auth-request".into(), ours.url("/auth/verify")],
            )?;
            Ok(check(&nginx).with(ours.clone()))
        }),
        ("smg 1.13.0, a refusal", &|| {
            Ok(refusal(
                &on_a_port("run-smg", &[backend.url("")])?,
                CONNECTIONS,
                &backend,
            ))
        }),
        ("vllm-router 0.1.17, a refusal, 4 connections", &|| {
            Ok(refusal(
                &on_a_port("run-vllm-router", &[backend.url("")])?,
                VLLM_CONNECTIONS,
                &backend,
            ))
        }),
    ];

    let mut contenders = Vec::new();
    for (name, start) in peers {
        super::progress(&format!("installing and starting {name}"));
        match start().and_then(warm_up) {
            Ok(contender) => contenders.push(Contender {
                name: name.to_owned(),
                ..contender
            }),
            Err(error) => super::progress(&format!("SKIPPED {name}: {error:#}")),
        }
    }

    Ok(contenders)
}

/// Returns what one call of an extism plugin takes, in the words of its program, or why that is
/// unknown. extism has no HTTP.
pub(super) fn extism() -> String {
    super::progress("installing and calling extism");
    match script("run-extism").stderr(Stdio::inherit()).output() {
        Ok(done) if done.status.success() => String::from_utf8_lossy(&done.stdout).into_owned(),
        Ok(done) => format!("SKIPPED extism: {}", done.status),
        Err(error) => format!("SKIPPED extism: {error}"),
    }
}

fn check(server: &Arc<Server>) -> Contender {
    Contender::new("", server, "/check", &[bearer(TOKEN)])
}

/// Routers for models let a plugin refuse a request at once. An accepted one is passed to a
/// backend, which would be measured as well.
fn refusal(server: &Arc<Server>, connections: u32, backend: &Arc<Server>) -> Contender {
    let question = Question {
        method: "POST",
        path: "/v1/chat/completions",
        headers: vec!["x-api-key: wrong".into(), bearer("wrong")],
        body: r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
        answer: Answer::Refused,
    };

    Contender {
        question,
        connections,
        ..check(server)
    }
    .with(backend.clone())
}

/// Until it answers every request of a second as it should.
fn warm_up(contender: Contender) -> anyhow::Result<Contender> {
    let load = Load {
        connections: contender.connections,
        time: Duration::from_secs(1),
    };
    let start = Instant::now();
    loop {
        match drive(&contender.server, &contender.question, load) {
            Ok(_) => return Ok(contender),
            Err(error) if start.elapsed() > WARMS_UP => return Err(error),
            Err(_) => std::thread::park_timeout(Duration::from_millis(500)),
        }
    }
}
