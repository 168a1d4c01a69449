//! Faults of providers, in the log and the audit log at most once per second, provider and kind: a
//! provider that fails on every call must not fill a disk.

use crate::audit::{AuditLog, EventName, Record};
use portcullis_auth::{CallFault, ProviderName};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(1);

/// Which faults of which provider were logged, and when.
#[derive(Clone, Default)]
pub struct FaultLog(Arc<Mutex<Tallies>>);

type Tallies = HashMap<(ProviderName, &'static str), Tally>;

struct Tally {
    told: Instant,
    untold: u64,
}

impl FaultLog {
    pub(super) fn tell(
        &self,
        provider: &ProviderName,
        component: Option<&str>,
        fault: &CallFault,
        audit: &AuditLog,
    ) {
        let CallFault { fault, used } = fault;
        let Some(untold) = self.due(provider, fault.kind(), Instant::now()) else {
            return;
        };
        let (used_ms, used_bytes) = (used.elapsed.as_millis(), used.memory_bytes);
        tracing::warn!(%provider, kind = fault.kind(), %fault, used_ms, used_bytes, untold, "provider fault");
        let record = Record::now(EventName::ProviderFault)
            .with("provider", provider.as_str())
            .with("component", component)
            .with("fault", fault.kind())
            .with("reason", fault.to_string())
            .with("used_ms", u64::try_from(used_ms).unwrap_or(u64::MAX))
            .with("used_bytes", used_bytes)
            .with("untold", untold);

        audit.write(record);
    }

    /// Returns how many faults were left out since the last log line, if the next line is due.
    fn due(&self, provider: &ProviderName, kind: &'static str, now: Instant) -> Option<u64> {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match tallies.get_mut(&(provider.clone(), kind)) {
            Some(tally) if now.duration_since(tally.told) < PAUSE => {
                tally.untold += 1;
                None
            }
            Some(tally) => Some(
                std::mem::replace(
                    tally,
                    Tally {
                        told: now,
                        untold: 0,
                    },
                )
                .untold,
            ),
            None => {
                tallies.insert(
                    (provider.clone(), kind),
                    Tally {
                        told: now,
                        untold: 0,
                    },
                );
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_faults_are_told_once_a_second_with_their_number() {
        let log = FaultLog::default();
        let provider = ProviderName::new("p").unwrap();
        let start = Instant::now();
        assert_eq!(log.due(&provider, "trapped", start), Some(0));
        assert_eq!(log.due(&provider, "trapped", start), None);
        assert_eq!(log.due(&provider, "trapped", start + PAUSE / 2), None);
        assert_eq!(log.due(&provider, "unavailable", start), Some(0));
        assert_eq!(log.due(&provider, "trapped", start + PAUSE), Some(2));
    }
}
