//! The log on stderr. A stranger who can cause a line can cause it as often as they like, so that
//! every line has a longest length, and every place in the code that logs has a bound on its lines.

use super::LogFormat;
use portcullis_dashboard::config::Environment;
use portcullis_observe::flood_limit::FloodLimit;
use portcullis_observe::request_id::RequestId;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroU32;
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info";
/// Longest line, in bytes. What a provider printed in a call has at most 4 KiB, and escapes make it
/// longer.
const MAX_LINE_BYTES: usize = 32 * 1024;
/// Lines that one place in the code may log at once.
const BURST: NonZeroU32 = NonZeroU32::new(200).expect("a constant that is not zero");
/// Between two lines of one place after the burst.
const PERIOD: Duration = Duration::from_millis(100);
/// Between two lines that say how many of one place were left out.
const NOTICE_PERIOD: Duration = Duration::from_secs(1);

/// Logs to stderr, at `info` unless `RUST_LOG` says otherwise.
pub(super) fn start(format: LogFormat, component: &'static str) {
    let filter = Environment::read().log_filter;
    let parsed = EnvFilter::builder().parse(filter.as_deref().unwrap_or(DEFAULT_FILTER));
    let is_wrong = parsed.is_err();
    let filter = parsed.unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    // A stderr that is not read any more must not bring anything down.
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || BoundedLines {
            output: io::stderr(),
            format,
            component,
        })
        .log_internal_errors(false);

    let limits = LineLimits::default();
    match format {
        LogFormat::Text => {
            let subscriber = subscriber
                .with_ansi(io::stderr().is_terminal())
                .with_target(false);
            subscriber.finish().with(limits).init();
        }
        LogFormat::Json => {
            subscriber
                .json()
                .flatten_event(true)
                .finish()
                .with(limits)
                .init();
            panic::set_hook(Box::new(log_panic));
        }
    }

    if is_wrong {
        tracing::warn!(
            "RUST_LOG is not used: write a level (error, warn, info, debug or trace), or a list such as \
             info,portcullis_sandbox=debug"
        );
    }
}

/// Logs a panic as an object like every other line, since what Rust prints by itself is no JSON.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let current = thread::current();
    let place = panic.location().map(ToString::to_string);
    let why = panic.payload_as_str().unwrap_or_default();
    tracing::error!(thread = current.name(), place, why, "panic");
}

/// Drops events before they are formatted, when their place in the code has logged too many.
#[derive(Default)]
struct LineLimits {
    /// By the name of the event, which holds its file and line.
    by_place: Mutex<HashMap<&'static str, Arc<LineLimit>>>,
}

struct LineLimit {
    lines: FloodLimit,
    notices: FloodLimit,
}

impl LineLimits {
    fn of(&self, place: &'static str) -> Arc<LineLimit> {
        let mut by_place = self.by_place.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = by_place.entry(place).or_insert_with(|| {
            Arc::new(LineLimit {
                lines: FloodLimit::new(BURST, PERIOD),
                notices: FloodLimit::new(NonZeroU32::MIN, NOTICE_PERIOD),
            })
        });
        limit.clone()
    }
}

impl<S: Subscriber> Layer<S> for LineLimits {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let place = event.metadata().name();
        let limit = self.of(place);
        if !limit.lines.pass() {
            return false;
        }
        if limit.lines.left_out() > 0 && limit.notices.pass() {
            let left_out = limit.lines.take_left_out();
            tracing::warn!(place, left_out, "log lines of one kind were left out");
        }
        true
    }
}

/// Writes lines of a bounded length, with the request that each belongs to. Lines of JSON also name
/// the component.
struct BoundedLines<W> {
    output: W,
    format: LogFormat,
    component: &'static str,
}

impl<W: Write> Write for BoundedLines<W> {
    /// Takes one whole line, as the formatter hands it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let id = RequestId::current();
        let id = id.as_ref().map(RequestId::as_str);
        let line_of_request = labelled(bounded(line, self.format), self.format, self.component, id);
        self.output.write_all(&line_of_request)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Adds the component and the id of the request. Neither needs an escape.
fn labelled<'a>(
    line: Cow<'a, [u8]>,
    format: LogFormat,
    component: &str,
    id: Option<&str>,
) -> Cow<'a, [u8]> {
    match (format, id) {
        (LogFormat::Text, None) => line,
        (LogFormat::Text, Some(id)) => {
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            Cow::Owned([text, b" request_id=", id.as_bytes(), b"\n"].concat())
        }
        (LogFormat::Json, id) => {
            let id = id
                .map(|id| format!(r#""request_id":"{id}","#))
                .unwrap_or_default();
            let start = format!(r#"{{"component":"{component}",{id}"#);
            let rest = line.strip_prefix(b"{").unwrap_or(&line);
            Cow::Owned([start.as_bytes(), rest].concat())
        }
    }
}

fn bounded(line: &[u8], format: LogFormat) -> Cow<'_, [u8]> {
    if line.len() <= MAX_LINE_BYTES {
        return Cow::Borrowed(line);
    }

    let bounded = match format {
        LogFormat::Text => {
            let start = String::from_utf8_lossy(&line[..MAX_LINE_BYTES]);
            format!("{start} (cut: {} bytes)\n", line.len())
        }
        // A part of an object is no JSON.
        LogFormat::Json => {
            let message = format!("a log line of {} bytes was left out", line.len());
            format!(
                "{}\n",
                serde_json::json!({"level": "WARN", "message": message})
            )
        }
    };

    Cow::Owned(bounded.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn place_that_logs_too_much_is_held_back_and_others_are_not() {
        let written = Written::default();
        let output = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || output.clone())
            .finish();
        tracing::subscriber::with_default(subscriber.with(LineLimits::default()), || {
            for _ in 0..5_000 {
                tracing::info!("flood");
            }
            tracing::info!("quiet");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let floods = text.lines().filter(|line| line.contains("flood")).count();
        assert!((200..500).contains(&floods), "{floods}");
        assert_eq!(
            text.lines().filter(|line| line.contains("quiet")).count(),
            1
        );
    }

    #[test]
    fn longest_line_is_bounded() {
        let long = "é".repeat(MAX_LINE_BYTES);
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = bounded(long.as_bytes(), format);
            assert!(line.len() < MAX_LINE_BYTES + 100 && line.ends_with(b"\n"));
        }
        let json = bounded(long.as_bytes(), LogFormat::Json);
        assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
        assert_eq!(&*bounded(b"short\n", LogFormat::Text), b"short\n");
    }

    #[test]
    fn line_names_its_component_and_its_request() {
        let of = |line: &str, format, id| {
            let line = labelled(Cow::Borrowed(line.as_bytes()), format, "dashboard", id);
            String::from_utf8(line.into_owned()).unwrap()
        };
        assert_eq!(of("x\n", LogFormat::Text, None), "x\n");
        assert_eq!(of("x\n", LogFormat::Text, Some("a1")), "x request_id=a1\n");
        for id in [None, Some("a1")] {
            let line = of("{\"level\":\"INFO\"}\n", LogFormat::Json, id);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(
                (&line["component"], &line["level"]),
                (&"dashboard".into(), &"INFO".into())
            );
            assert_eq!(line["request_id"].as_str(), id);
        }
    }
}
