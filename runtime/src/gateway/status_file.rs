use super::GatewayState;
use crate::atomic_file::{self, Durability};
use crate::drain::process_start_time;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io;
use std::path::{Path, PathBuf};

/// The status file's name in the home.
pub const STATUS_FILE: &str = "gateway_state.json";

const KIND: &str = "hermes-gateway";

/// Turns that the status file names. The number of all is told besides.
pub const MAX_TURNS_TOLD: usize = 64;

/// A turn that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnInFlight {
    /// The session it belongs to.
    pub session: String,
    /// When it started.
    pub since: Timestamp,
}

/// What the gateway tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    pid: u32,
    kind: &'static str,
    start_time: Option<u64>,
    /// Where it is in its life.
    pub gateway_state: GatewayState,
    /// Why it ended.
    pub exit_reason: Option<String>,
    restart_requested: bool,
    /// Turns in flight.
    pub active_agents: usize,
    /// The first of them, for people to see which is stuck.
    turns: Vec<TurnInFlight>,
    /// The drain that it acts on: its marker's time.
    drain_requested_at: Option<Timestamp>,
    updated_at: Timestamp,
    platforms: Map<String, Value>,
}

impl Status {
    /// This process, now.
    pub fn of_this_process(
        gateway_state: GatewayState,
        active_agents: usize,
        exit_reason: Option<String>,
    ) -> Self {
        let pid = std::process::id();
        Self {
            pid,
            kind: KIND,
            start_time: process_start_time(pid),
            gateway_state,
            exit_reason,
            restart_requested: false,
            active_agents,
            turns: Vec::new(),
            drain_requested_at: None,
            updated_at: Timestamp::now(),
            platforms: Map::new(),
        }
    }
}

impl Status {
    /// The same, with the drain that it acts on.
    #[must_use]
    pub fn acting_on(self, drain_requested_at: Option<Timestamp>) -> Self {
        Self { drain_requested_at, ..self }
    }

    /// The same, with its turns in flight; no more than [`MAX_TURNS_TOLD`].
    #[must_use]
    pub fn with_turns(self, turns: impl Iterator<Item = TurnInFlight>) -> Self {
        Self { turns: turns.take(MAX_TURNS_TOLD).collect(), ..self }
    }
}

/// What a reader makes of the file. A field of another type than it should have is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReading {
    /// Where the gateway is in its life; `Stopped` when its process is gone, whatever the file says.
    pub gateway_state: GatewayState,
    /// Turns in flight; none when the process is gone.
    pub active_agents: u64,
    /// The drain that the gateway acts on; `None` inside when its marker had no time, and outside when the
    /// gateway (the original) does not tell.
    pub drain_requested_at: Option<Option<Timestamp>>,
    /// When the gateway last wrote.
    pub updated_at: Option<String>,
    /// The first of the turns in flight; none where the gateway (the original) does not tell.
    pub turns: Vec<TurnInFlight>,
}

impl StatusReading {
    fn stopped(updated_at: Option<String>) -> Self {
        let gateway_state = GatewayState::Stopped;
        Self { gateway_state, active_agents: 0, drain_requested_at: None, updated_at, turns: Vec::new() }
    }

    /// Is the process there?
    pub fn is_up(&self) -> bool {
        !matches!(self.gateway_state, GatewayState::Stopped | GatewayState::StartupFailed)
    }
}

/// The status file of one home.
#[derive(Clone, Debug)]
pub struct StatusFile {
    path: PathBuf,
}

impl StatusFile {
    /// The status file in this home.
    pub fn new(home: &Path) -> Self {
        Self { path: home.join(STATUS_FILE) }
    }

    /// Writes the status, keeping every key that is not ours and the `platforms` that someone else filled.
    ///
    /// # Errors
    /// It could not be written; the old status still stands.
    pub fn write(&self, status: &Status) -> io::Result<()> {
        let mut object = self.read_object().unwrap_or_default();
        let Value::Object(ours) = serde_json::to_value(status)? else { return Ok(()) };
        for (key, value) in ours {
            let is_filled = key == "platforms" && object.get("platforms").is_some_and(Value::is_object);
            if !is_filled {
                object.insert(key, value);
            }
        }
        atomic_file::replace(&self.path, &serde_json::to_vec(&object)?, Durability::Renamed)
    }

    /// Reads it. No file, or one that says nothing of a gateway that lives: stopped.
    pub fn read(&self) -> StatusReading {
        let Some(object) = self.read_object() else { return StatusReading::stopped(None) };
        let updated_at = object.get("updated_at").and_then(Value::as_str).map(str::to_owned);
        let state = object.get("gateway_state").and_then(|state| GatewayState::deserialize(state).ok());
        let (Some(gateway_state), true) = (state, is_alive(&object)) else {
            return StatusReading::stopped(updated_at);
        };
        StatusReading {
            gateway_state,
            active_agents: object.get("active_agents").and_then(Value::as_u64).unwrap_or_default(),
            drain_requested_at: object.get("drain_requested_at").map(|time| time.as_str()?.parse().ok()),
            updated_at,
            turns: object.get("turns").and_then(|turns| Vec::deserialize(turns).ok()).unwrap_or_default(),
        }
    }

    /// Removes what a process that was killed while it wrote left beside the file.
    pub fn sweep(&self) {
        atomic_file::sweep(&self.path);
    }

    fn read_object(&self) -> Option<Map<String, Value>> {
        serde_json::from_slice(&atomic_file::read(&self.path).ok()?).ok()
    }
}

/// Is the process that wrote it still there, and not another that was given its pid?
fn is_alive(object: &Map<String, Value>) -> bool {
    let pid = object.get("pid").and_then(Value::as_u64).and_then(|pid| u32::try_from(pid).ok());
    let Some(start) = pid.and_then(process_start_time) else { return false };
    object.get("start_time").and_then(Value::as_u64).is_none_or(|written| written == start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn status_file() -> (tempfile::TempDir, StatusFile) {
        let home = tempfile::tempdir().unwrap();
        let file = StatusFile::new(home.path());
        (home, file)
    }

    #[test]
    fn what_is_written_is_read() {
        let (_home, file) = status_file();
        assert_eq!(file.read(), StatusReading::stopped(None));
        file.write(&Status::of_this_process(GatewayState::Running, 3, None)).unwrap();
        let reading = file.read();
        assert_eq!((reading.gateway_state, reading.active_agents), (GatewayState::Running, 3));
        assert!(reading.updated_at.is_some());
    }

    #[test]
    fn keys_of_others_are_kept() {
        let (_home, file) = status_file();
        fs::write(&file.path, r#"{"pid":1,"note":"mine","platforms":{"telegram":{"state":"up"}}}"#).unwrap();
        file.write(&Status::of_this_process(GatewayState::Running, 0, None)).unwrap();
        let text = fs::read_to_string(&file.path).unwrap();
        let object: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["note"], "mine");
        assert_eq!(object["platforms"]["telegram"]["state"], "up");
        assert_eq!(object["pid"], std::process::id());
        assert!(!text.contains('\n') && !text.contains(": "), "compact: {text}");
    }

    #[test]
    fn dead_process_is_stopped_whatever_the_file_says() {
        let (_home, file) = status_file();
        let text = format!(r#"{{"pid":{},"gateway_state":"running","active_agents":2}}"#, i32::MAX);
        fs::write(&file.path, text).unwrap();
        assert_eq!(file.read(), StatusReading::stopped(None));
        let reused = format!(r#"{{"pid":{},"start_time":1,"gateway_state":"running"}}"#, std::process::id());
        fs::write(&file.path, reused).unwrap();
        assert_eq!(file.read().gateway_state, GatewayState::Stopped);
    }

    #[test]
    fn fields_of_another_type_are_not_there() {
        let (_home, file) = status_file();
        let pid = std::process::id();
        let text =
            format!(r#"{{"pid":{pid},"gateway_state":"running","active_agents":null,"updated_at":5}}"#);
        fs::write(&file.path, text).unwrap();
        let reading = file.read();
        assert_eq!((reading.gateway_state, reading.active_agents), (GatewayState::Running, 0));
    }

    #[test]
    fn garbage_is_stopped() {
        let (_home, file) = status_file();
        for text in ["", "[]", "null", "{}", r#"{"pid":"x"}"#, r#"{"pid":1,"gateway_state":"dancing"}"#] {
            fs::write(&file.path, text).unwrap();
            assert_eq!(file.read().gateway_state, GatewayState::Stopped, "{text}");
        }
    }
}
