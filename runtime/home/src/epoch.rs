use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::fs;
use std::sync::{LazyLock, OnceLock};

/// One boot of a machine or container, as `<boot_id>:<start time of process 1>`. A marker from
/// another epoch was left by an instance that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch(String);

impl Epoch {
    /// Returns the epoch of this process; `None` if `/proc` cannot be read.
    pub fn present() -> Option<Self> {
        // It is read once: no process outlives the boot, or process 1 of its pid namespace.
        static PRESENT: OnceLock<Epoch> = OnceLock::new();
        if let Some(epoch) = PRESENT.get() {
            return Some(epoch.clone());
        }

        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let init_start = process_start_time(1)?;
        let epoch = Self(format!("{}:{init_start}", boot_id.trim()));
        Some(PRESENT.get_or_init(|| epoch).clone())
    }

    /// Makes an epoch from the text of a marker or status file.
    pub fn known(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text for a marker.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The state of a process id in this pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// A process with this id runs and started at this time, in clock ticks since boot. Id and time
    /// together identify a process.
    Started(u64),
    /// No process has this id.
    Gone,
    /// The process cannot be read: no descriptors are left, or the system hides other users'
    /// processes.
    Unknown,
}

/// Reads the state of a process. The start time is field 22 of `/proc/PID/stat`.
pub(crate) fn process_state(pid: u32) -> ProcessState {
    if !has_own_proc() {
        return ProcessState::Unknown;
    }

    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => parse_stat(&stat).unwrap_or(ProcessState::Unknown),
        Err(_) => match i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .map(test_kill_process)
        {
            None | Some(Err(Errno::SRCH)) => ProcessState::Gone,
            Some(_) => ProcessState::Unknown,
        },
    }
}

/// Returns whether `/proc` is that of this pid namespace. In another's, the ids are those of other
/// processes.
pub fn has_own_proc() -> bool {
    static IS_OWN: LazyLock<bool> = LazyLock::new(|| {
        let shown = fs::read_link("/proc/self")
            .ok()
            .and_then(|link| link.to_str()?.parse::<u32>().ok());
        shown.is_none_or(|pid| pid == std::process::id())
    });
    *IS_OWN
}

fn parse_stat(stat: &str) -> Option<ProcessState> {
    // The second field is the command in parentheses, which may itself contain spaces and
    // parentheses.
    let (_, after_command) = stat.rsplit_once(')')?;
    let mut fields = after_command.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return Some(ProcessState::Gone);
    }
    fields.nth(18)?.parse().ok().map(ProcessState::Started)
}

/// Returns when a process started, in clock ticks since boot; `None` if that is not known.
pub fn process_start_time(pid: u32) -> Option<u64> {
    match process_state(pid) {
        ProcessState::Started(start) => Some(start),
        ProcessState::Gone | ProcessState::Unknown => None,
    }
}

/// Returns the name of this process's pid namespace, such as `pid:[4026531836]`; `None` if `/proc`
/// cannot be read.
pub(crate) fn pid_namespace() -> Option<String> {
    fs::read_link("/proc/self/ns/pid")
        .ok()?
        .into_os_string()
        .into_string()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_is_boot_and_first_process() {
        let epoch = Epoch::present().expect("Linux tells");
        let (boot_id, start) = epoch.as_str().split_once(':').unwrap();
        assert_eq!(boot_id.len(), 36);
        assert!(start.parse::<u64>().is_ok());
        assert_eq!(Epoch::present(), Some(epoch));
    }

    #[test]
    fn start_time_is_known_of_the_living_only() {
        assert!(process_start_time(std::process::id()).is_some());
        assert_eq!(process_start_time(u32::MAX), None);
        assert_eq!(process_state(i32::MAX.cast_unsigned()), ProcessState::Gone);
        assert!(pid_namespace().is_some_and(|name| name.starts_with("pid:[")));
    }
}
