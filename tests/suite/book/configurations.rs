//! The configurations of the pages are ones that the program accepts.

use super::book;
use super::markdown::Block;
use portcullis_tests::{DRAIN_SECRET, Finished, Home, Process, guest};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// What a page is known to leave out, since it shows a part of a configuration: the page, and a
/// part of the complaint.
const LEFT_OUT: &[(&str, &str)] = &[
    ("docs/apps.md", "but no provider can sign a person in"),
    ("docs/observe.md", "no provider may hand out `metrics.read`"),
    ("docs/people.md", "no provider is named `corp`"),
    ("docs/people.md", "no provider is named `local`"),
    ("docs/tls.md", "but no provider can sign a person in"),
    ("docs/tls.md", "is not for agent.example.com"),
];

/// Files that configurations name, and the certificates that stand for them.
const CERTIFICATES: [(&str, &str); 4] = [
    ("clients.pem", "client-authority.pem"),
    ("fullchain.pem", "good.pem"),
    ("internal-ca.pem", "authority.pem"),
    ("privkey.pem", "server.key"),
];

/// The hash of a password.
const HASH: &str =
    "scrypt$16384$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$gD8IXXHpabjWAMLyLJhnuG0U29ZDOOfkM9wHxKgNrYc=";

/// The block as a whole configuration; `None` if it is another program's, or a part that cannot be
/// completed.
fn whole(block: &Block) -> Option<String> {
    let is_content = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let first = block
        .text
        .lines()
        .find(is_content)
        .filter(|_| block.language == "yaml")?;
    if first.starts_with("dashboard:") || first.starts_with("gateway:") {
        return Some(block.text.clone());
    }
    let is_provider =
        first.trim_start().starts_with("- name: ") && block.text.contains("component: ");
    is_provider.then(|| {
        let indent = if first.starts_with(' ') { "" } else { "    " };
        let entries: String = block
            .text
            .lines()
            .map(|line| format!("{indent}{line}\n"))
            .collect();
        format!("dashboard:\n  providers:\n{entries}")
    })
}

/// The values after a key, up to the end of the value.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let ends = [',', '}', ']', ' ', '\n'];
    text.split(key)
        .skip(1)
        .filter_map(move |rest| rest.split(ends).next())
}

/// Makes the files that a configuration names.
fn make_files(home: &Home, text: &str) {
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates");
    for (name, certificate) in CERTIFICATES {
        fs::copy(certificates.join(certificate), home.file(name))
            .expect("a certificate of the tests");
    }
    // In base64url, as certificate authorities hand it out.
    home.write("eab-key", "bWFkZS1mb3ItdGhlLXRlc3RzLW9mLXRoZS1wYWdlcw");
    home.write("logo.svg", "<svg/>");
    home.write(
        "users.yaml",
        &format!("- {{username: ada, password_hash: \"{HASH}\"}}\n"),
    );
    let components = values(text, "component: ").filter(|name| name.ends_with(".wasm"));
    let components = components.map(|name| {
        (
            name,
            fs::read(guest("signs_in")).expect("a guest of the tests"),
        )
    });
    // Two secrets that stand beside each other must differ.
    let secrets = values(text, "file: ").zip(1..);
    let secrets =
        secrets.map(|(name, number)| (name, format!("{DRAIN_SECRET}{number}").into_bytes()));
    for (name, content) in components.chain(secrets) {
        let path = home.file(name);
        fs::create_dir_all(path.parent().expect("a file has a folder"))
            .expect("a folder in the home");
        if !path.exists() {
            fs::write(path, content).expect("a file in the home");
        }
    }
}

fn check(text: &str) -> Finished {
    let home = Home::new();
    let digest = hex::encode(Sha256::digest(
        fs::read(guest("signs_in")).expect("a guest of the tests"),
    ));
    let text = text
        .replace("/run/", &format!("{}/run/", home.path().display()))
        .replace("$argon2id$v=19$...", HASH)
        .replace("9f2c...", &digest);
    make_files(&home, &text);
    home.write("portcullis.yaml", &text);
    let variables = values(&text, "env: ");
    let variables = variables.map(|name| {
        (
            name,
            if name.ends_with("_HASH") {
                HASH
            } else {
                DRAIN_SECRET
            },
        )
    });
    Process::run(&home, &["config", "check"], &variables.collect::<Vec<_>>())
}

/// What the program has against a configuration, without warnings and lines of the log.
fn complaints(finished: &Finished) -> Vec<String> {
    let is_complaint = |line: &&str| {
        !["warning: ", "warn "]
            .iter()
            .any(|start| line.starts_with(start))
            && !is_logged(line)
    };
    let lines = finished
        .stderr
        .lines()
        .filter(is_complaint)
        .map(str::to_owned)
        .collect();
    if finished.code == Some(0) {
        Vec::new()
    } else {
        lines
    }
}

/// Whether a line begins with a time and a level.
fn is_logged(line: &str) -> bool {
    let mut words = line.split_whitespace().skip(1);
    words
        .next()
        .is_some_and(|level| ["INFO", "WARN", "ERROR"].contains(&level))
}

#[test]
fn configurations_of_the_pages_are_accepted() {
    let mut count = 0;
    let mut wrong = Vec::new();
    let mut met = vec![false; LEFT_OUT.len()];
    for page in book() {
        for block in &page.markdown.blocks {
            let Some(text) = whole(block) else { continue };
            count += 1;
            for complaint in complaints(&check(&text)) {
                let known = LEFT_OUT
                    .iter()
                    .position(|(path, part)| *path == page.path && complaint.contains(part));
                match known {
                    Some(row) => met[row] = true,
                    None => wrong.push(format!("{}:{}: {complaint}", page.path, block.line)),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let stale: Vec<_> = LEFT_OUT
        .iter()
        .zip(met)
        .filter(|(_, is_met)| !is_met)
        .map(|(row, _)| row)
        .collect();
    assert!(stale.is_empty(), "no page leaves this out: {stale:?}");
    assert!(count > 20, "the pages show configurations: {count}");
}
