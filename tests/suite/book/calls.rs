//! Finds the calls of the program in a script of a page.

use std::iter::Peekable;
use std::str::Chars;

/// The arguments of each call of `portcullis` in a script for `sh`, those in `$(...)` included.
pub(super) fn calls(script: &str) -> Vec<Vec<String>> {
    let mut splitter = Splitter::default();
    splitter.read(&without_documents(script));
    splitter
        .commands
        .iter()
        .filter_map(|words| arguments(words))
        .map(<[String]>::to_vec)
        .collect()
}

/// What was typed in a block of the language `console`: the lines after `$ `, with those that
/// continue them.
pub(super) fn typed(console: &str) -> String {
    let mut script = String::new();
    let mut goes_on = false;
    for line in console.lines() {
        let Some(typed) = line.strip_prefix("$ ").or(goes_on.then_some(line)) else {
            continue;
        };
        script.push_str(typed);
        script.push('\n');
        goes_on = typed.ends_with('\\');
    }
    script
}

/// The script without the lines of its here-documents.
fn without_documents(script: &str) -> String {
    let mut kept = String::new();
    let mut end: Option<String> = None;
    for line in script.lines() {
        if end.as_deref() == Some(line) {
            end = None;
            continue;
        }
        if end.is_some() {
            continue;
        }
        end = line
            .split_once("<<")
            .map(|(_, name)| name.trim().trim_matches(['\'', '"']).to_owned());
        kept.push_str(line.split("<<").next().unwrap_or_default());
        kept.push('\n');
    }
    kept
}

/// What follows the name of the program, where a command calls it.
fn arguments(words: &[String]) -> Option<&[String]> {
    let mut rest = words;
    if ["kubectl", "podman", "docker"].contains(&words.first()?.as_str()) {
        // What runs in the container.
        let end_of_flags = words.iter().position(|word| word == "--")?;
        rest = words.get(end_of_flags + 1..)?;
    }
    loop {
        let (first, after) = rest.split_first()?;
        rest = match first.as_str() {
            "sudo" | "exec" | "do" | "if" | "then" | "while" | "!" | "{" => after,
            // The user for `sudo`.
            "-u" => after.get(1..)?,
            name if name.contains('=') && !name.starts_with('-') => after,
            program => return (program.rsplit('/').next() == Some("portcullis")).then_some(after),
        };
    }
}

/// Splits a script into the words of its simple commands.
#[derive(Default)]
struct Splitter {
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    word: Option<String>,
    /// The next word is a file, to which the output goes.
    is_redirected: bool,
}

impl Splitter {
    fn read(&mut self, script: &str) {
        let mut rest = script.chars().peekable();
        let mut quote = None;
        while let Some(c) = rest.next() {
            match (quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') => quote = None,
                (None | Some('"'), '\\') => match rest.next() {
                    Some('\n') | None => {}
                    Some(escaped) => self.push(escaped),
                },
                (None | Some('"'), '$') if rest.peek() == Some(&'(') => {
                    rest.next();
                    let mut inner = Self::default();
                    inner.read(&until_closed(&mut rest));
                    self.commands.append(&mut inner.commands);
                    // It stands for some word.
                    self.push('1');
                }
                (Some(_), c) => self.push(c),
                (None, '\'' | '"') => {
                    self.word.get_or_insert_default();
                    quote = Some(c);
                }
                (None, '#') if self.word.is_none() => {
                    while rest.next_if(|c| *c != '\n').is_some() {}
                }
                (None, ' ' | '\t') => self.end_word(),
                (None, '\n' | ';' | '|' | '&' | '(' | ')') => self.end_command(),
                (None, '<' | '>') => {
                    // The digit of `2>` is a descriptor.
                    self.word
                        .take_if(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
                    self.end_word();
                    self.is_redirected = true;
                }
                (None, c) => self.push(c),
            }
        }
        self.end_command();
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if !std::mem::take(&mut self.is_redirected) {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }
}

/// What stands before the bracket that closes a `$(`, without it.
fn until_closed(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut inner = String::new();
    let mut depth = 1;
    for c in rest.by_ref() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        inner.push(c);
    }
    inner
}

#[test]
fn calls_are_found_wherever_they_stand() {
    for (script, expected) in [
        (
            "portcullis drain begin --reason \"image 2.1\"  # done",
            &[&["drain", "begin", "--reason", "image 2.1"][..]][..],
        ),
        (
            "sudo -u portcullis portcullis doctor && /usr/bin/portcullis openapi",
            &[&["doctor"], &["openapi"]],
        ),
        (
            "for try in $(seq 60); do portcullis drain cancel && break; done",
            &[&["drain", "cancel"]],
        ),
        (
            "X=\"$(portcullis secret generate)\" make",
            &[&["secret", "generate"]],
        ),
        (
            "(umask 077 && portcullis secret generate > home/drain-secret)",
            &[&["secret", "generate"]],
        ),
        (
            "kubectl exec agent-0 -- portcullis drain status",
            &[&["drain", "status"]],
        ),
        (
            "cat > x <<'END'\nportcullis nothing\nEND\nportcullis serve \\\n  --port 1 &",
            &[&["serve", "--port", "1"]],
        ),
        ("podman build -t portcullis .\ncd portcullis", &[]),
    ] {
        assert_eq!(calls(script), expected, "{script}");
    }
    assert_eq!(
        typed("$ curl x \\\n  -d y\nan answer\n$ echo\n"),
        "curl x \\\n  -d y\necho\n"
    );
}
