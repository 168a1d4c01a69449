//! When the next attempt is due.

use std::time::Duration;

/// The pause after the first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause, before jitter.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// How many times as long each pause is as the one before. With 6, the first hour has five
/// attempts: as many as Let's Encrypt lets fail for one name and hour.
const GROWTH: u32 = 6;

/// Returns the pause after this number of failures in a row. Jitter of a quarter either way keeps
/// dashboards that failed together from asking together.
pub fn pause_after(failures: u32) -> Duration {
    pause(failures, random_share())
}

/// Returns how long after its due time a certificate of this lifetime is renewed: up to a sixtieth
/// of the lifetime.
pub fn renewal_delay(lifetime: Duration) -> Duration {
    (lifetime / 60).mul_f64(random_share())
}

/// `share` is from 0 to 1.
fn pause(failures: u32, share: f64) -> Duration {
    let mut pause = FIRST_PAUSE;
    for _ in 1..failures {
        pause = (pause * GROWTH).min(LONGEST_PAUSE);
    }
    pause.mul_f64(0.75 + share / 2.0)
}

/// A random number from 0 to 1. Without random numbers of the system: the middle.
fn random_share() -> f64 {
    let mut bytes = [0; 2];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u16::from_ne_bytes(bytes)) / f64::from(u16::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let seconds: Vec<_> = (1..=7)
            .map(|failures| pause(failures, 0.5).as_secs())
            .collect();
        assert_eq!(seconds, [10, 60, 360, 2160, 12_960, 21_600, 21_600]);
        assert_eq!(pause(1_000, 1.0), Duration::from_secs(27_000));
        assert_eq!(pause(1, 0.0), Duration::from_millis(7_500));
    }

    #[test]
    fn jitter_stays_within_its_bounds() {
        for _ in 0..100 {
            let pause = pause_after(1).as_millis();
            assert!((7_500..=12_500).contains(&pause), "{pause}");
            assert!(renewal_delay(Duration::from_secs(600)) <= Duration::from_secs(10));
        }
    }
}
