//! The object that a command with `--json` prints if it fails. `portcullis drain` has more kinds of
//! failures, and prints its own object (`drain/failure.rs`).

use serde_json::json;
use std::ffi::OsString;

/// What follows the sentence in clap's message.
const HELP: [&str; 3] = ["\n\n  tip:", "\n\nUsage:", "\n\nFor more information"];

/// Returns whether the command line has `--json`. A command line with a mistake in it is asked in
/// the same way.
pub(super) fn is_wanted() -> bool {
    has_flag(std::env::args_os())
}

/// Prints the object. `word` is for scripts, `detail` a sentence for people.
pub(super) fn print(word: &str, detail: &str) {
    let object = json!({"ok": false, "error": word, "detail": detail});
    super::say(&format!("{object}\n"));
}

/// Returns the sentence of a mistake in the command line, on one line and without the help that
/// follows it.
pub(super) fn sentence_of(message: &str) -> String {
    let end = HELP
        .iter()
        .filter_map(|help| message.find(help))
        .min()
        .unwrap_or(message.len());
    let sentence = message[..end].trim_start_matches("error: ");
    sentence.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn has_flag(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments
        .skip(1)
        .take_while(|argument| argument != "--")
        .any(|argument| argument == "--json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_is_an_argument_of_its_own() {
        let has = |arguments: &[&str]| has_flag(arguments.iter().map(OsString::from));
        assert!(has(&[
            "portcullis",
            "drain",
            "begin",
            "--json",
            "--ttl",
            "x"
        ]));
        for without in [
            &["portcullis", "drain", "--reason=--json"][..],
            &["portcullis", "turn-guard", "--", "--json"],
            &["--json", "drain"],
        ] {
            assert!(!has(without), "{without:?}");
        }
    }

    #[test]
    fn sentence_is_the_message_without_its_help() {
        let message = "error: the following required arguments were not provided:\n  --format <FORMAT>\n\n\
                       Usage: portcullis audit export\n\nFor more information, try '--help'.\n";
        assert_eq!(
            sentence_of(message),
            "the following required arguments were not provided: --format <FORMAT>"
        );
        let message = "error: unexpected argument '--jsn' found\n\n  tip: a similar argument exists: '--json'\n\nUsage: x";
        assert_eq!(sentence_of(message), "unexpected argument '--jsn' found");
        assert_eq!(sentence_of("error: no"), "no");
    }
}
