//! Requests that two readers may read differently, sent to the real binary with an application
//! behind.
//!
//! Every request that reaches the application was decided by the gate once, for the path and the
//! caller that the application reads. No header that only the dashboard may set comes from outside,
//! in no spelling, and no part of a request arrives as a request of its own. The same seed sends
//! the same requests.

mod http2;
mod mutation;
mod recorder;
mod rules;

use super::people::{gated, signed_in};
use super::strangers::dice::Dice;
use portcullis_tests::{Home, Process, SOON};
use recorder::{Recorder, Seen};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

/// The value of each header that only the dashboard may set, where it comes from outside.
const EVIL: &str = "evil-6.6.6.6";
/// The header by which a case of HTTP/2 is known when its request arrives.
const CASE: &str = "x-case";
/// Connections at once.
const VISITORS: usize = 4;
/// The part of a path that the access log shows, in characters.
const LOGGED_CHARS: usize = 512;

/// A gated dashboard with three applications that one upstream serves.
struct Scene {
    recorder: Recorder,
    home: Home,
    dashboard: Process,
}

impl Scene {
    /// Starts one at this public URL, with more of `dashboard`. `prepare` puts files into its home.
    fn start(public_url: &str, more: &str, prepare: impl FnOnce(&Home)) -> Self {
        let recorder = Recorder::start();
        let app = |name: &str, path: &str, rest: &str| {
            format!(
                "    - {{name: {name}, path: {path}, upstream: 'http://127.0.0.1:{}', headers: {{X-Gate: {name}}}, {rest}}}\n",
                recorder.port
            )
        };
        let apps = [
            app("root", "/", "public_paths: [/hook]"),
            app("admin", "/admin", "allow: {groups: [of-no-one-here]}"),
            app("open", "/open", "allow: public"),
        ];
        let home = gated(public_url, &format!("{more}  apps:\n{}", apps.concat()));
        prepare(&home);
        let log = home.file("access.log");
        let log = log.to_str().expect("a path of text");
        let dashboard = home.dashboard_with(&["--port", "0", "--access-log", log], &[]);
        Self {
            recorder,
            home,
            dashboard,
        }
    }

    /// Has every visitor send its share of the requests.
    fn visit(&self, requests: usize, seed: u64, send: impl Fn(Dice, usize) + Sync) {
        println!("seed {seed}, {requests} requests");
        let send = &send;
        std::thread::scope(|scope| {
            for visitor in 0..VISITORS {
                let dice = Dice::new(seed * 100 + visitor as u64);
                scope.spawn(move || send(dice, requests / VISITORS));
            }
        });
    }

    /// Ends the dashboard, and compares what it decided with what arrived: at least so many
    /// requests.
    ///
    /// A request that is given up before its answer begins has no line in the access log.
    /// `may_be_given_up` has the cases for which that can be right.
    fn judge(mut self, least: usize, may_be_given_up: &BTreeSet<String>) {
        assert_eq!(
            self.dashboard.terminate().code(),
            Some(0),
            "{}",
            self.dashboard.log()
        );
        let log = self.dashboard.log();
        assert!(!log.contains("panicked"), "{log}");
        let decisions = self.decisions();
        let (seen, mut faults) = self.recorder.kept();
        let authority = format!("127.0.0.1:{}", self.recorder.port);
        let mut ids = BTreeSet::new();
        let mut given_up = 0;
        for request in &seen {
            faults.extend(rules::faults_of(request, &authority));
            let id = request.all("x-request-id").concat();
            match decisions.get(&id).map(Vec::as_slice) {
                Some([decision]) if is_of(request, decision) => {}
                None if !request.is_complete => {}
                None if may_be_given_up.contains(&request.all(CASE).concat()) => given_up += 1,
                None => faults.push(format!("not decided: {request:?}")),
                Some(others) => faults.push(format!("{others:?} decided for {request:?}")),
            }
            if !ids.insert(id) {
                faults.push(format!("two requests of one decision: {request:?}"));
            }
        }
        let shown = faults
            .iter()
            .take(20)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n");
        println!(
            "{} requests of {} decisions arrived; {given_up} were given up, of {} that may be",
            seen.len(),
            decisions.len(),
            may_be_given_up.len()
        );
        assert!(faults.is_empty(), "{} faults:\n{shown}", faults.len());
        let decided = seen.len() - given_up;
        assert!(
            decided >= least,
            "only {decided} requests arrived, beside {given_up} that were given up"
        );
    }

    /// The lines of the access log, by the id of the request.
    fn decisions(&self) -> BTreeMap<String, Vec<Value>> {
        let rotated = (1..=5).map(|number| format!("access.log.{number}"));
        let names = rotated.chain(["access.log".to_owned()]);
        let texts = names.filter_map(|name| fs::read_to_string(self.home.file(&name)).ok());
        let mut decisions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for line in texts.collect::<String>().lines() {
            let line: Value = serde_json::from_str(line).expect("a line is JSON");
            let id = line["request_id"].as_str().unwrap_or_default().to_owned();
            decisions.entry(id).or_default().push(line);
        }
        decisions
    }
}

/// Whether a request that arrived is the one that was decided.
fn is_of(request: &Seen, decision: &Value) -> bool {
    let path: String = request.path().chars().take(LOGGED_CHARS).collect();
    let caller = request.all("x-auth-user");
    decision["path"] == path
        && decision["method"] == request.method
        && decision["user"].as_str() == caller.first().copied()
}

/// Sends bytes on a connection of their own, and reads until it ends.
fn exchange(port: u16, bytes: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    // The dashboard may refuse before it has read all.
    let _ = stream.write_all(bytes);
    let _ = stream.read_to_end(&mut Vec::new());
}

fn send_over_http1(requests: usize, seed: u64) {
    let scene = Scene::start("http://agent.test", "", |_| ());
    let browser = signed_in(&scene.dashboard, "ada");
    let pairs: Vec<_> = browser
        .cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let cookies = pairs.join("; ");
    let port = scene.dashboard.port();
    scene.visit(requests, seed, |mut dice, share| {
        for number in 0..share {
            exchange(port, &mutation::case(&mut dice, number, &cookies));
        }
    });
    scene.judge(requests / 4, &BTreeSet::new());
}

#[test]
fn no_request_of_http1_is_read_in_two_ways() {
    send_over_http1(5_000, 1);
}

#[test]
#[ignore = "takes minutes"]
fn none_of_a_hundred_thousand_requests_of_http1_is_read_in_two_ways() {
    send_over_http1(100_000, 2);
}

#[test]
fn no_request_of_http2_is_read_in_two_ways() {
    http2::send(2_000, 3);
}

#[test]
#[ignore = "takes minutes"]
fn none_of_a_hundred_thousand_requests_of_http2_is_read_in_two_ways() {
    http2::send(100_000, 4);
}
