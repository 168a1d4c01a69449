//! Hot paths must not grow unnoticed: their instructions are counted (callgrind), which no busy
//! machine disturbs.

use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The share by which a path may exceed its baseline. More must be an intended change.
const TOLERANCE: f64 = 0.05;

fn baseline() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/instructions.json")
}

/// `target/<profile>/examples/hot_paths`, which is built with the suite.
fn program() -> PathBuf {
    let suite = std::env::current_exe().expect("the suite");
    suite
        .ancestors()
        .nth(2)
        .expect("target/<profile>")
        .join("examples/hot_paths")
}

/// Instructions of each path, once.
fn count() -> Map<String, Value> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = folder.path().join("home");
    // Compiles the guests, which is not what is counted.
    assert!(
        Command::new(program())
            .arg(&home)
            .output()
            .expect("hot_paths")
            .status
            .success()
    );
    let counted = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=counted",
            "--dump-before=hot_paths::mark*",
        ])
        .arg(program())
        .arg(&home)
        .current_dir(folder.path())
        .output()
        .expect("valgrind");
    let (names, errors) = (
        String::from_utf8_lossy(&counted.stdout),
        String::from_utf8_lossy(&counted.stderr),
    );
    assert!(counted.status.success(), "{errors}");
    // The first part is what prepares the first path, the third what prepares the second.
    let parts = (2..)
        .step_by(2)
        .map(|part| folder.path().join(format!("counted.{part}")));
    names
        .lines()
        .zip(parts)
        .map(|(path, part)| of_one(path, &part))
        .collect()
}

fn of_one(path: &str, part: &Path) -> (String, Value) {
    let (name, times) = path.split_once('\t').expect("a name, and how many times");
    let times: u64 = times.parse().expect("a number");
    let text = fs::read_to_string(part).expect("what callgrind counted");
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))
        .expect("a total");
    (
        name.to_owned(),
        json!(total.trim().parse::<u64>().expect("a number") / times),
    )
}

#[test]
fn hot_paths_take_no_more_instructions_than_they_did() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("SKIPPED: instructions are not counted without valgrind");
        return;
    }
    let known: Map<String, Value> = fs::read_to_string(baseline())
        .map(|text| serde_json::from_str(&text).expect("a baseline"))
        .unwrap_or_default();
    let counted = count();
    let found = program()
        .ancestors()
        .nth(3)
        .expect("the target folder")
        .join("instructions.json");
    fs::write(
        &found,
        serde_json::to_string_pretty(&counted).expect("JSON") + "\n",
    )
    .expect("the target folder");
    let more = |(name, now): (&String, &Value)| {
        let (now, before) = (
            now.as_f64()?,
            known.get(name).and_then(Value::as_f64).unwrap_or(0.0),
        );
        println!("{name}: {now}, {before} before");
        (now > before * (1.0 + TOLERANCE)).then(|| format!("{name}: {before} before, {now} now"))
    };
    let more: Vec<_> = counted.iter().filter_map(more).collect();
    assert!(
        known.keys().eq(counted.keys()),
        "the baseline has other paths: {known:?}"
    );
    assert!(
        more.is_empty(),
        "{more:#?}\nIf that is meant, {} is the new {}",
        found.display(),
        baseline().display()
    );
}
