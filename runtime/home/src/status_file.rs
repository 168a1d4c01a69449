use super::run_lock::{RUN_LOCKS, doubt_of_end};
use super::{ExitReason, GatewayState};
use crate::atomic_file::{self, Durability};
use crate::epoch::{Epoch, ProcessState, pid_namespace, process_start_time, process_state};
use crate::foreign_text::is_identifier;
use crate::home_lock::{self, GATEWAY_LOCK, LockState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The status file's name in the home.
pub const STATUS_FILE: &str = "gateway_state.json";

const KIND: &str = "hermes-gateway";

/// Maximum number of turns that the status file names. `active_agents` counts all.
const MAX_TURNS_TOLD: usize = 64;

/// A turn that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnInFlight {
    /// The session it belongs to.
    pub session: String,
    /// When the turn started.
    pub since: Timestamp,
}

/// The status that the gateway writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    pid: u32,
    kind: &'static str,
    start_time: Option<u64>,
    /// The state of the gateway.
    pub gateway_state: GatewayState,
    /// Why the gateway ended.
    pub exit_reason: Option<String>,
    restart_requested: bool,
    /// Restarts by request over this home, up to the start of this process.
    restarts: u64,
    /// The number of turns in flight.
    pub active_agents: usize,
    /// The oldest turns in flight, so that people can see which one is stuck.
    turns: Vec<TurnInFlight>,
    /// How many turns this process refused, by reason.
    turns_refused: BTreeMap<&'static str, u64>,
    /// `requested_at` of the marker that the gateway acts on.
    drain_requested_at: Option<Timestamp>,
    epoch: Option<String>,
    pid_namespace: Option<String>,
    updated_at: Timestamp,
    platforms: Map<String, Value>,
    /// The process that wrote the keys that only Portcullis has. The original keeps them when it
    /// writes the file.
    portcullis: WriterProcess,
}

/// A process, identified by its id and start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WriterProcess {
    pid: u32,
    start_time: Option<u64>,
}

impl Status {
    /// Returns the status of this process.
    pub fn of_this_process(
        gateway_state: GatewayState,
        active_agents: usize,
        exit_reason: Option<String>,
    ) -> Self {
        let pid = std::process::id();
        let start_time = process_start_time(pid);

        Self {
            pid,
            kind: KIND,
            start_time,
            gateway_state,
            exit_reason,
            restart_requested: false,
            restarts: 0,
            active_agents,
            turns: Vec::new(),
            turns_refused: BTreeMap::new(),
            drain_requested_at: None,
            epoch: Epoch::present().map(|epoch| epoch.as_str().to_owned()),
            pid_namespace: pid_namespace(),
            updated_at: Timestamp::now(),
            platforms: Map::new(),
            portcullis: WriterProcess { pid, start_time },
        }
    }
}

impl Status {
    /// Sets the drain that the gateway acts on.
    #[must_use]
    pub fn acting_on(self, drain_requested_at: Option<Timestamp>) -> Self {
        Self {
            drain_requested_at,
            ..self
        }
    }

    /// The same, with whether the process ends so that it is started again.
    #[must_use]
    pub fn restarting(self, restart_requested: bool) -> Self {
        Self {
            restart_requested,
            ..self
        }
    }

    /// The same, with the restarts by request over this home, as [`StatusFile::restarts`] counts
    /// them.
    #[must_use]
    pub fn after_restarts(self, restarts: u64) -> Self {
        Self { restarts, ..self }
    }

    /// The same, with how many turns were refused, by reason.
    #[must_use]
    pub fn with_refused(self, turns_refused: BTreeMap<&'static str, u64>) -> Self {
        Self {
            turns_refused,
            ..self
        }
    }

    /// The same, with its turns in flight; no more than `MAX_TURNS_TOLD`.
    #[must_use]
    pub fn with_turns(self, turns: impl Iterator<Item = TurnInFlight>) -> Self {
        Self {
            turns: turns.take(MAX_TURNS_TOLD).collect(),
            ..self
        }
    }
}

/// The state of a gateway, as a reader of the status file sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedState {
    /// A state that Portcullis defines.
    Known(GatewayState),
    /// Another program's word, such as `degraded`.
    Other(String),
    /// The state cannot be determined, for this reason.
    Unknown(String),
}

impl Serialize for ObservedState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(state) => state.serialize(serializer),
            Self::Other(word) => serializer.serialize_str(word),
            Self::Unknown(_) => serializer.serialize_str("unknown"),
        }
    }
}

/// What a reader knows of the gateway. A field of a wrong type counts as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReading {
    /// State of the gateway. `Stopped` only if it is certain that no gateway runs and no process of
    /// its turns is left.
    pub state: ObservedState,
    /// Turns in flight, if that is known.
    pub active_agents: Option<u64>,
    /// `requested_at` of the marker that the gateway acts on. The inner `None`: the marker has no
    /// time. The outer `None`: the status does not say, as the original's does not.
    pub drain_requested_at: Option<Option<Timestamp>>,
    /// When the gateway last wrote.
    pub updated_at: Option<String>,
    /// The oldest turns in flight; none if the status does not name them, as the original's does
    /// not.
    pub turns: Vec<TurnInFlight>,
    /// How many turns the gateway refused, by reason; empty if the status does not say.
    pub turns_refused: BTreeMap<String, u64>,
    /// Epoch of the gateway that runs, or of the next one. `None`: it is in another pid namespace
    /// and not known.
    pub epoch: Option<Epoch>,
}

impl StatusReading {
    fn stopped(updated_at: Option<String>) -> Self {
        let state = ObservedState::Known(GatewayState::Stopped);
        let epoch = Epoch::present();
        Self {
            state,
            active_agents: Some(0),
            epoch,
            ..Self::unknown(String::new(), updated_at)
        }
    }

    fn unknown(why: String, updated_at: Option<String>) -> Self {
        Self {
            state: ObservedState::Unknown(why),
            active_agents: None,
            drain_requested_at: None,
            updated_at,
            turns: Vec::new(),
            turns_refused: BTreeMap::new(),
            // A marker with the epoch of another namespace would count nowhere; one without counts
            // in every epoch.
            epoch: None,
        }
    }

    /// Returns whether a gateway runs; `None` if that cannot be determined.
    pub fn is_up(&self) -> Option<bool> {
        match &self.state {
            ObservedState::Known(GatewayState::Stopped | GatewayState::StartupFailed) => {
                Some(false)
            }
            ObservedState::Known(_) | ObservedState::Other(_) => Some(true),
            ObservedState::Unknown(_) => None,
        }
    }

    /// Returns whether the gateway is in this state.
    pub fn is(&self, state: GatewayState) -> bool {
        self.state == ObservedState::Known(state)
    }
}

/// The status file of one home.
#[derive(Clone, Debug)]
pub struct StatusFile {
    path: PathBuf,
}

impl StatusFile {
    /// Names the status file in this home.
    pub fn new(home: &Path) -> Self {
        Self {
            path: home.join(STATUS_FILE),
        }
    }

    /// Writes the status. Keeps the keys of other programs, and `platforms` if another program
    /// filled it.
    ///
    /// # Errors
    /// The status could not be written. The previous one remains.
    pub fn write(&self, status: &Status) -> io::Result<()> {
        let mut object = self.read_object().unwrap_or_default();
        let Value::Object(ours) = serde_json::to_value(status)? else {
            return Ok(());
        };
        for (key, value) in ours {
            let is_filled =
                key == "platforms" && object.get("platforms").is_some_and(Value::is_object);
            if !is_filled {
                object.insert(key, value);
            }
        }

        atomic_file::replace(
            &self.path,
            &serde_json::to_vec(&object)?,
            Durability::Renamed,
        )
    }

    /// Returns whether there is a file, or anything else, at its name.
    pub fn exists(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    /// Restarts by request that gateways over this home have carried out. For a gateway that
    /// starts.
    pub fn restarts(&self) -> u64 {
        let object = self.read_object().unwrap_or_default();
        let counted = object
            .get("restarts")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let exit_reason = object.get("exit_reason").and_then(Value::as_str);
        counted.saturating_add(u64::from(exit_reason == Some(ExitReason::Restart.as_str())))
    }

    /// Reads it, and looks whether the process that wrote it runs. Where no gateway runs, it also
    /// looks whether a process of a turn is left.
    pub fn read(&self) -> StatusReading {
        let reading = self.look();
        // A gateway may have started or ended between the looks at its files.
        if reading.is_up().is_none() {
            self.look()
        } else {
            reading
        }
    }

    fn look(&self) -> StatusReading {
        let reading = self.look_at_gateway();
        if reading.is_up() != Some(false) {
            return reading;
        }
        match doubt_of_end(&self.path.with_file_name(RUN_LOCKS)) {
            Some(why) => StatusReading {
                epoch: reading.epoch,
                ..StatusReading::unknown(why, reading.updated_at)
            },
            None => reading,
        }
    }

    fn look_at_gateway(&self) -> StatusReading {
        let object = match self.content() {
            FileContent::Object(object) => object,
            FileContent::Damaged(why) => return StatusReading::unknown(why, None),
            FileContent::Missing => return self.without_file(),
        };
        let updated_at = object
            .get("updated_at")
            .and_then(Value::as_str)
            .map(str::to_owned);

        let writer = WrittenBy::of(&object);
        match self.life_of(&object, &writer) {
            ProcessLife::Runs => running(&object, &writer, updated_at),
            ProcessLife::Ended => StatusReading {
                epoch: writer.epoch_of_next(),
                ..StatusReading::stopped(updated_at)
            },
            ProcessLife::Unknown(why) => StatusReading::unknown(why, updated_at),
        }
    }

    fn without_file(&self) -> StatusReading {
        match self.lock() {
            LockState::Free | LockState::Absent => StatusReading::stopped(None),
            LockState::Held(_) => {
                let why = "a gateway holds the home, and its status file is missing";
                StatusReading::unknown(why.to_owned(), None)
            }
            LockState::Unknown(error) => StatusReading::unknown(lock_trouble(&error), None),
        }
    }

    /// Determines whether the process that wrote the file runs.
    fn life_of(&self, object: &Map<String, Value>, writer: &WrittenBy) -> ProcessLife {
        let Some(pid) = writer.pid else {
            return ProcessLife::Unknown("the status file names no process".to_owned());
        };
        if writer.is_elsewhere() {
            return self.life_by_lock(
                object,
                ProcessLife::Unknown(format!("{GATEWAY_LOCK} is missing")),
            );
        }

        match (process_state(pid), writer.start_time) {
            (ProcessState::Started(start), Some(written)) if start == written => ProcessLife::Runs,
            (ProcessState::Started(_), None) => {
                let why =
                    format!("process {pid} runs, and the status file does not say when it started");
                self.life_if_held(object, ProcessLife::Unknown(why))
            }
            (ProcessState::Unknown, _) => self.life_if_held(
                object,
                ProcessLife::Unknown(format!("process {pid} cannot be looked at")),
            ),
            (ProcessState::Started(_) | ProcessState::Gone, _) => {
                self.life_by_lock(object, ProcessLife::Ended)
            }
        }
    }

    /// For a process that cannot be identified in `/proc`: it runs if it holds the lock, else
    /// `otherwise`.
    fn life_if_held(&self, object: &Map<String, Value>, otherwise: ProcessLife) -> ProcessLife {
        match self.lock() {
            LockState::Held(record) if is_of_holder(object, &record) => ProcessLife::Runs,
            _ => otherwise,
        }
    }

    /// For a process that is not in this pid namespace: it may run in another one, where it then
    /// holds the lock.
    fn life_by_lock(&self, object: &Map<String, Value>, without_lock: ProcessLife) -> ProcessLife {
        match self.lock() {
            LockState::Held(record) if is_of_holder(object, &record) => ProcessLife::Runs,
            LockState::Held(_) => ProcessLife::Unknown(
                "a gateway holds the home, and the status file is of another process".to_owned(),
            ),
            LockState::Free => ProcessLife::Ended,
            LockState::Absent => without_lock,
            LockState::Unknown(error) => match WrittenBy::of(object).is_here() {
                true => ProcessLife::Ended,
                false => ProcessLife::Unknown(lock_trouble(&error)),
            },
        }
    }

    fn lock(&self) -> LockState {
        home_lock::probe(&self.path.with_file_name(GATEWAY_LOCK))
    }

    /// Removes temporary files that a killed process left beside the file.
    pub fn sweep(&self) {
        atomic_file::sweep(&self.path);
    }

    fn read_object(&self) -> Option<Map<String, Value>> {
        match self.content() {
            FileContent::Object(object) => Some(object),
            FileContent::Missing | FileContent::Damaged(_) => None,
        }
    }

    fn content(&self) -> FileContent {
        match atomic_file::read(&self.path) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(object) => FileContent::Object(object),
                Err(error) => FileContent::Damaged(format!("the status file is damaged: {error}")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => FileContent::Missing,
            Err(error) => FileContent::Damaged(format!("the status file cannot be read: {error}")),
        }
    }
}

enum FileContent {
    Missing,
    Damaged(String),
    Object(Map<String, Value>),
}

enum ProcessLife {
    Runs,
    Ended,
    Unknown(String),
}

fn lock_trouble(error: &io::Error) -> String {
    format!("{GATEWAY_LOCK} cannot be looked at: {error}")
}

/// The process that wrote a status file, as the file names it.
struct WrittenBy {
    pid: Option<u32>,
    start_time: Option<u64>,
    /// Whether Portcullis wrote the file last: the `portcullis` key then names this process.
    is_ours: bool,
    epoch: Option<String>,
    pid_namespace: Option<String>,
}

impl WrittenBy {
    fn of(object: &Map<String, Value>) -> Self {
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        let pid = object
            .get("pid")
            .and_then(Value::as_u64)
            .and_then(|pid| u32::try_from(pid).ok());
        let start_time = object.get("start_time").and_then(Value::as_u64);
        let writer = object
            .get("portcullis")
            .and_then(|writer| WriterProcess::deserialize(writer).ok());

        Self {
            pid,
            start_time,
            is_ours: writer
                .is_some_and(|writer| (Some(writer.pid), writer.start_time) == (pid, start_time)),
            // A marker is written with it, which must stay within its bounds.
            epoch: text("epoch").filter(|epoch| is_identifier(epoch)),
            pid_namespace: text("pid_namespace"),
        }
    }

    /// Returns whether the process is known to be in this pid namespace.
    fn is_here(&self) -> bool {
        self.is_ours && self.pid_namespace.is_some() && self.pid_namespace == pid_namespace()
    }

    /// Returns whether the process is known to be in another pid namespace.
    fn is_elsewhere(&self) -> bool {
        self.is_ours && self.pid_namespace.is_some() && self.pid_namespace != pid_namespace()
    }

    /// Returns the epoch of the next gateway in the place of this one.
    fn epoch_of_next(&self) -> Option<Epoch> {
        if self.is_here() {
            Epoch::present()
        } else {
            None
        }
    }

    /// Returns the epoch of this process, which runs.
    fn epoch(&self) -> Option<Epoch> {
        let is_seen = || self.pid.map(process_state) == self.start_time.map(ProcessState::Started);
        match &self.epoch {
            Some(epoch) if self.is_ours => Some(Epoch::known(epoch)),
            _ if is_seen() => Epoch::present(),
            _ => None,
        }
    }
}

/// Returns whether the holder of the lock wrote this status.
fn is_of_holder(object: &Map<String, Value>, record: &[u8]) -> bool {
    let Ok(Value::Object(record)) = serde_json::from_slice(record) else {
        return false;
    };
    let same = |key: &str| record.get(key).is_some() && record.get(key) == object.get(key);
    same("pid") && same("start_time")
}

/// Reads the content of a status file whose process runs.
fn running(
    object: &Map<String, Value>,
    writer: &WrittenBy,
    updated_at: Option<String>,
) -> StatusReading {
    let word = object.get("gateway_state").and_then(Value::as_str);
    let Some(word) = word.map(cut).filter(|word| !word.trim().is_empty()) else {
        return StatusReading::unknown("the status file names no state".to_owned(), updated_at);
    };

    let active_agents = object.get("active_agents").and_then(Value::as_u64);
    let state = GatewayState::named(&word).map_or(ObservedState::Other(word), ObservedState::Known);
    let has_ended = matches!(
        state,
        ObservedState::Known(GatewayState::Stopped | GatewayState::StartupFailed)
    );
    if has_ended && active_agents.is_some_and(|active| active > 0) {
        let why = "a gateway that runs says that it has stopped, and that turns are in flight";
        return StatusReading::unknown(why.to_owned(), updated_at);
    }

    let ours = |key: &str| object.get(key).filter(|_| writer.is_ours);
    StatusReading {
        state,
        active_agents,
        drain_requested_at: ours("drain_requested_at").map(|time| time.as_str()?.parse().ok()),
        updated_at,
        turns: ours("turns")
            .and_then(|turns| Vec::deserialize(turns).ok())
            .unwrap_or_default(),
        turns_refused: ours("turns_refused")
            .and_then(|refused| BTreeMap::deserialize(refused).ok())
            .unwrap_or_default(),
        epoch: writer.epoch(),
    }
}

/// Limits another program's word, which is shown to people, to 64 characters without control
/// characters.
fn cut(word: &str) -> String {
    word.chars()
        .filter(|character| !character.is_control())
        .take(64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_file() -> (tempfile::TempDir, StatusFile) {
        let home = tempfile::tempdir().unwrap();
        let file = StatusFile::new(home.path());
        (home, file)
    }

    #[test]
    fn what_is_written_is_read() {
        let (_home, file) = status_file();
        assert!(file.read().is(GatewayState::Stopped));
        file.write(&Status::of_this_process(GatewayState::Running, 3, None))
            .unwrap();
        let reading = file.read();
        assert!(reading.is(GatewayState::Running) && reading.updated_at.is_some());
        assert_eq!(
            (reading.active_agents, reading.epoch),
            (Some(3), Epoch::present())
        );
    }

    #[test]
    fn keys_of_others_are_kept() {
        let (_home, file) = status_file();
        fs::write(
            &file.path,
            r#"{"pid":1,"note":"mine","platforms":{"telegram":{"state":"up"}}}"#,
        )
        .unwrap();
        file.write(&Status::of_this_process(GatewayState::Running, 0, None))
            .unwrap();
        let text = fs::read_to_string(&file.path).unwrap();
        let object: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["note"], "mine");
        assert_eq!(object["platforms"]["telegram"]["state"], "up");
        assert_eq!(object["pid"], std::process::id());
        assert!(
            !text.contains('\n') && !text.contains(": "),
            "compact: {text}"
        );
    }

    #[test]
    fn restarts_are_counted_when_the_next_gateway_starts() {
        let (_home, file) = status_file();
        assert_eq!(file.restarts(), 0);
        let write = |state, reason: Option<ExitReason>, restarts| {
            let reason = reason.map(|reason| reason.as_str().to_owned());
            let status = Status::of_this_process(state, 0, reason).after_restarts(restarts);
            file.write(&status.restarting(true)).unwrap();
        };
        write(GatewayState::Stopping, None, 0);
        assert_eq!(file.restarts(), 0, "it was killed before its end");
        write(GatewayState::Stopped, Some(ExitReason::Restart), 0);
        assert_eq!(file.restarts(), 1);
        write(GatewayState::Running, None, 1);
        assert_eq!(file.restarts(), 1);
        write(GatewayState::Stopped, Some(ExitReason::Signal), 1);
        assert_eq!(file.restarts(), 1);
    }

    fn read(file: &StatusFile, text: &str) -> StatusReading {
        fs::write(&file.path, text).unwrap();
        file.read()
    }

    fn is_unknown(reading: &StatusReading) -> bool {
        matches!(reading.state, ObservedState::Unknown(_)) && reading.is_up().is_none()
    }

    #[test]
    fn dead_process_is_stopped_whatever_the_file_says() {
        let (_home, file) = status_file();
        let gone = format!(
            r#"{{"pid":{},"gateway_state":"running","active_agents":2}}"#,
            i32::MAX
        );
        let reading = read(&file, &gone);
        assert!(reading.is(GatewayState::Stopped) && reading.active_agents == Some(0));
        let reused = format!(
            r#"{{"pid":{},"start_time":1,"gateway_state":"running"}}"#,
            std::process::id()
        );
        assert!(read(&file, &reused).is(GatewayState::Stopped));
    }

    #[test]
    fn running_process_that_contradicts_itself_is_unknown() {
        let (_home, file) = status_file();
        let pid = std::process::id();
        let start = process_start_time(pid).unwrap();
        for (state, active) in [("stopped", 3), ("startup_failed", 1), ("", 0), (" ", 0)] {
            let text = format!(
                r#"{{"pid":{pid},"start_time":{start},"gateway_state":"{state}","active_agents":{active}}}"#
            );
            assert!(is_unknown(&read(&file, &text)), "{text}");
        }
        let text = format!(
            r#"{{"pid":{pid},"start_time":{start},"gateway_state":"stopped","active_agents":0}}"#
        );
        assert!(read(&file, &text).is(GatewayState::Stopped));
    }

    #[test]
    fn process_that_cannot_be_told_apart_is_unknown() {
        let (_home, file) = status_file();
        let pid = std::process::id();
        for start in ["", r#""start_time":null,"#, r#""start_time":12.5,"#] {
            let text =
                format!(r#"{{"pid":{pid},{start}"gateway_state":"running","active_agents":3}}"#);
            let reading = read(&file, &text);
            assert!(
                is_unknown(&reading) && reading.active_agents.is_none(),
                "{text}"
            );
        }
    }

    #[test]
    fn process_in_another_namespace_runs_while_it_holds_the_lock() {
        let (home, file) = status_file();
        let text = r#"{"pid":999999999,"start_time":7,"gateway_state":"draining","active_agents":2,"epoch":"other:1",
            "pid_namespace":"pid:[1]","portcullis":{"pid":999999999,"start_time":7}}"#;
        assert!(
            is_unknown(&read(&file, text)),
            "no lock file: it may have been removed"
        );

        let path = home.path().join(GATEWAY_LOCK);
        let record = br#"{"pid":999999999,"start_time":7}"#;
        let lock = home_lock::HomeLock::take(&path, record).unwrap().unwrap();
        let reading = file.read();
        assert!(reading.is(GatewayState::Draining) && reading.active_agents == Some(2));
        assert_eq!(reading.epoch, Some(Epoch::known("other:1")));
        drop(lock);
        let reading = file.read();
        assert!(reading.is(GatewayState::Stopped) && reading.epoch.is_none());

        let _other = home_lock::HomeLock::take(&path, br#"{"pid":5,"start_time":5}"#)
            .unwrap()
            .unwrap();
        assert!(
            is_unknown(&file.read()),
            "another gateway has not written its status yet"
        );
        fs::remove_file(&file.path).unwrap();
        assert!(is_unknown(&file.read()));
    }

    #[test]
    fn words_of_others_are_passed_on_with_their_counts() {
        let (_home, file) = status_file();
        let pid = std::process::id();
        let start = process_start_time(pid).unwrap();
        let text = format!(
            r#"{{"pid":{pid},"start_time":{start},"gateway_state":"degraded","active_agents":3,"updated_at":5}}"#
        );
        let reading = read(&file, &text);
        assert_eq!(reading.state, ObservedState::Other("degraded".into()));
        assert_eq!(
            (reading.active_agents, reading.is_up()),
            (Some(3), Some(true))
        );
    }

    #[test]
    fn keys_that_the_original_kept_do_not_count_for_it() {
        let (_home, file) = status_file();
        let pid = std::process::id();
        let start = process_start_time(pid).unwrap();
        let text = format!(
            r#"{{"pid":{pid},"start_time":{start},"gateway_state":"draining","active_agents":0,
                "drain_requested_at":"2020-01-01T00:00:00Z","turns":[{{"session":"s","since":"2020-01-01T00:00:00Z"}}],
                "pid_namespace":"pid:[1]","epoch":"old:1","portcullis":{{"pid":{pid},"start_time":1}}}}"#
        );
        let reading = read(&file, &text);
        assert!(reading.is(GatewayState::Draining));
        assert_eq!((reading.drain_requested_at, reading.turns.len()), (None, 0));
        assert_eq!(reading.epoch, Epoch::present());
    }

    #[test]
    fn damaged_file_is_unknown() {
        let (_home, file) = status_file();
        for text in [
            "",
            "[]",
            "null",
            "{}",
            r#"{"pid":"x"}"#,
            "{\"pid\":1",
            r#"{"pid":1,"gateway_state":7}"#,
        ] {
            assert!(is_unknown(&read(&file, text)), "{text}");
        }
        fs::remove_file(&file.path).unwrap();
        fs::create_dir(&file.path).unwrap();
        assert!(is_unknown(&file.read()));
    }
}
