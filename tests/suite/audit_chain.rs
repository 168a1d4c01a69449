//! The audit log as evidence: every edit is found, and a restart, a crash or a second process
//! leaves one chain.

use portcullis_dashboard::audit::{
    AUDIT_FILE, AuditLog, EventName, Expected, IMPORTANT_FILE, Record, Remark, RemarkKind,
    Rotation, public_key, verify,
};
use portcullis_tests::{
    DRAIN_SECRET, Finished, Home, Process, SOON, binary, eventually, get, post,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Small files, so that a log has all of them.
const SMALL: Rotation = Rotation {
    max_file_bytes: 12_000,
    kept_files: 5,
};
/// A public key that signs nothing here: that of RFC 8032, section 7.1, test 1.
const OTHER_KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/// A log of several processes, each of which fills a file.
fn fill(home: &Path, processes: usize) {
    for process in 0..processes {
        let log = AuditLog::start_with(home, SMALL).expect("a thread");
        for number in 0..30 {
            let record = Record::now(EventName::DrainBegin)
                .with("principal", "nas")
                .with("ip", "192.0.2.1")
                .with("reason", format!("drain {number} of process {process}"));
            log.write(record);
        }
        log.close();
        assert_eq!(log.dropped(), 0);
    }
}

fn findings(home: &Path, expected: &Expected) -> Vec<Remark> {
    let mut findings = Vec::new();
    let mut keep = |remark: Remark| {
        if remark.kind == RemarkKind::Finding {
            findings.push(remark);
        }
    };
    let summary =
        verify(home, &home.join(AUDIT_FILE), expected, &mut keep).expect("a readable log");
    let count = summary.expect("there is a log").findings;
    assert_eq!(usize::try_from(count), Ok(findings.len()));
    findings
}

/// The files of a log, the oldest first.
#[derive(Clone, PartialEq, Eq)]
struct Files(Vec<(PathBuf, Vec<Vec<u8>>)>);

impl Files {
    fn read(home: &Path) -> Self {
        let numbered = (1..=SMALL.kept_files)
            .rev()
            .map(|number| home.join(format!("{AUDIT_FILE}.{number}")));
        let paths = numbered
            .chain([home.join(AUDIT_FILE)])
            .filter(|path| path.exists());
        let lines = |path: &Path| -> Vec<Vec<u8>> {
            let bytes = fs::read(path).expect("a log");
            bytes
                .split_inclusive(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect()
        };
        Self(paths.map(|path| (path.clone(), lines(&path))).collect())
    }

    fn write(&self) {
        for (path, lines) in &self.0 {
            fs::write(path, lines.concat()).expect("the log is ours");
        }
    }

    fn lines(&self) -> usize {
        self.0.iter().map(|(_, lines)| lines.len()).sum()
    }

    /// The file and the place in it of a line of the whole log.
    fn place(&self, mut line: usize) -> (usize, usize) {
        for (file, (_, lines)) in self.0.iter().enumerate() {
            if line < lines.len() {
                return (file, line);
            }
            line -= lines.len();
        }
        unreachable!("a line of the log")
    }

    fn line(&mut self, line: usize) -> &mut Vec<u8> {
        let (file, place) = self.place(line);
        &mut self.0[file].1[place]
    }

    fn remove(&mut self, line: usize) -> Vec<u8> {
        let (file, place) = self.place(line);
        self.0[file].1.remove(place)
    }

    fn insert(&mut self, line: usize, bytes: Vec<u8>) {
        let (file, place) = self.place(line);
        self.0[file].1.insert(place, bytes);
    }

    fn append(&mut self, bytes: Vec<u8>) {
        self.0.last_mut().expect("a file").1.push(bytes);
    }

    fn cut(&mut self, bytes: usize) {
        let (_, lines) = self.0.last_mut().expect("a file");
        let mut content = lines.concat();
        content.truncate(content.len() - bytes.min(content.len()));
        *lines = vec![content];
    }
}

/// Numbers without a pattern, the same in each run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("a small number")
    }
}

/// The line that anyone can append who may write to the file: its number and its hash are right.
/// With `copies_mac`, it has the code of the line before.
fn forged_after(last: &[u8], copies_mac: bool) -> Vec<u8> {
    let last: Value = serde_json::from_slice(last).expect("a line of the chain");
    let text = |key: &str| last[key].as_str().unwrap_or_default();
    let seq = last["seq"].as_u64().expect("a number") + 1;
    let mut content = format!(
        r#"{{"ts":"{}","event":"drain_cancel","principal":"eve","seq":{seq}"#,
        text("ts")
    );
    if copies_mac {
        write!(content, r#","mac":"{}""#, text("mac")).expect("text grows");
    }
    let chain = Sha256::new()
        .chain_update(hex::decode(text("chain")).expect("a hash"))
        .chain_update(&content)
        .finalize();
    format!("{content},\"chain\":\"{}\"}}\n", hex::encode(chain)).into_bytes()
}

/// Appends such a line to a log of a home.
fn forge(home: &Home, log: &str) {
    let path = home.file(log);
    let text = fs::read_to_string(&path).expect("a log");
    let last = text.lines().last().expect("a line");
    OpenOptions::new()
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(&forged_after(last.as_bytes(), false)))
        .expect("the log is ours");
}

/// Changes the log, and says how.
fn edit(files: &mut Files, numbers: &mut Numbers) -> String {
    let count = files.lines();
    let line = numbers.below(count);
    let other = (line + 1 + numbers.below(count - 1)) % count;
    match numbers.below(9) {
        0 | 1 => {
            let bit = numbers.below(8);
            let bytes = files.line(line);
            let byte = numbers.below(bytes.len());
            bytes[byte] ^= 1 << bit;
            format!("bit {bit} of byte {byte} of line {line} is another")
        }
        2 => {
            files.remove(line);
            format!("line {line} is removed")
        }
        3 => {
            let (one, two) = (files.line(line).clone(), files.line(other).clone());
            *files.line(line) = two;
            *files.line(other) = one;
            format!("lines {line} and {other} are swapped")
        }
        4 => {
            let again = files.line(line).clone();
            files.insert(other, again);
            format!("line {line} stands before line {other} as well")
        }
        5 => {
            let bytes = 1 + numbers.below(files.0.last().expect("a file").1.concat().len());
            files.cut(bytes);
            format!("the last {bytes} bytes are cut off")
        }
        6 => {
            let moved = files.remove(line);
            files.insert(other.min(count - 2), moved);
            format!("line {line} is moved to {other}")
        }
        7 => {
            let lines = 1 + numbers.below(3);
            let copies_mac = numbers.below(2) == 1;
            for _ in 0..lines {
                let forged = forged_after(files.line(files.lines() - 1), copies_mac);
                files.append(forged);
            }
            format!("{lines} lines are appended (with a mac: {copies_mac})")
        }
        _ => {
            let younger = 1 + numbers.below(files.0.len() - 1);
            let last = files.0[younger - 1].1.pop().expect("a line");
            files.0[younger].1.insert(0, last);
            format!("the last line before file {younger} is its first")
        }
    }
}

#[test]
fn thousand_edits_are_found() {
    let mut numbers = Numbers(0x5eed_cafe_f00d_0001);
    for processes in [3, 9] {
        let home = tempfile::tempdir().expect("a folder");
        fill(home.path(), processes);
        let expected = Expected {
            rotation: SMALL,
            ..Expected::default()
        };
        assert_eq!(findings(home.path(), &expected), []);
        let intact = Files::read(home.path());
        assert!(intact.0.len() > 2, "there are older files");
        for _ in 0..500 {
            let mut files = intact.clone();
            let what = edit(&mut files, &mut numbers);
            if files == intact {
                continue;
            }
            files.write();
            assert!(
                !findings(home.path(), &expected).is_empty(),
                "{what}, after {processes} processes"
            );
        }
        intact.write();
        assert_eq!(findings(home.path(), &expected), []);
    }
}

#[test]
fn missing_files_are_found_and_those_that_rotation_deleted_are_not() {
    let home = tempfile::tempdir().expect("a folder");
    fill(home.path(), 9);
    let expected = Expected {
        rotation: SMALL,
        ..Expected::default()
    };
    assert_eq!(findings(home.path(), &expected), []);
    let files = Files::read(home.path());
    for (path, _) in &files.0 {
        fs::remove_file(path).expect("a log");
        assert!(
            !findings(home.path(), &expected).is_empty(),
            "{}",
            path.display()
        );
        files.write();
    }
    fs::remove_file(home.path().join("audit_head")).expect("the file of the heads");
    assert!(
        !findings(home.path(), &expected).is_empty(),
        "a cut could not be noticed"
    );
}

/// Seconds of a flood: a few, or `PORTCULLIS_AUDIT_FLOOD_SECONDS`.
fn flood_seconds() -> u32 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the length of a test is no setting of the program"
    )]
    let asked = std::env::var("PORTCULLIS_AUDIT_FLOOD_SECONDS").ok();
    asked.map_or(3, |seconds| seconds.parse().expect("a number of seconds"))
}

/// Writes 100,000 calls of services per second, each of another principal.
fn flood(log: &AuditLog, seconds: u32) {
    const TICK: Duration = Duration::from_millis(10);
    let began = Instant::now();
    for tick in 0..seconds * 100 {
        for number in 0..1_000 {
            let record = Record::now(EventName::TokenAuthSuccess)
                .with("principal", format!("{tick}-{number}"))
                .with("path", "/metrics");
            log.write(record);
        }
        while began.elapsed() < TICK * (tick + 1) {
            thread::yield_now();
        }
    }
}

#[test]
fn hundred_thousand_calls_per_second_take_no_drain_and_no_sign_in_its_place() {
    let home = tempfile::tempdir().expect("a folder");
    let log = AuditLog::start(home.path()).expect("a thread");
    let mut written = 0;
    thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&log, flood_seconds()));
        let mut next = Instant::now();
        while !flooding.is_finished() {
            if Instant::now() < next {
                thread::yield_now();
                continue;
            }
            next += Duration::from_millis(10);
            log.write(
                Record::now(EventName::DrainBegin).with("principal", format!("nas-{written}")),
            );
            log.write(
                Record::now(EventName::LoginSuccess).with("user_id", format!("ada-{written}")),
            );
            written += 1;
        }
    });
    log.close();

    let important = fs::read_to_string(home.path().join(IMPORTANT_FILE)).expect("a log");
    for number in 0..written {
        let (drain, sign_in) = (format!("\"nas-{number}\""), format!("\"ada-{number}\""));
        assert!(
            important.contains(&drain) && important.contains(&sign_in),
            "number {number} of {written}"
        );
    }
    assert!(written > 100, "{written} drains");
    assert_eq!(findings(home.path(), &Expected::default()), []);
}

#[test]
fn key_is_the_homes_own() {
    let home = tempfile::tempdir().expect("a folder");
    fill(home.path(), 2);
    let own = public_key(home.path()).expect("a key");
    let with = |key| Expected {
        public_key: Some(key),
        rotation: SMALL,
        ..Expected::default()
    };
    assert_eq!(findings(home.path(), &with(own)), []);
    let other = OTHER_KEY.parse().expect("a key");
    let found = findings(home.path(), &with(other));
    assert!(
        !found.is_empty()
            && found
                .iter()
                .all(|remark| remark.sentence.contains("another key"))
    );
    let mode = fs::metadata(home.path().join("audit_key"))
        .expect("a key")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// The chain of a log, made again over lines that were changed, as anyone can do it. A checkpoint
/// names the hash before it.
fn chained_anew(text: &str) -> (String, [u8; 32]) {
    let mut previous = [0; 32];
    let mut log = String::new();
    for line in text.lines() {
        let (content, _) = line
            .rsplit_once(",\"chain\":\"")
            .expect("a line of the chain");
        let content = match content.split_once("\"head\":\"") {
            Some((before, after)) => format!(
                "{before}\"head\":\"{}{}",
                hex::encode(previous),
                &after[64..]
            ),
            None => content.to_owned(),
        };
        previous = Sha256::new()
            .chain_update(previous)
            .chain_update(&content)
            .finalize()
            .into();
        writeln!(log, "{content},\"chain\":\"{}\"}}", hex::encode(previous)).expect("text grows");
    }
    (log, previous)
}

#[test]
fn log_that_was_written_anew_without_the_key_is_found() {
    let home = tempfile::tempdir().expect("a folder");
    let log = AuditLog::start_with(home.path(), Rotation::default()).expect("a thread");
    log.write(Record::now(EventName::DrainBegin).with("principal", "nas"));
    log.close();
    let own = public_key(home.path()).expect("a key");
    let expected = Expected {
        public_key: Some(own),
        ..Expected::default()
    };
    assert_eq!(findings(home.path(), &expected), []);

    let path = home.path().join(AUDIT_FILE);
    let text = fs::read_to_string(&path).expect("a log");
    let (same, end) = chained_anew(&text);
    assert_eq!(same, text, "the chain is made as documented");
    let (forged, forged_end) = chained_anew(&text.replace("\"nas\"", "\"eve\""));
    fs::write(&path, forged).expect("the log is ours");
    let head = home.path().join("audit_head");
    let heads = fs::read_to_string(&head).expect("where the logs end");
    fs::write(
        head,
        heads.replace(&hex::encode(end), &hex::encode(forged_end)),
    )
    .expect("the file is ours");
    let found = findings(home.path(), &expected);
    for part in [
        "the signature of the checkpoint is wrong",
        "not written with the key of the home",
        "the file audit_head was changed",
    ] {
        let is_said = |remark: &Remark| remark.sentence.contains(part);
        assert!(found.iter().any(is_said), "{part}: {found:?}");
    }
}

fn drain(dashboard: &Process, body: &str) {
    let authorization = format!("Bearer {DRAIN_SECRET}");
    let reply = post(
        &dashboard.url("/api/gateway/drain"),
        &[("authorization", &authorization)],
        body,
    );
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// A dashboard that drained once, and has ended.
fn drained(home: &Home) {
    let mut dashboard = home.dashboard();
    drain(&dashboard, "{}");
    assert_eq!(dashboard.terminate().code(), Some(0));
}

fn verified(home: &Home, arguments: &[&str]) -> Finished {
    Process::run(home, &[&["audit", "verify"][..], arguments].concat(), &[])
}

fn restarted(home: &Home, event: &str) -> Value {
    let lines = home.audit();
    lines
        .into_iter()
        .rfind(|line| line["event"] == event)
        .unwrap_or_default()
}

#[test]
fn chain_is_as_documented_over_restarts_and_a_second_process() {
    let home = Home::new();
    drained(&home);
    let mut killed = home.dashboard();
    drain(&killed, r#"{"action":"cancel"}"#);
    eventually("the cancellation is audited", SOON, || {
        home.audit()
            .iter()
            .any(|line| line["event"] == "drain_cancel")
            .then_some(())
    });
    let ended = Process::run(&home, &["session", "end", "--all"], &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    killed.kill();
    drained(&home);

    let text = fs::read_to_string(home.file(AUDIT_FILE)).expect("a log");
    let mut previous = [0_u8; 32];
    for (place, line) in text.lines().enumerate() {
        assert!(line.starts_with(r#"{"ts":""#), "{line}");
        let (content, end) = line.split_at(line.len() - 76);
        previous = Sha256::new()
            .chain_update(previous)
            .chain_update(content)
            .finalize()
            .into();
        assert_eq!(end, format!(r#","chain":"{}"}}"#, hex::encode(previous)));
        let (before, mac) = content
            .strip_suffix('"')
            .and_then(|content| content.rsplit_once(r#","mac":""#))
            .expect("a code in each line");
        assert!(
            before.ends_with(&format!(r#","seq":{}"#, place + 1)) && mac.len() == 32,
            "{content}"
        );
    }
    let lines = home.audit();
    let first = lines.first().expect("a line");
    assert_eq!(
        (&first["event"], &first["reason"]),
        (&"chain_started".into(), &"new".into())
    );
    assert!(
        lines.iter().all(|line| line["event"] != "chain_restarted"),
        "{text}"
    );
    let begin = lines
        .iter()
        .find(|line| line["event"] == "drain_begin")
        .expect("a drain");
    assert_eq!(
        (&begin["principal"], &begin["ip"]),
        (&"drain-control".into(), &"127.0.0.1".into())
    );
    assert_eq!(lines.last().expect("a line")["event"], "checkpoint");

    let good = verified(&home, &[]);
    assert_eq!(good.code, Some(0), "{}", good.stdout);
    assert!(
        good.stdout.contains("dashboard-auth.log: ") && good.stdout.contains(": good"),
        "{}",
        good.stdout
    );
    let seq = lines.len();
    assert_eq!(
        verified(&home, &["--expect-seq", &seq.to_string()]).code,
        Some(0)
    );
    let short = verified(&home, &["--expect-seq", &(seq + 1).to_string()]);
    assert_eq!(short.code, Some(1));
    assert!(
        short.stdout.contains("was cut: it ends at seq"),
        "{}",
        short.stdout
    );
}

#[test]
fn verify_names_the_line_and_the_key() {
    let home = Home::new();
    drained(&home);
    let key = Process::run(&home, &["audit", "key"], &[])
        .stdout
        .trim()
        .to_owned();
    assert_eq!(verified(&home, &["--public-key", &key]).code, Some(0));
    let other = verified(&home, &["--public-key", OTHER_KEY]);
    assert!(
        other.code == Some(1) && other.stdout.contains("signed by another key"),
        "{}",
        other.stdout
    );
    assert_eq!(verified(&home, &["--public-key", "x"]).code, Some(64));

    let log = home.file(AUDIT_FILE);
    let text = fs::read_to_string(&log).expect("a log");
    let place = text
        .lines()
        .position(|line| line.contains("\"drain_begin\""))
        .expect("a drain")
        + 1;
    fs::write(&log, text.replace("\"drain-control\"", "\"someone-else\""))
        .expect("the log is ours");
    let changed = verified(&home, &[]);
    assert_eq!(changed.code, Some(1));
    let found = format!("FINDING: dashboard-auth.log:{place}: seq {place}: ");
    assert!(changed.stdout.contains(&found), "{}", changed.stdout);

    let empty = Home::new();
    let absent = verified(&empty, &[]);
    assert!(
        absent.code == Some(1) && absent.stderr.contains("there is no audit log"),
        "{}",
        absent.stderr
    );
}

#[test]
fn crash_is_noted_and_what_an_editor_leaves_is_a_finding() {
    let home = Home::new();
    drained(&home);
    let log = home.file(AUDIT_FILE);
    let torn = br#"{"ts":"2026-01-01T00:00:00Z","event":"drain_b"#;
    OpenOptions::new()
        .append(true)
        .open(&log)
        .and_then(|mut file| file.write_all(torn))
        .expect("half a line");
    let found = verified(&home, &[]);
    assert!(
        found.code == Some(1) && found.stdout.contains("the last line has no end"),
        "{}",
        found.stdout
    );

    drained(&home);
    let line = restarted(&home, "chain_restarted");
    assert_eq!(
        (&line["reason"], &line["torn_bytes"]),
        (&"torn".into(), &torn.len().into())
    );
    assert_eq!(line["torn_sha256"], hex::encode(Sha256::digest(torn)));
    let noted = verified(&home, &[]);
    assert_eq!(noted.code, Some(0), "{}", noted.stdout);
    assert!(
        noted.stdout.contains("a crash or loss of power"),
        "{}",
        noted.stdout
    );

    let text = fs::read_to_string(&log).expect("a log");
    let kept: Vec<_> = text.lines().take(3).collect();
    fs::write(&log, kept.join("\n") + "\n").expect("the log is ours");
    drained(&home);
    assert_eq!(restarted(&home, "chain_restarted")["reason"], "cut");
    let cut = verified(&home, &[]);
    assert!(
        cut.code == Some(1) && cut.stdout.contains("had been cut off"),
        "{}",
        cut.stdout
    );

    fs::remove_file(&log).expect("the log");
    drained(&home);
    let line = restarted(&home, "chain_started");
    assert_eq!(line["reason"], "missing");
    assert!(
        line["seq"].as_u64() > line["expected_seq"].as_u64(),
        "the numbers go on: {line}"
    );
    assert_eq!(verified(&home, &[]).code, Some(1));
}

#[test]
fn lines_from_before_the_chain_are_kept_and_said_to_be_unproven() {
    let home = Home::new();
    fs::create_dir(home.file("logs")).expect("a folder in the home");
    home.write(
        AUDIT_FILE,
        "{\"ts\":\"2026-01-01T00:00:00Z\",\"event\":\"drain_begin\"}\n",
    );
    drained(&home);
    assert_eq!(restarted(&home, "chain_started")["reason"], "unchained");
    let checked = verified(&home, &[]);
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);
    assert!(
        checked.stdout.contains("from before the chain"),
        "{}",
        checked.stdout
    );
}

#[test]
fn lines_are_found_and_exported() {
    let home = Home::new();
    drained(&home);
    let run = |arguments: &[&str]| {
        let finished = Process::run(&home, &[&["audit"][..], arguments].concat(), &[]);
        assert_eq!(finished.code, Some(0), "{arguments:?} {}", finished.stderr);
        finished.stdout
    };
    let drains = run(&[
        "query",
        "--event",
        "drain_begin",
        "--user",
        "drain-control",
        "--since",
        "1h",
        "--json",
    ]);
    let drain: Value = serde_json::from_str(drains.trim()).expect("one line");
    assert_eq!(drain["event"], "drain_begin");
    assert_eq!(
        run(&["query", "--event", "drain_begin", "--until", "1h"]),
        ""
    );
    assert_eq!(run(&["query", "--user", "someone-else"]), "");
    let text = run(&["query", "--event", "drain_begin", "--important"]);
    assert!(
        text.contains("drain_begin principal=drain-control"),
        "{text}"
    );

    let csv = run(&["export", "--format", "csv", "--event", "drain_begin"]);
    assert!(
        csv.starts_with("ts,event,seq,") && csv.lines().count() == 2,
        "{csv}"
    );
    let ocsf = run(&["export", "--format", "ocsf", "--event", "drain_begin"]);
    let event: Value = serde_json::from_str(ocsf.trim()).expect("one event");
    assert_eq!(
        (&event["class_uid"], &event["unmapped"]["principal"]),
        (&0.into(), &"drain-control".into())
    );
    assert_eq!(
        run(&["export", "--format", "json"]),
        fs::read_to_string(home.file(AUDIT_FILE)).expect("a log")
    );

    let unknown = Process::run(&home, &["audit", "query", "--event", "drain_begun"], &[]);
    assert_eq!(unknown.code, Some(64), "{}", unknown.stderr);
    assert!(
        unknown.stderr.contains("did you mean drain_begin?"),
        "{}",
        unknown.stderr
    );
}

/// Runs a command whose stdout has no reader any more, as after `| head`.
fn unread(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(binary())
        .arg("--home")
        .arg(home.path())
        .args(arguments)
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("the command runs");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn reader_that_ends_early_is_no_failure() {
    let home = Home::new();
    drained(&home);
    for arguments in [
        &["audit", "query"][..],
        &["audit", "query", "--json"],
        &["audit", "export", "--format", "csv"],
        &["audit", "verify"],
        &["config", "check"],
        &["config", "schema"],
        &["openapi"],
        &["completions", "bash"],
        &["session", "list"],
        &["provider", "list"],
    ] {
        let (code, stderr) = unread(&home, arguments);
        let read = Process::run(&home, arguments, &[]);
        assert_eq!(code, read.code, "{arguments:?} {stderr}");
        assert_eq!(stderr, read.stderr, "{arguments:?}");
    }
}

#[test]
fn forgery_stays_one_without_the_key_of_the_home() {
    let home = Home::new();
    drained(&home);
    let key = Process::run(&home, &["audit", "key"], &[]).stdout;
    let path = home.file("audit_key");
    fs::write(&path, "garbage\n").expect("the key is ours");
    let broken = verified(&home, &[]);
    assert_eq!(broken.code, Some(1), "{}", broken.stdout);
    assert!(
        broken.stdout.contains("the key of the home cannot be read"),
        "{}",
        broken.stdout
    );

    fs::remove_file(&path).expect("the key");
    let missing = verified(&home, &[]);
    assert_eq!(missing.code, Some(2), "{}", missing.stdout);
    assert!(
        missing.stdout.contains("UNKNOWN: ") && !missing.stdout.contains(": good"),
        "{}",
        missing.stdout
    );
    let doctor = Process::run(&home, &["doctor"], &[]).stdout;
    assert!(doctor.contains("the key of the log is missing"), "{doctor}");

    let given = verified(&home, &["--public-key", key.trim()]);
    assert_eq!(given.code, Some(0), "{}", given.stdout);
    let log = home.file(AUDIT_FILE);
    let text = fs::read_to_string(&log).expect("a log");
    let (forged, _) = chained_anew(&text.replace("drain-control", "someone-else-"));
    fs::write(&log, forged).expect("the log is ours");
    assert_eq!(verified(&home, &["--public-key", key.trim()]).code, Some(1));
}

/// The log, once it has the event so many times.
fn audited(home: &Home, event: &str, times: usize) -> Vec<Value> {
    eventually(event, SOON, || {
        let lines = home.audit();
        let count = lines.iter().filter(|line| line["event"] == event).count();
        (count == times).then_some(lines)
    })
}

#[test]
fn line_that_was_added_beside_a_running_dashboard_is_found_and_not_signed_without_a_word() {
    const IMPORTANT: &str = "logs/dashboard-auth-important.log";
    let home = Home::new();
    let mut dashboard = home.dashboard();
    drain(&dashboard, "{}");
    audited(&home, "drain_begin", 1);
    let good = verified(&home, &[]);
    assert_eq!(good.code, Some(0), "{}", good.stdout);

    forge(&home, AUDIT_FILE);
    forge(&home, IMPORTANT);
    let found = verified(&home, &[]);
    let count = found.stdout.matches("not written with the key of the home");
    assert_eq!(
        (found.code, count.count()),
        (Some(1), 2),
        "{}",
        found.stdout
    );

    drain(&dashboard, "{}");
    audited(&home, "drain_begin", 2);
    let log = dashboard.log();
    assert!(log.contains("lines that Portcullis did not write"), "{log}");
    assert_eq!(dashboard.terminate().code(), Some(0));
    let lines = home.audit();
    let place = |event: &str, from: usize| {
        let is_it = |line: &Value| line["event"] == event;
        from + lines[from..].iter().position(is_it).expect(event)
    };
    let forged = place("drain_cancel", 0);
    let mark = place("chain_restarted", forged);
    assert_eq!(mark, forged + 1, "before any checkpoint: {lines:?}");
    assert_eq!(
        (&lines[mark]["reason"], &lines[mark]["found_seq"]),
        (&"foreign".into(), &lines[forged]["seq"])
    );
    assert_eq!(lines[mark]["own_seq"], lines[forged - 1]["seq"]);

    // The word stays, also for a reader with the public key alone.
    let key = Process::run(&home, &["audit", "key"], &[]).stdout;
    assert_eq!(verified(&home, &[]).code, Some(1));
    fs::remove_file(home.file("audit_key")).expect("the key is ours");
    let public = verified(&home, &["--public-key", key.trim()]);
    assert_eq!(public.code, Some(1), "{}", public.stdout);
    assert!(
        public.stdout.contains("that it had not written"),
        "{}",
        public.stdout
    );
}

#[test]
fn line_that_was_added_after_a_clean_end_is_an_error_of_the_doctor() {
    let home = Home::new();
    drained(&home);
    assert_eq!(verified(&home, &[]).code, Some(0));
    forge(&home, AUDIT_FILE);
    assert_eq!(verified(&home, &[]).code, Some(1));
    let doctor = Process::run(&home, &["doctor"], &[]);
    assert_eq!(doctor.code, Some(1), "{}", doctor.stdout);
    assert!(
        doctor.stdout.contains("is not as it was written"),
        "{}",
        doctor.stdout
    );

    // A command that writes to the log says so, as a dashboard does.
    let ended = Process::run(&home, &["session", "end", "--all"], &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(restarted(&home, "chain_restarted")["reason"], "foreign");
    assert_eq!(verified(&home, &[]).code, Some(1));
}

#[test]
fn process_that_was_killed_leaves_no_finding() {
    let home = Home::new();
    for begun in 1..=5 {
        let mut dashboard = home.dashboard();
        drain(&dashboard, "{}");
        audited(&home, "drain_begin", begun);
        dashboard.kill();
        let checked = verified(&home, &[]);
        assert_eq!(checked.code, Some(0), "{}", checked.stdout);
    }
}

#[test]
fn verification_beside_a_busy_dashboard_has_no_findings() {
    let home = tempfile::tempdir().expect("a folder");
    let log = AuditLog::start_with(home.path(), SMALL).expect("a thread");
    log.write(Record::now(EventName::DrainBegin));
    eventually("the head is written", SOON, || {
        home.path().join("audit_head").exists().then_some(())
    });
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 0..2_000 {
                log.write(Record::now(EventName::DrainBegin).with("principal", number));
                thread::yield_now();
            }
        });
        let expected = Expected {
            rotation: SMALL,
            ..Expected::default()
        };
        while !writing.is_finished() {
            assert_eq!(findings(home.path(), &expected), []);
        }
    });
    log.close();
}

#[test]
fn log_without_a_line_is_said_to_have_none() {
    let home = Home::new();
    home.write("empty.log", "");
    home.write("other.log", "some text\n{\"a\":1}\n");
    for file in ["empty.log", "other.log"] {
        let path = home.file(file);
        let path = path.to_str().expect("a path of text");
        for has_key in [false, true] {
            if has_key {
                Process::run(&home, &["audit", "key"], &[]);
            }
            let checked = verified(&home, &["--log", path]);
            assert_eq!(checked.code, Some(2), "{file}: {}", checked.stdout);
            assert!(
                !checked.stdout.contains("hour") && !checked.stdout.contains("killed"),
                "{file}: {}",
                checked.stdout
            );
        }
        let given = verified(&home, &["--log", path, "--public-key", OTHER_KEY]);
        assert!(
            given.code == Some(1) && !given.stdout.contains("hour"),
            "{file}: {}",
            given.stdout
        );
    }

    drained(&home);
    for file in [AUDIT_FILE, "logs/dashboard-auth-important.log"] {
        fs::remove_file(home.file(file)).expect("the log is ours");
    }
    let absent = verified(&home, &[]);
    assert_eq!(absent.code, Some(1), "{}", absent.stdout);
    assert!(
        absent.stdout.contains("has no line of the chain") && !absent.stdout.contains("hour"),
        "{}",
        absent.stdout
    );
}

#[test]
fn result_that_cannot_be_printed_is_a_failure() {
    let home = Home::new();
    drained(&home);
    for arguments in [
        &["audit", "verify"][..],
        &["audit", "key"],
        &["audit", "query"],
    ] {
        let full = OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("a device of Linux");
        let output = Command::new(binary())
            .arg("--home")
            .arg(home.path())
            .args(arguments)
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .expect("the command runs");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn auditor_sees_who_was_refused_and_under_which_limits_a_component_ran() {
    let home = Home::with_guests(&["known"]);
    let mut dashboard = home.dashboard();
    let refused = get(
        &dashboard.url("/metrics"),
        &[("authorization", "Bearer scopeless-token")],
    );
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(dashboard.terminate().code(), Some(0));

    let lines = home.audit();
    let line = |event: &str| {
        let mut found = lines.iter().filter(|line| line["event"] == event);
        found.next().unwrap_or_else(|| unreachable!("{event}"))
    };
    let loaded = line("provider_loaded");
    assert_eq!(loaded["limits"]["memory_mib"], 64, "{loaded}");
    assert_eq!(loaded["limits"]["deadline_ms"], 2_000, "{loaded}");
    assert_eq!(
        loaded["grants"]["scopes"],
        serde_json::json!(["metrics.read"]),
        "{loaded}"
    );
    assert_eq!(loaded["grants"]["http"], serde_json::json!([]), "{loaded}");
    let failure = line("token_auth_failure");
    assert_eq!(
        (&failure["reason"], &failure["provider"]),
        (&"missing_scope".into(), &"known-0".into()),
        "{failure}"
    );
    assert!(failure["principal"].is_string(), "{failure}");
    assert_eq!(failure["component"], loaded["sha256"], "{failure}");
}
