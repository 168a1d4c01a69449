//! What was found, in words for an author.

use portcullis_sandbox::{Inspection, Need};
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The provider does what the contract says.
    Pass,
    /// Something that the author should look at.
    Warning,
    /// Something that the author must repair.
    Failure,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct CheckFinding {
    /// What was looked at.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found, in one sentence.
    pub says: String,
}

/// How long calls take, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Timings {
    /// Reading, compiling, linking, and being asked what it supports.
    pub load: u64,
    /// The duration of the first call.
    pub cold: u64,
    /// The median of later ones.
    pub warm: u64,
    /// The slowest of them.
    pub slowest: u64,
}

/// The result of a whole examination.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The author has to fix nothing.
    pub passed: bool,
    /// What the component is; `None` when it is none.
    pub inspection: Option<Inspection>,
    /// `None` when it was never called.
    pub timings: Option<Timings>,
    /// The most linear memory that one call had, in bytes.
    pub peak_memory_bytes: usize,
    /// In the order in which things were looked at.
    pub findings: Vec<CheckFinding>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            passed: true,
            inspection: None,
            timings: None,
            peak_memory_bytes: 0,
            findings: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, check: &'static str, level: Level, says: impl Into<String>) {
        self.passed &= level != Level::Failure;
        self.findings.push(CheckFinding {
            check,
            level,
            says: says.into(),
        });
    }
}

/// Returns what a new version exports, imports or needs that an old one did not, and what it no
/// longer does.
pub fn difference(old: &Inspection, new: &Inspection) -> Vec<String> {
    let mut lines = Vec::new();
    let only_in = |these: &[String], those: &[String]| -> Vec<String> {
        these
            .iter()
            .filter(|name| !those.contains(name))
            .cloned()
            .collect()
    };
    let names = |inspection: &Inspection| -> Vec<String> {
        inspection
            .imports
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    };

    lines.extend(
        only_in(&new.exports, &old.exports)
            .iter()
            .map(|name| format!("newly exports {name}")),
    );
    lines.extend(
        only_in(&old.exports, &new.exports)
            .iter()
            .map(|name| format!("no longer exports {name}")),
    );
    for name in only_in(&names(new), &names(old)) {
        let need = new
            .imports
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, need)| needs(*need));
        lines.push(format!("newly imports {name}{}", need.unwrap_or_default()));
    }
    lines.extend(
        only_in(&names(old), &names(new))
            .iter()
            .map(|name| format!("no longer imports {name}")),
    );

    if lines.is_empty() {
        let is_same = old.sha256 == new.sha256;
        lines.push(
            if is_same {
                "the same file"
            } else {
                "other code, the same exports and imports"
            }
            .to_owned(),
        );
    }
    lines
}

fn needs(need: Need) -> &'static str {
    match need {
        Need::Nothing => "",
        Need::HttpGrant => " (needs grants.http)",
        Need::KeyvalueGrant => " (needs grants.keyvalue)",
        Need::Never => " (never granted)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspection(exports: &[&str], imports: &[(&str, Need)]) -> Inspection {
        Inspection {
            contract: None,
            bytes: 0,
            code_bytes: 0,
            core_instances: 1,
            sha256: format!("{exports:?}{imports:?}"),
            exports: exports.iter().map(ToString::to_string).collect(),
            imports: imports
                .iter()
                .map(|(name, need)| (name.to_string(), *need))
                .collect(),
        }
    }

    #[test]
    fn difference_names_what_is_new_and_what_it_needs() {
        let old = inspection(&["a"], &[("wasi:io/poll", Need::Nothing)]);
        let new = inspection(&["a", "b"], &[("wasi:http/types", Need::HttpGrant)]);
        let expected = [
            "newly exports b",
            "newly imports wasi:http/types (needs grants.http)",
            "no longer imports wasi:io/poll",
        ];
        assert_eq!(difference(&old, &new), expected);
        assert_eq!(difference(&old, &old), ["the same file"]);
    }
}
