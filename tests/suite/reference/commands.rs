//! `docs/reference/commands.md`, shell completions and man pages, from the definition of the
//! commands.

use super::{check_page, contents};
use portcullis_tests::{Home, Process};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;

/// What a command prints with `--help`.
fn help(command: &[String]) -> String {
    let arguments: Vec<_> = command
        .iter()
        .map(String::as_str)
        .chain(["--help"])
        .collect();
    let finished = Process::run(&Home::new(), &arguments, &[("COLUMNS", "100")]);
    assert_eq!(finished.code, Some(0), "{command:?}: {}", finished.stderr);
    finished.stdout
}

/// The commands below one, as its help lists them.
fn listed(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let list = list.take_while(|line| line.is_empty() || line.starts_with(' '));
    // Descriptions that do not fit stand on lines with more space before them.
    let names = list
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Every command with its help, each before the commands below it.
fn all_commands() -> Vec<(Vec<String>, String)> {
    let mut all = Vec::new();
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(command) = waiting.pop() {
        let help = help(&command);
        let below = listed(&help).into_iter().rev();
        waiting.extend(below.map(|name| command.iter().cloned().chain([name]).collect()));
        all.push((command, help));
    }
    all
}

fn name_of(command: &[String], separator: &str) -> String {
    let words: Vec<_> = ["portcullis"]
        .into_iter()
        .chain(command.iter().map(String::as_str))
        .collect();
    words.join(separator)
}

#[test]
fn commands_page_is_made_of_the_help_texts() {
    let intro = "# Commands\n\nMade from the definition of the commands by `tests/suite/reference`. Each text is what the command \
                 prints with `--help`.\n";
    let mut text = String::new();
    for (command, help) in all_commands() {
        let name = name_of(&command, " ");
        let help: Vec<_> = help.lines().map(str::trim_end).collect();
        write!(
            text,
            "\n## `{name}`\n\n```text\n{}\n```\n",
            help.join("\n").trim_end()
        )
        .expect("a string");
    }
    assert!(
        text.contains("## `portcullis drain begin`")
            && text.contains("## `portcullis config schema`")
    );
    check_page(
        "commands.md",
        &format!("{intro}\n{}{text}", contents(&text)),
    );
}

#[test]
fn every_command_has_a_man_page() {
    let home = Home::new();
    let folder = home.file("man/man1");
    let finished = Process::run(&home, &["man", &folder.display().to_string()], &[]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let files = fs::read_dir(&folder).expect("the folder is made");
    let pages: BTreeSet<OsString> = files
        .map(|file| file.expect("an entry").file_name())
        .collect();
    let commands = all_commands();
    let expected: BTreeSet<OsString> = commands
        .iter()
        .map(|(command, _)| format!("{}.1", name_of(command, "-")).into())
        .collect();
    assert_eq!(pages, expected);
    let page = fs::read_to_string(folder.join("portcullis-drain-begin.1")).expect("a page");
    assert!(
        page.contains(".SH NAME") && page.contains("\\-\\-ttl"),
        "{page}"
    );
}

#[test]
fn man_pages_that_cannot_be_written_are_a_failure() {
    let home = Home::new();
    home.write("file", "");
    let folder = home.file("file/man1").display().to_string();
    let finished = Process::run(&home, &["man", &folder], &[]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(
        finished.stderr.contains("cannot create"),
        "{}",
        finished.stderr
    );
}

#[test]
fn every_shell_gets_a_script_with_every_command() {
    let home = Home::new();
    let commands = all_commands();
    let names: BTreeSet<_> = commands
        .iter()
        .filter_map(|(command, _)| command.last())
        .collect();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let finished = Process::run(&home, &["completions", shell], &[]);
        assert_eq!(finished.code, Some(0), "{shell}: {}", finished.stderr);
        let missing: Vec<_> = names
            .iter()
            .filter(|name| !finished.stdout.contains(name.as_str()))
            .collect();
        assert!(missing.is_empty(), "{shell} lacks {missing:?}");
    }
    assert_eq!(
        Process::run(&home, &["completions", "tcsh"], &[]).code,
        Some(64)
    );
}
