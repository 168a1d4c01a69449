use super::{Challenge, DirectoryUrl};
use instant_acme::{Error, Problem};
use std::fmt::Display;
use std::path::PathBuf;

/// Most characters of a directory's text that are shown.
const MAX_SHOWN_CHARS: usize = 300;
/// Most parts of a problem that are shown.
const MAX_SUBPROBLEMS: usize = 5;
/// What the types of ACME's problems begin with (RFC 8555 section 6.7).
const PROBLEM_PREFIX: &str = "urn:ietf:params:acme:error:";
/// The directory does not know the account.
const ACCOUNT_UNKNOWN: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why there is no new certificate. The text is one line; what the directory said in it is bounded
/// and escaped.
#[derive(Debug, thiserror::Error)]
pub enum OrderFailure {
    /// The directory cannot be reached, or its answer is not ACME.
    #[error("the directory {directory} cannot be used: {cause}")]
    Directory {
        /// The URL of the directory.
        directory: String,
        /// What went wrong.
        cause: String,
    },
    /// The directory answered with a problem document (RFC 8555 section 6.7).
    #[error("the directory refused {what}: {problem}")]
    Refused {
        /// What it was asked for.
        what: &'static str,
        /// Its reason.
        problem: String,
    },
    /// The directory did not find the answer to its challenge.
    #[error(
        "the directory could not verify {domain}: {problem}. It connects to {domain} at {}",
        .challenge.way()
    )]
    NotVerified {
        /// The domain that the challenge was for.
        domain: String,
        /// How the directory looked.
        challenge: Challenge,
        /// The directory's reason.
        problem: String,
    },
    /// The directory offers challenges of other kinds alone.
    #[error(
        "the directory offers no {challenge} challenge for {domain}, and dashboard.tls.acme.challenge asks for one"
    )]
    NoChallenge {
        /// The domain that the challenge would be for.
        domain: String,
        /// The kind that the settings ask for.
        challenge: Challenge,
    },
    /// The certificate that was signed is not the one that was ordered.
    #[error("the certificate that the directory signed cannot be used: {0}")]
    Unusable(String),
    /// A key or a request for a certificate cannot be made.
    #[error("a key for the certificate cannot be made: {0}")]
    Key(String),
    /// A file of the home cannot be read or written.
    #[error("{} {cause}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A defect of this program or of a crate that it uses.
    #[error("the order panicked, which is a defect of this program: please report it")]
    Panic,
    /// The whole order took too long.
    #[error("the order was not complete within {0} s")]
    TooSlow(u64),
}

impl OrderFailure {
    /// Returns why the directory did not give what it was asked for.
    pub(super) fn of(error: &Error, what: &'static str, directory: &DirectoryUrl) -> Self {
        let cause = match error {
            Error::Api(problem) => {
                return Self::Refused {
                    what,
                    problem: describe(problem),
                };
            }
            Error::Json(error) => format!("its answer is not what RFC 8555 prescribes: {error}"),
            Error::Str(missing) => format!("its answer is not what RFC 8555 prescribes: {missing}"),
            Error::Timeout(_) => format!("{what} is still not decided"),
            other => other.to_string(),
        };

        Self::Directory {
            directory: directory.as_str().to_owned(),
            cause: shown(&cause),
        }
    }

    /// Returns that a key cannot be made.
    pub(super) fn key(error: impl Display) -> Self {
        Self::Key(error.to_string())
    }
}

/// Returns whether the directory answered that it does not know the account.
pub(super) fn is_account_unknown(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if problem.r#type.as_deref() == Some(ACCOUNT_UNKNOWN))
}

/// The directory's reason in one line.
pub(super) fn describe(problem: &Problem) -> String {
    let of = |detail: Option<&str>, kind: Option<&str>| {
        let kind = kind.map(|kind| kind.strip_prefix(PROBLEM_PREFIX).unwrap_or(kind));
        match (detail.filter(|detail| !detail.is_empty()), kind) {
            (Some(detail), Some(kind)) => format!("{detail} ({kind})"),
            (Some(text), None) | (None, Some(text)) => text.to_owned(),
            (None, None) => "it gives no reason".to_owned(),
        }
    };

    let mut text = of(problem.detail.as_deref(), problem.r#type.as_deref());
    for part in problem.subproblems.iter().take(MAX_SUBPROBLEMS) {
        text.push_str("; ");
        if let Some(identifier) = &part.identifier {
            text.push_str(&identifier.authorized(false).to_string());
            text.push_str(": ");
        }
        text.push_str(&of(part.detail.as_deref(), part.r#type.as_deref()));
    }

    shown(&text)
}

/// A text of the directory, bounded and with everything escaped that could change how a line of a
/// log looks.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::new();
    let mut characters = text.chars();
    for character in characters.by_ref().take(MAX_SHOWN_CHARS) {
        if character == ' ' || character.is_ascii_graphic() || character.is_alphanumeric() {
            shown.push(character);
        } else {
            shown.extend(character.escape_default());
        }
    }

    if characters.next().is_some() {
        shown.push_str("...");
    }

    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> Problem {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn reason_of_the_directory_is_one_bounded_line() {
        let refused = problem(
            r#"{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many\n\u202eorders"}"#,
        );
        assert_eq!(
            describe(&refused),
            "too many\\n\\u{202e}orders (rateLimited)"
        );
        assert_eq!(
            describe(&problem(r#"{"type": "about:blank"}"#)),
            "about:blank"
        );
        assert_eq!(
            describe(&problem(r#"{"detail": ""}"#)),
            "it gives no reason"
        );
        let parts = problem(
            r#"{"type": "urn:ietf:params:acme:error:malformed", "detail": "some names were refused", "subproblems": [
                {"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "not that one",
                 "identifier": {"type": "dns", "value": "a.example"}}]}"#,
        );
        assert_eq!(
            describe(&parts),
            "some names were refused (malformed); a.example: not that one (rejectedIdentifier)"
        );

        let long = describe(&problem(&format!(
            r#"{{"detail": "{}"}}"#,
            "x".repeat(10_000)
        )));
        assert_eq!(long, format!("{}...", "x".repeat(MAX_SHOWN_CHARS)));
    }

    #[test]
    fn refusals_and_outages_are_distinguished() {
        let directory = DirectoryUrl::lets_encrypt();
        let text = |error: Error| OrderFailure::of(&error, "the order", &directory).to_string();
        let refused = text(Error::Api(problem(r#"{"detail": "no"}"#)));
        assert_eq!(refused, "the directory refused the order: no");
        let outage = text(Error::Other("no answer".into()));
        assert_eq!(
            outage,
            format!(
                "the directory {} cannot be used: no answer",
                directory.as_str()
            )
        );
        assert!(text(Error::Str("no order URL found")).contains("not what RFC 8555 prescribes"));
        let unknown = problem(&format!(r#"{{"type": "{ACCOUNT_UNKNOWN}"}}"#));
        assert!(is_account_unknown(&Error::Api(unknown)) && !is_account_unknown(&Error::Crypto));
    }
}
