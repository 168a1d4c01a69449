use std::time::{Duration, Instant};

/// Long enough for anything that should happen at once on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// Asks until there is an answer.
///
/// # Panics
/// There is none within the time.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the tests wait"
)]
pub fn eventually<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
