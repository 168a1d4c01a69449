//! A load generator: some connections, each with one request in flight, for some seconds.

use super::child::say;
use super::figures::percentile_ms;
use super::process::cpu_time;
use super::tls_client;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;

/// How long a load runs before it counts: connections are opened, and caches fill.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long the last answers may take. A server that hangs ends the run.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// What is asked, over and over.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Plan {
    pub(crate) port: u16,
    pub(crate) target: String,
    /// Beside `Host`.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) connections: usize,
    pub(crate) time: Duration,
    pub(crate) over_tls: bool,
    /// Length of the right answer.
    pub(crate) answer_bytes: usize,
}

/// What came of a load.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    /// Requests, or handshakes.
    pub(crate) count: usize,
    /// Those that were not answered as they should be.
    pub(crate) wrong: usize,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Processor time of the generator.
    pub(crate) generator_seconds: f64,
}

/// What one connection found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) times: Vec<Duration>,
    pub(crate) wrong: usize,
}

/// The time in which a load counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    from: Instant,
    to: Instant,
}

impl Window {
    pub(crate) fn is_over(self, now: Instant) -> bool {
        now >= self.to
    }

    pub(crate) fn counts(self, start: Instant) -> bool {
        start >= self.from
    }
}

/// Runs a load. Prints `null` when it begins to count, and the [`Outcome`] at the end.
pub(crate) async fn run(plan: &Plan) {
    let tls = plan
        .over_tls
        .then(|| TlsConnector::from(tls_client::without_resumption()));
    run_workers(plan.connections, plan.time, |_, window| {
        ask(plan.clone(), tls.clone(), window)
    })
    .await;
}

/// Runs workers side by side, and says what they found.
pub(crate) async fn run_workers<W>(
    workers: usize,
    time: Duration,
    worker: impl Fn(usize, Window) -> W,
) where
    W: Future<Output = Found> + Send + 'static,
{
    let from = Instant::now() + WARM_UP;
    let window = Window {
        from,
        to: from + time,
    };
    let mut running: JoinSet<Found> = (0..workers).map(|number| worker(number, window)).collect();

    tokio::time::sleep_until(from.into()).await;
    say(&());
    let own = [std::process::id()];
    let before = cpu_time(&own);
    let mut all = Found::default();
    let end = tokio::time::Instant::from(window.to + LAST_ANSWERS);
    while let Some(found) = timeout_at(end, running.join_next())
        .await
        .expect("the server answers in time")
    {
        let found = found.expect("a worker does not panic");
        all.times.extend(found.times);
        all.wrong += found.wrong;
    }

    let seconds = from.elapsed().as_secs_f64();
    let generator_seconds = cpu_time(&own).saturating_sub(before).as_secs_f64();
    assert!(
        !all.times.is_empty(),
        "nothing was answered: {} attempts failed",
        all.wrong
    );
    all.times.sort_unstable();
    say(&Outcome {
        count: all.times.len(),
        wrong: all.wrong,
        seconds,
        p50_ms: percentile_ms(&all.times, 50),
        p99_ms: percentile_ms(&all.times, 99),
        generator_seconds,
    });
}

async fn ask(plan: Plan, tls: Option<TlsConnector>, window: Window) -> Found {
    let mut found = Found::default();
    let request = request(&plan);
    let mut connection = open(&plan, tls.as_ref()).await;
    loop {
        let start = Instant::now();
        if window.is_over(start) {
            return found;
        }
        let is_right = exchange(&mut connection, request.clone()).await == Some(plan.answer_bytes);
        if window.counts(start) {
            found.times.push(start.elapsed());
            found.wrong += usize::from(!is_right);
        }
        if connection.is_closed() {
            connection = open(&plan, tls.as_ref()).await;
        }
    }
}

async fn open(plan: &Plan, tls: Option<&TlsConnector>) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, plan.port))
        .await
        .expect("the server listens");
    stream.set_nodelay(true).expect("a socket option");
    match tls {
        None => speak(stream).await,
        Some(tls) => {
            speak(
                tls.connect(tls_client::server_name(), stream)
                    .await
                    .expect("a handshake"),
            )
            .await
        }
    }
}

/// Speaks HTTP/1.1 over a connection.
pub(crate) async fn speak<S>(stream: S) -> SendRequest<Empty<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .expect("no byte is sent yet");
    tokio::spawn(connection);
    sender
}

/// Asks once. Returns the length of an answer with 200; `None`: there was another one, or none.
pub(crate) async fn exchange(
    connection: &mut SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
) -> Option<usize> {
    connection.ready().await.ok()?;
    let response = connection.send_request(request).await.ok()?;
    let is_right = response.status() == StatusCode::OK;
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.ok()?.data_ref().map_or(0, Bytes::len);
    }
    is_right.then_some(length)
}

fn request(plan: &Plan) -> Request<Empty<Bytes>> {
    let host = format!("127.0.0.1:{}", plan.port);
    let start = Request::builder().uri(&plan.target).header("host", host);
    let headers = plan.headers.iter();
    let request = headers.fold(start, |request, (name, value)| request.header(name, value));
    request.body(Empty::new()).expect("a request")
}
