//! The fenced blocks of the pages: each says its language, and each block of commands is run by a
//! test or listed with the reason why not.

use super::calls::{calls, typed};
use super::markdown::Block;
use super::runs::Scene;
use super::{Page, book, files_below, project};
use portcullis_tests::{Home, Process};
use std::fs;

/// What the fences may say.
const LANGUAGES: &[&str] = &[
    "caddy", "console", "haproxy", "ini", "lua", "nginx", "python", "rust", "sh", "text", "yaml",
];

/// What becomes of a block of commands.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    /// It is run by itself.
    Alone(Scene),
    /// It is run in one script with the other blocks of its page that have this fate.
    WithItsPage(Scene),
    /// A test with this name, in the suite or in `tests/interop`, does what the block shows.
    Test(&'static str),
    /// It is not run, for this reason.
    NotRun(&'static str),
}

use Fate::{Alone, NotRun, Test, WithItsPage};

const NEW: &str = "portcullis provider new";
/// Runs all commands of the page, with the released agent.
const WALK: &str = "test_the_page_works_from_the_first_command_to_the_last";
const AS_ROOT: &str = "it changes the machine, as root";

/// The page, the start of the block, and what becomes of it.
const BLOCKS: &[(&str, &str, Fate)] = &[
    (
        "README.md",
        "rustup target add",
        NotRun("it builds the release binary"),
    ),
    ("README.md", ".ci/run", NotRun("it runs this suite")),
    (
        "docs/doctor.md",
        "portcullis --home",
        Test("good_home_has_no_error_and_one_line_per_check"),
    ),
    (
        "docs/drain.md",
        "portcullis drain begin",
        Alone(Scene::Agent),
    ),
    (
        "docs/drain/command.md",
        "portcullis drain begin",
        Test("drain_commands_do_what_the_platform_does"),
    ),
    (
        "docs/drain/fleets.md",
        "portcullis drain --fleet",
        Test("fleet_reports_every_agent"),
    ),
    (
        "docs/drain/machines.md",
        "portcullis drain begin",
        Alone(Scene::Agent),
    ),
    (
        "docs/drain/protocol.md",
        "curl -s $URL/api/gateway/drain -H \"Authorization: Bearer $SECRET\" \\",
        Alone(Scene::Agent),
    ),
    (
        "docs/drain/protocol.md",
        "curl -s $URL/api/gateway/drain -H \"Authorization: Bearer $SECRET\"\n",
        Alone(Scene::Agent),
    ),
    (
        "docs/drain/protocol.md",
        "curl -s $URL/api/status",
        Alone(Scene::Agent),
    ),
    (
        "docs/embed.md",
        "KEY=$(portcullis secret",
        Test("example_guards_its_route"),
    ),
    (
        "docs/first-sign-in.md",
        "mkdir -m 700 home",
        WithItsPage(Scene::Folder),
    ),
    (
        "docs/first-sign-in.md",
        "cat > home/portcullis.yaml",
        WithItsPage(Scene::Folder),
    ),
    (
        "docs/first-sign-in.md",
        "portcullis up",
        WithItsPage(Scene::Folder),
    ),
    (
        "docs/first-sign-in.md",
        "curl --silent --cookie-jar",
        WithItsPage(Scene::Folder),
    ),
    (
        "docs/first-sign-in.md",
        "portcullis audit query",
        WithItsPage(Scene::Folder),
    ),
    ("docs/hermes.md", "python3 -m venv", Test(WALK)),
    ("docs/hermes.md", "export HERMES_HOME", Test(WALK)),
    ("docs/hermes.md", "openssl req", Test(WALK)),
    ("docs/hermes.md", "portcullis secret generate", Test(WALK)),
    (
        "docs/hermes.md",
        "echo 'a long pass phrase of ada'",
        Test(WALK),
    ),
    ("docs/hermes.md", "cat > home/portcullis.yaml", Test(WALK)),
    ("docs/hermes.md", "venv/bin/hermes gateway run", Test(WALK)),
    ("docs/hermes.md", "portcullis serve", Test(WALK)),
    ("docs/hermes.md", "agent()", Test(WALK)),
    ("docs/hermes.md", "portcullis drain begin", Test(WALK)),
    (
        "docs/install.md",
        "cargo build",
        NotRun("it builds the release binary"),
    ),
    ("docs/install.md", "useradd", NotRun(AS_ROOT)),
    (
        "docs/install.md",
        "podman build",
        NotRun("it builds an image"),
    ),
    (
        "docs/install.md",
        "kubectl create",
        NotRun("it needs a cluster"),
    ),
    (
        "docs/install.md",
        "deploy/debian/build.py",
        Test("test_1_installing_makes_the_user_and_the_home_and_enables_nothing"),
    ),
    (
        "docs/providers.md",
        "portcullis torture",
        Test("every_attack_is_caught_as_it_is_meant_to_be"),
    ),
    (
        "docs/providers.md",
        "portcullis provider check",
        Test("begins_well"),
    ),
    (
        "docs/providers/README.md",
        "portcullis provider new my-provider --lang rust",
        Test("rust"),
    ),
    (
        "docs/providers/README.md",
        "portcullis provider new my-provider --lang python",
        Test("python"),
    ),
    (
        "docs/providers/README.md",
        "portcullis provider new my-provider --lang javascript",
        Test("javascript"),
    ),
    (
        "docs/providers/README.md",
        "portcullis provider check",
        Test("rust"),
    ),
    (
        "docs/providers/assemblyscript.md",
        NEW,
        Alone(Scene::Folder),
    ),
    ("docs/providers/c.md", NEW, Alone(Scene::Folder)),
    ("docs/providers/cpp.md", NEW, Alone(Scene::Folder)),
    ("docs/providers/go.md", NEW, Alone(Scene::Folder)),
    ("docs/providers/javascript.md", NEW, Alone(Scene::Folder)),
    ("docs/providers/password.md", NEW, Alone(Scene::Folder)),
    (
        "docs/providers/password.md",
        "cargo test",
        Test("begins_well"),
    ),
    ("docs/providers/python.md", NEW, Alone(Scene::Folder)),
    ("docs/providers/redirect.md", NEW, Alone(Scene::Folder)),
    (
        "docs/providers/redirect.md",
        "cargo test",
        Test("begins_well"),
    ),
    ("docs/providers/rust.md", NEW, Alone(Scene::Folder)),
    ("docs/providers/typescript.md", NEW, Alone(Scene::Folder)),
    ("docs/providers/wat.md", NEW, Alone(Scene::Folder)),
    ("docs/providers/zig.md", NEW, Alone(Scene::Folder)),
    (
        "docs/reference/configuration.md",
        "portcullis config schema",
        Alone(Scene::Folder),
    ),
    (
        "docs/rotate.md",
        "(umask 077 && portcullis secret",
        WithItsPage(Scene::Home),
    ),
    (
        "docs/rotate.md",
        "rm \"$HERMES_HOME/drain-secret\"",
        WithItsPage(Scene::Home),
    ),
    (
        "docs/rotate.md",
        "(umask 077 && { portcullis secret",
        WithItsPage(Scene::Home),
    ),
    (
        "docs/rotate.md",
        "KEY=$(portcullis secret",
        WithItsPage(Scene::Home),
    ),
    (
        "docs/rotate.md",
        "echo 'another long pass phrase'",
        WithItsPage(Scene::Home),
    ),
    (
        "docs/rotate.md",
        "mkdir -m 700 \"$HERMES_HOME/audit-2026\"",
        WithItsPage(Scene::Home),
    ),
    ("docs/upgrade.md", "cd \"$HERMES_HOME\"", Alone(Scene::Home)),
    (
        "docs/upgrade.md",
        "portcullis drain begin",
        Alone(Scene::Agent),
    ),
];

/// A block of commands, as a script.
pub(super) struct Commands {
    pub(super) page: String,
    line: usize,
    pub(super) script: String,
}

impl Commands {
    fn of(page: &Page, block: &Block) -> Option<Self> {
        let script = match block.language.as_str() {
            "sh" => block.text.clone(),
            "console" => typed(&block.text),
            _ => return None,
        };
        Some(Self {
            page: page.path.clone(),
            line: block.line,
            script,
        })
    }

    /// The rows of the table that are about it.
    fn rows(&self) -> impl Iterator<Item = &'static (&'static str, &'static str, Fate)> {
        BLOCKS
            .iter()
            .filter(move |(page, start, _)| *page == self.page && self.script.starts_with(start))
    }

    /// What the table says.
    pub(super) fn fate(&self) -> Option<Fate> {
        self.rows().next().map(|(_, _, fate)| *fate)
    }
}

fn pages() -> Vec<Page> {
    book()
        .into_iter()
        .chain([Page::read("README.md".to_owned())])
        .collect()
}

/// All blocks of commands of the book and the README.
pub(super) fn all_commands() -> Vec<Commands> {
    let pages = pages();
    let of_page = |page: &Page| -> Vec<Commands> {
        page.markdown
            .blocks
            .iter()
            .filter_map(|block| Commands::of(page, block))
            .collect()
    };
    pages.iter().flat_map(of_page).collect()
}

#[test]
fn every_block_says_its_language() {
    for page in pages() {
        for block in &page.markdown.blocks {
            let is_known = LANGUAGES.contains(&block.language.as_str());
            assert!(
                is_known,
                "{}:{}: {:?}",
                page.path, block.line, block.language
            );
        }
    }
}

#[test]
fn every_block_of_commands_is_run_or_says_why_not() {
    let all = all_commands();
    for block in &all {
        let rows = block.rows().count();
        assert_eq!(
            rows, 1,
            "{}:{} has {rows} rows in the table of blocks",
            block.page, block.line
        );
    }
    assert_eq!(
        all.len(),
        BLOCKS.len(),
        "a row of the table is about no block"
    );
}

#[test]
fn tests_that_the_table_names_exist() {
    let rust = files_below("tests/suite", ".rs");
    let python = files_below("tests/interop", ".py");
    let paths = rust.iter().chain(&python);
    let sources: String = paths
        .map(|path| fs::read_to_string(project(path)).expect(path))
        .collect();
    for (page, start, fate) in BLOCKS {
        match fate {
            Test(name) => {
                let is_there = ["fn", "def"]
                    .iter()
                    .any(|word| sources.contains(&format!("{word} {name}(")));
                assert!(is_there, "{page}: {start}: no test {name}");
            }
            NotRun(reason) => assert!(reason.len() > 10, "{page}: {start}: {reason}"),
            Alone(_) | WithItsPage(_) => {}
        }
    }
}

#[test]
fn commands_of_the_pages_are_those_of_the_program() {
    let home = Home::new();
    let mut count = 0;
    for block in all_commands() {
        for call in calls(&block.script) {
            let arguments: Vec<_> = call.iter().map(String::as_str).chain(["--help"]).collect();
            let finished = Process::run(&home, &arguments, &[]);
            assert_eq!(
                finished.code,
                Some(0),
                "{}:{}: {call:?}: {}",
                block.page,
                block.line,
                finished.stderr
            );
            count += 1;
        }
    }
    assert!(count > 30, "the pages call the program: {count}");
}
