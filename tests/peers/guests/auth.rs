//! The well-behaved guest: refuses a request without a good credential.

gateway::plugin!(refuse);

fn refuse() -> u16 {
    401
}
