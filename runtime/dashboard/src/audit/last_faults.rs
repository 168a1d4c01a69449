//! What the log last says of each provider, for commands that read it from outside the process.

use super::AUDIT_FILE;
use super::file_end::file_end;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Read from the end of the log: some thousand lines.
const TAIL_BYTES: u64 = 1024 * 1024;

/// The last fault of a provider, and whether it is shut out because of its faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastFault {
    /// When, what kind and why, in one line.
    pub fault: Option<String>,
    /// The last word on its quarantine was that it began.
    pub is_quarantined: bool,
}

#[derive(Deserialize)]
struct FaultLine {
    ts: String,
    event: String,
    provider: Option<String>,
    fault: Option<String>,
    reason: Option<String>,
    quarantine: Option<String>,
}

/// Returns the last fault per provider. Lines that cannot be read are left out.
pub fn last_faults(home: &Path) -> BTreeMap<String, LastFault> {
    let mut last: BTreeMap<String, LastFault> = BTreeMap::new();
    let tail = file_end(&home.join(AUDIT_FILE), TAIL_BYTES).unwrap_or_default();

    for line in String::from_utf8_lossy(&tail)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
    {
        let FaultLine {
            ts,
            event,
            provider,
            fault,
            reason,
            quarantine,
        } = line;
        let Some(provider) = provider else { continue };
        match event.as_str() {
            "provider_fault" => {
                let said = format!(
                    "{ts} {}: {}",
                    fault.unwrap_or_default(),
                    reason.unwrap_or_default()
                );
                last.entry(provider).or_default().fault = Some(said);
            }
            "provider_quarantined" => {
                last.entry(provider).or_default().is_quarantined =
                    quarantine.as_deref() == Some("open");
            }
            // The provider was loaded anew: faults from before are another provider's.
            "provider_loaded" => drop(last.remove(&provider)),
            _ => {}
        }
    }

    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn last_word_on_each_provider_counts() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("logs")).unwrap();
        let lines = [
            r#"{"ts":"T1","event":"provider_fault","provider":"a","fault":"trapped","reason":"one"}"#,
            r#"{"ts":"T2","event":"provider_quarantined","provider":"a","quarantine":"open"}"#,
            r#"{"ts":"T3","event":"provider_fault","provider":"a","fault":"trapped","reason":"two"}"#,
            r#"{"ts":"T4","event":"provider_fault","provider":"b","fault":"trapped","reason":"three"}"#,
            r#"{"ts":"T5","event":"provider_loaded","provider":"b"}"#,
            "no json",
        ];
        fs::write(home.path().join(AUDIT_FILE), lines.join("\n")).unwrap();
        let last = last_faults(home.path());
        let a = LastFault {
            fault: Some("T3 trapped: two".into()),
            is_quarantined: true,
        };
        assert_eq!(last, BTreeMap::from([("a".to_owned(), a)]));
        assert!(last_faults(Path::new("/nowhere")).is_empty());
    }
}
