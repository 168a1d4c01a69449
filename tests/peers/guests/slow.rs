//! Refuses a request without a good credential, after two seconds in the host: right, but slow,
//! as a plugin is that asks a credential store on a bad day.

gateway::plugin!(refuse);

fn refuse() -> u16 {
    std::thread::sleep(std::time::Duration::from_secs(2));
    401
}
