//! Whether the audit log is signed, and is as it was written.

use super::Finding;
use portcullis_dashboard::audit::{
    AUDIT_FILE, Expected, IMPORTANT_FILE, Outcome, RemarkKind, Summary, known_public_key, verify,
};
use std::path::Path;

const CHECK: &str = "audit";

pub(super) fn check(home: &Path) -> Vec<Finding> {
    vec![key(home), log(home, AUDIT_FILE), log(home, IMPORTANT_FILE)]
}

fn key(home: &Path) -> Finding {
    match known_public_key(home) {
        Ok(Some(key)) => Finding::ok(CHECK, format!("the public key of the log is {key}")),
        Ok(None) if home.join(AUDIT_FILE).exists() => {
            Finding::warn(CHECK, "the key of the log is missing")
                .because("no signature can be checked, and the next line makes another key")
                .mended_by("restore audit_key from a backup")
        }
        Ok(None) => Finding::ok(CHECK, "the key of the log is made with its first line"),
        Err(error) => Finding::error(CHECK, "the log is not signed")
            .because(format!(
                "its key in {} cannot be read: {error}",
                home.display()
            ))
            .mended_by("restore audit_key from a backup, or remove it: a new key is then made"),
    }
}

fn log(home: &Path, name: &str) -> Finding {
    // The first of each kind: the reason in one sentence.
    let (mut found, mut unknown) = (None, None);
    let checked = verify(
        home,
        &home.join(name),
        &Expected::default(),
        &mut |remark| match remark.kind {
            RemarkKind::Finding => found = found.take().or(Some(remark.sentence)),
            RemarkKind::Unknown => unknown = unknown.take().or(Some(remark.sentence)),
            RemarkKind::Note => {}
        },
    );
    match checked {
        Ok(None) => Finding::ok(CHECK, format!("{name} is made with its first line")),
        Ok(Some(summary)) => of_summary(name, &summary, &found.or(unknown).unwrap_or_default()),
        Err(error) => Finding::unknown(CHECK, format!("{name} was not checked")).because(error),
    }
}

fn of_summary(name: &str, summary: &Summary, reason: &str) -> Finding {
    match summary.outcome() {
        Outcome::Good => Finding::ok(
            CHECK,
            format!("{name} is as it was written (lines: {})", summary.lines),
        ),
        Outcome::Unknown => Finding::unknown(
            CHECK,
            format!("whether {name} is as it was written is not known"),
        )
        .because(reason)
        .mended_by("portcullis audit verify"),
        Outcome::Findings => Finding::error(
            CHECK,
            format!(
                "{name} is not as it was written (findings: {})",
                summary.findings
            ),
        )
        .because(reason)
        .mended_by("portcullis audit verify"),
    }
}
