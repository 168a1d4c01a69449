//! Runs the commands of the pages.

use super::Page;
use super::blocks::{Commands, Fate, all_commands};
use portcullis_tests::languages::author;
use portcullis_tests::{DRAIN_SECRET, Home, Process};
use std::collections::BTreeMap;
use std::net::TcpListener;

/// What is there before the commands are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    /// An empty folder.
    Folder,
    /// `$HERMES_HOME` is a home with the files that a used one has. Nothing runs over it.
    Home,
    /// A gateway and a dashboard run over `$HERMES_HOME`; `$URL` is the dashboard's, and `$SECRET`
    /// the drain secret.
    Agent,
}

/// Makes the files of a used home.
const USED_HOME: &str = r#"
printf 'dashboard: {}\n' > "$HERMES_HOME/portcullis.yaml"
for secret in drain-secret session_key; do (umask 077 && portcullis secret generate > "$HERMES_HOME/$secret"); done
echo 'a long pass phrase' | portcullis user add ada --file "$HERMES_HOME/users.yaml"
mkdir "$HERMES_HOME/logs"
touch "$HERMES_HOME/audit_key" "$HERMES_HOME/audit_head"
"#;

/// Stands for the service manager, which a test cannot ask.
const SYSTEMCTL: &str = "systemctl() { :; }\n";

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// The script with ports that are free in the place of the default ones, and an end for what it
/// starts in the background.
pub(crate) fn on_free_ports(script: &str) -> String {
    let script = ["9119", "8642"]
        .iter()
        .fold(script.to_owned(), |script, port| {
            script.replace(port, &free_port().to_string())
        });
    script.replace(
        " &\n",
        " &\nSERVER=$!\ntrap 'kill $SERVER; wait $SERVER || :' EXIT\n",
    )
}

/// The lines that the output must contain: those after `#> `.
pub(crate) fn expected(script: &str) -> impl Iterator<Item = &str> {
    script.lines().filter_map(|line| line.strip_prefix("#> "))
}

/// Runs a script, and looks for what it says that comes of it.
fn run(place: &str, scene: Scene, script: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::new();
    let mut prelude = format!(
        "{SYSTEMCTL}export HERMES_HOME='{}'\n",
        home.path().display()
    );
    let mut processes: Vec<Process> = Vec::new();
    match scene {
        Scene::Folder => {}
        Scene::Home => prelude.push_str(USED_HOME),
        Scene::Agent => {
            home.write(
                "portcullis.yaml",
                &format!("dashboard: {{port: {}}}\n", free_port()),
            );
            home.write("drain-secret", DRAIN_SECRET);
            let dashboard = home.dashboard_with(&[], &[]);
            prelude.push_str(&format!(
                "URL={} SECRET={DRAIN_SECRET}\n",
                dashboard.url("")
            ));
            processes.extend([home.gateway(), dashboard]);
        }
    }
    let output = author(
        &format!("{prelude}{}", on_free_ports(script)),
        folder.path(),
    );
    for expected in expected(script) {
        assert!(output.contains(expected), "{place}: {expected}\n\n{output}");
    }
    drop(processes);
}

/// Runs all blocks of a scene that are run by themselves.
fn run_alone(wanted: Scene) {
    let is_wanted =
        |block: &Commands| matches!(block.fate(), Some(Fate::Alone(scene)) if scene == wanted);
    let blocks: Vec<_> = all_commands().into_iter().filter(is_wanted).collect();
    assert!(!blocks.is_empty(), "{wanted:?}");
    for block in blocks {
        run(&block.page, wanted, &block.script);
    }
}

#[test]
fn commands_of_an_author_work_in_an_empty_folder() {
    run_alone(Scene::Folder);
}

#[test]
fn commands_of_an_operator_work_in_a_home() {
    run_alone(Scene::Home);
}

#[test]
fn commands_of_a_platform_work_beside_an_agent() {
    run_alone(Scene::Agent);
}

#[test]
fn pages_that_are_one_story_work_from_their_start_to_their_end() {
    let mut stories: BTreeMap<String, (Scene, String)> = BTreeMap::new();
    for block in all_commands() {
        if let Some(Fate::WithItsPage(scene)) = block.fate() {
            let (_, script) = stories
                .entry(block.page)
                .or_insert_with(|| (scene, String::new()));
            script.push_str(&block.script);
        }
    }
    assert!(stories.len() > 1, "{stories:?}");
    for (page, (scene, script)) in stories {
        run(&page, scene, &script);
    }
}

/// What a restart or a reload asks of a home, and what fails the script otherwise.
const LOADS: &str = "portcullis config check > /dev/null\n";

#[test]
fn every_step_of_a_rotation_leaves_a_configuration_that_loads() {
    let home = Home::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = home.path().display();
    let mut script = format!("export HERMES_HOME='{path}'\n{USED_HOME}");
    // The secret of an identity provider, which the page does not make.
    script.push_str("(umask 077 && portcullis secret generate > \"$HERMES_HOME/oidc-secret\")\n");
    script.push_str(LOADS);

    let mut count = 0;
    for block in &Page::read("docs/rotate.md".to_owned()).markdown.blocks {
        if block.language == "yaml" {
            let text = &block.text;
            script.push_str(&format!(
                "cat > \"$HERMES_HOME/portcullis.yaml\" <<'END'\n{text}END\n{LOADS}"
            ));
            count += 1;
            continue;
        }
        for line in block.text.lines() {
            script.push_str(&format!("{line}\n{LOADS}"));
            count += 1;
        }
    }
    assert!(count > 10, "the page has steps: {count}");
    author(&script, folder.path());
}

#[test]
fn commands_of_the_pages_make_no_file_or_folder_that_others_may_read() {
    for block in all_commands() {
        for line in block.script.lines() {
            let makes_home = line.starts_with("mkdir ") && !line.contains("-m 700");
            let keeps_secret = line.contains("secret generate >") || line.contains("tar --create");
            let is_open = (makes_home || keeps_secret) && !block.script.contains("umask 077");
            assert!(
                !is_open || is_closed_page(&block.page),
                "{}: {line}",
                block.page
            );
        }
    }
}

/// Whether a page sets the umask for all of its commands.
fn is_closed_page(page: &str) -> bool {
    page == "docs/hermes.md"
}
