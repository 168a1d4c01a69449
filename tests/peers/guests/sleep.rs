//! Sleeps for an hour in the host on a request without a good credential, as a plugin does that
//! waits for something that never answers.

gateway::plugin!(refuse);

fn refuse() -> u16 {
    std::thread::sleep(std::time::Duration::from_secs(3600));
    401
}
