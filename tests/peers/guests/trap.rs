//! Traps on a request without a good credential, as an indexing mistake in a parser would.

gateway::plugin!(refuse);

fn refuse() -> u16 {
    panic!("no credential")
}
