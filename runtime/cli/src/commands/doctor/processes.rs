//! Which processes hold the home, and what earlier ones left.

use super::Finding;
use portcullis_home::home_lock::{DASHBOARD_LOCK, GATEWAY_LOCK, LockState, UP_LOCK, probe};
use portcullis_home::{ObservedState, StatusFile, leftover_turns};
use serde_json::json;
use std::path::Path;

const CHECK: &str = "processes";

pub(super) fn check(home: &Path) -> Vec<Finding> {
    let locks = [
        ("gateway", GATEWAY_LOCK),
        ("dashboard", DASHBOARD_LOCK),
        ("`up`", UP_LOCK),
    ];
    let mut findings: Vec<_> = locks
        .into_iter()
        .map(|(name, lock)| of_lock(name, &home.join(lock)))
        .collect();
    findings.push(of_status(home));
    if !matches!(probe(&home.join(GATEWAY_LOCK)), LockState::Held(_)) {
        findings.extend(of_turns(home));
    }

    findings
}

fn of_lock(name: &str, lock: &Path) -> Finding {
    match probe(lock) {
        LockState::Held(_) => Finding::ok(CHECK, format!("{name}: one runs over this home")),
        LockState::Free | LockState::Absent => {
            Finding::ok(CHECK, format!("{name}: none runs over this home"))
        }
        LockState::Unknown(error) => {
            Finding::error(CHECK, format!("{name}: {} is no lock", lock.display()))
                .because(error)
                .mended_by("end what runs over this home, and remove the file")
        }
    }
}

fn of_status(home: &Path) -> Finding {
    match StatusFile::new(home).read().state {
        ObservedState::Unknown(why) => {
            Finding::warn(CHECK, "whether a gateway runs cannot be determined")
                .because(why)
                .mended_by("start the gateway, which writes gateway_state.json anew")
        }
        known => {
            let word = json!(known);
            Finding::ok(
                CHECK,
                format!("the gateway is {}", word.as_str().unwrap_or_default()),
            )
        }
    }
}

fn of_turns(home: &Path) -> Option<Finding> {
    let why = leftover_turns(home)?;
    let finding = Finding::warn(CHECK, "processes of turns are left").because(why);
    Some(finding.mended_by("start the gateway, which ends them"))
}
