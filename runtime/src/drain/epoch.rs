use std::fs;

/// Which boot of which machine or container this is: `<boot_id>:<start time of process 1>`. A marker from
/// another epoch was left by an instance that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch(String);

impl Epoch {
    /// The present one; `None` where the kernel does not tell.
    pub fn present() -> Option<Self> {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let init_start = process_start_time(1)?;
        Some(Self(format!("{}:{init_start}", boot_id.trim())))
    }

    /// One that is known already.
    pub fn known(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text that stands in a marker.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// When a process started, in clock ticks since boot (field 22 of `/proc/PID/stat`); `None` once it is gone.
/// With the pid it names a process beyond doubt, since pids are used again.
pub fn process_start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses, which may itself hold spaces and parentheses.
    let (_, after_command) = stat.rsplit_once(')')?;
    let mut fields = after_command.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
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
    }
}
