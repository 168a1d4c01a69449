//! Spins for ever on a request without a good credential.

gateway::plugin!(refuse);

fn refuse() -> u16 {
    loop {
        std::hint::spin_loop();
    }
}
