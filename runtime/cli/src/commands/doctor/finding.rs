use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::commands) enum Severity {
    /// The check found nothing wrong.
    Ok,
    /// The check cannot be made from here.
    Unknown,
    /// It works, and something of it should be changed.
    Warn,
    /// It does not work.
    Error,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::commands) struct Finding {
    /// The name of the check, which stays the same from version to version.
    check: &'static str,
    pub(in crate::commands) severity: Severity,
    /// What was found, in one sentence.
    what: String,
    /// Why it is so, or what follows from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// What the operator can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Finding {
    pub(in crate::commands) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Severity::Ok, what.into())
    }

    pub(in crate::commands) fn unknown(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Severity::Unknown, what.into())
    }

    pub(in crate::commands) fn warn(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Severity::Warn, what.into())
    }

    pub(in crate::commands) fn error(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Severity::Error, what.into())
    }

    fn new(check: &'static str, severity: Severity, what: String) -> Self {
        Self {
            check,
            severity,
            what,
            why: None,
            fix: None,
        }
    }

    /// Adds the reason, or what follows from the finding.
    pub(in crate::commands) fn because(self, why: impl fmt::Display) -> Self {
        Self {
            why: Some(why.to_string()),
            ..self
        }
    }

    /// Adds what the operator can do about it.
    pub(in crate::commands) fn mended_by(self, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..self
        }
    }
}

/// Always one line: control characters in the texts become spaces.
impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |text: &str| text.replace(char::is_control, " ");
        write!(
            out,
            "{:<7}  {:<13}  {}",
            self.severity.name(),
            self.check,
            plain(&self.what)
        )?;

        if let Some(why) = &self.why {
            write!(out, ": {}", plain(why))?;
        }

        match &self.fix {
            Some(fix) => write!(out, " -> {}", plain(fix)),
            None => Ok(()),
        }
    }
}

/// All findings as one object. `ok` is false if one of them is an error.
pub(in crate::commands) fn to_json(findings: &[Finding]) -> Value {
    let is_sound = findings
        .iter()
        .all(|finding| finding.severity != Severity::Error);
    json!({"ok": is_sound, "findings": findings})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_is_one_line() {
        let finding = Finding::warn("clock", "a\nb")
            .because("c\x1b[2J")
            .mended_by("d");
        assert_eq!(
            finding.to_string(),
            "warn     clock          a b: c [2J -> d"
        );
        assert_eq!(
            to_json(&[finding]).to_string(),
            r#"{"ok":true,"findings":[{"check":"clock","severity":"warn","what":"a\nb","why":"c\u001b[2J","fix":"d"}]}"#
        );
        assert_eq!(to_json(&[Finding::error("home", "x")])["ok"], false);
    }
}
