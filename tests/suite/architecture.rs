//! What the manifests of the crates cannot say, read from the syntax of the sources: the arrows
//! between the modules of the dashboard and between the rooms of the sandbox, and the names that
//! few places may use. Which crate may use which is in their manifests, and in `deny.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Attribute, ItemMod, ItemUse, Macro, UseTree};

/// What each module of the dashboard may use of the others.
const DASHBOARD: &[(&str, &[&str])] = &[
    ("yaml", &[]),
    ("users_file", &["yaml"]),
    ("audit", &[]),
    ("drain", &[]),
    ("web", &["audit", "drain"]),
    ("config", &["drain", "users_file", "web", "yaml"]),
    ("app", &["audit", "config", "drain", "web"]),
];

/// Paths in the code that only these files and folders of `runtime/` may name.
const ONLY_IN: &[(&str, &[&str])] = &[
    (
        "hyper",
        &[
            "net/src/listen.rs",
            "net/src/listen/",
            "sandbox/src/host/outbound/cause.rs",
            "dashboard/src/web/apps/",
        ],
    ),
    (
        "axum",
        &[
            "dashboard/src/web/",
            "dashboard/src/app/server.rs",
            "gateway/src/server.rs",
            "tower/examples/embed.rs",
        ],
    ),
    (
        "hyper_util",
        &[
            "dashboard/src/web/apps/",
            "net/src/acme/client.rs",
            "net/src/listen/speak.rs",
            "observe/src/telemetry/collector.rs",
            "sandbox/src/host/outbound/",
        ],
    ),
    (
        "hyper_rustls",
        &[
            "dashboard/src/web/apps/connector.rs",
            "net/src/acme/client.rs",
            "observe/src/telemetry/collector.rs",
            "sandbox/src/host/outbound/mod.rs",
        ],
    ),
    ("instant_acme", &["net/src/acme/"]),
    ("rcgen", &["net/src/acme/"]),
    (
        "opentelemetry",
        &["auth/src/refresh.rs", "observe/src/telemetry/"],
    ),
    ("sd_notify", &["cli/src/commands/service_manager.rs"]),
    (
        "std::env",
        &[
            "author/build.rs",
            "dashboard/src/config/environment.rs",
            "cli/src/commands/up.rs",
            "cli/src/commands/gateway.rs",
            "cli/src/commands/json_failure.rs",
            "cli/src/commands/known_name.rs",
            "tower/examples/embed.rs",
        ],
    ),
    (
        "std::fs",
        &[
            "author/build.rs",
            "author/src/torture/process.rs",
            "cli/",
            "dashboard/src/app/",
            "dashboard/src/audit/",
            "dashboard/src/config/",
            "dashboard/src/users_file.rs",
            "gateway/",
            "home/",
            "net/src/trust.rs",
            "observe/src/exposition/process.rs",
            "sandbox/",
        ],
    ),
    (
        "Instant::now",
        &[
            "author/",
            "cli/",
            "dashboard/src/app/session_list.rs",
            "dashboard/src/audit/files.rs",
            "dashboard/src/audit/writer.rs",
            "dashboard/src/web/",
            "gateway/src/restart_watch.rs",
            "gateway/src/watcher.rs",
            "home/src/home_lock.rs",
            "home/src/threads.rs",
            "net/src/listen/",
            "observe/src/telemetry/collector.rs",
            "sandbox/",
            "tower/src/guard.rs",
        ],
    ),
    (
        "Timestamp::now",
        &[
            "cli/src/commands/doctor/certificate.rs",
            "dashboard/src/app/certificate.rs",
            "dashboard/src/app/ordered_certificate.rs",
            "dashboard/src/audit/",
            "dashboard/src/drain/control.rs",
            "dashboard/src/web/access_log.rs",
            "dashboard/src/web/drain.rs",
            "dashboard/src/web/status.rs",
            "gateway/",
            "home/src/restart_request.rs",
            "home/src/status_file.rs",
            "sandbox/src/guard/health.rs",
        ],
    ),
];

fn runtime() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime")
}

/// The paths that each source names outside its unit tests.
fn sources() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = BTreeMap::new();
    collect(&runtime(), &mut files);
    assert!(files.len() > 100, "the sources were found");
    files
}

#[expect(clippy::panic, reason = "a source that cannot be parsed is named")]
fn collect(folder: &Path, files: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs")
            && !path.ends_with("tests.rs")
        {
            let name = path
                .strip_prefix(runtime())
                .expect("below the root")
                .display()
                .to_string();
            let text = fs::read_to_string(&path).expect("a source is text");
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut paths = Paths::default();
            paths.visit_file(&file);
            files.insert(name, paths.0);
        }
    }
}

/// Collects what is named, as `a::b::c`.
#[derive(Default)]
struct Paths(BTreeSet<String>);

impl Visit<'_> for Paths {
    fn visit_item_mod(&mut self, module: &ItemMod) {
        if !module.attrs.iter().any(is_for_tests) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        self.add_tree(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let names: Vec<_> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.0.insert(names.join("::"));
        visit::visit_path(self, path);
    }

    /// A macro's input is not parsed: every `a::b` in it counts.
    fn visit_macro(&mut self, call: &Macro) {
        let tokens = call.tokens.to_string().replace(" :: ", "::");
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
        self.0.extend(
            tokens
                .split(|c| !is_part(c))
                .filter(|word| word.contains("::"))
                .map(str::to_owned),
        );
        visit::visit_macro(self, call);
    }
}

impl Paths {
    fn add_tree(&mut self, tree: &UseTree, prefix: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.add_tree(&path.tree, prefix);
                prefix.pop();
            }
            UseTree::Name(name) => self.add(prefix, &name.ident.to_string()),
            UseTree::Rename(rename) => self.add(prefix, &rename.ident.to_string()),
            UseTree::Glob(_) => self.add(prefix, "*"),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_tree(tree, prefix);
                }
            }
        }
    }

    fn add(&mut self, prefix: &[String], name: &str) {
        self.0
            .insert([prefix, &[name.to_owned()]].concat().join("::"));
    }
}

pub(crate) fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|condition| condition.is_ident("test"))
}

/// Whether the path names this: from its beginning, or for `Type::function` at its end.
fn names(path: &str, wanted: &str) -> bool {
    let starts = path
        .strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let ends = path
        .strip_suffix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with("::"));
    starts || ends
}

#[test]
fn some_names_have_one_home() {
    let mut wrong = Vec::new();
    for (file, paths) in sources() {
        for (wanted, homes) in ONLY_IN {
            let is_home = homes
                .iter()
                .any(|home| file == *home || (home.ends_with('/') && file.starts_with(home)));
            if !is_home && paths.iter().any(|path| names(path, wanted)) {
                wrong.push(format!("{file} names {wanted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_home_of_a_name_uses_it() {
    let sources = sources();
    let mut unused = Vec::new();
    for (wanted, homes) in ONLY_IN {
        for home in *homes {
            let is_in =
                |file: &str| file == *home || (home.ends_with('/') && file.starts_with(home));
            let mut files = sources.iter().filter(|(file, _)| is_in(file));
            if !files.any(|(_, paths)| paths.iter().any(|path| names(path, wanted))) {
                unused.push(format!("{home} does not name {wanted}"));
            }
        }
    }
    assert!(unused.is_empty(), "{unused:#?}");
}

#[test]
fn modules_of_the_dashboard_use_only_what_they_may() {
    let mut wrong = Vec::new();
    for (file, paths) in sources() {
        let Some(inner) = file
            .strip_prefix("dashboard/src/")
            .filter(|file| *file != "lib.rs")
        else {
            continue;
        };
        let module = inner.split(['/', '.']).next().unwrap_or(inner);
        let allowed = DASHBOARD
            .iter()
            .find(|(name, _)| *name == module)
            .map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{file}: `{module}` is not in the table"));
        for used in paths.iter().filter_map(|path| path.strip_prefix("crate::")) {
            let used = used.split("::").next().unwrap_or(used);
            if used != module && !allowed.contains(&used) {
                wrong.push(format!("{file} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn table_of_the_dashboard_is_one_way() {
    for (position, (module, allowed)) in DASHBOARD.iter().enumerate() {
        for used in *allowed {
            let behind = DASHBOARD[..position].iter().any(|(known, _)| known == used);
            assert!(behind, "{module} -> {used} points up");
        }
    }
}

/// The rooms of the sandbox, from the lowest, each with what it may use, as `ARCHITECTURE.md` says.
fn rooms() -> Vec<(String, Vec<String>)> {
    let map = fs::read_to_string(runtime().join("../ARCHITECTURE.md")).expect("the map is there");
    let (_, rest) = map.split_once("```rooms\n").expect("a block of rooms");
    let (block, _) = rest.split_once("```").expect("the end of the block");
    let read = |line: &str| {
        let (room, uses) = line.split_once("->").expect("a room and what it uses");
        (
            room.trim().to_owned(),
            uses.split(',').map(|used| used.trim().to_owned()).collect(),
        )
    };
    block.lines().map(read).collect()
}

/// What the files of each room use of the crate outside the room: (room, file, path below the
/// crate). Files beside the rooms that use nothing of the crate serve every room, and are left out.
fn uses_of_rooms() -> Vec<(String, String, String)> {
    let sources = sources();
    let serves_all = |module: &str| {
        let paths = sources.get(&format!("sandbox/src/{module}.rs"));
        paths.is_some_and(|paths| !paths.iter().any(|path| path.starts_with("crate::")))
    };

    let mut uses = Vec::new();
    for (file, paths) in &sources {
        let inner = file.strip_prefix("sandbox/src/");
        let Some((room, rest)) = inner.and_then(|inner| inner.split_once('/')) else {
            continue;
        };
        for path in paths {
            let leaves = path.starts_with("super::super")
                || (rest == "mod.rs" && path.starts_with("super::"));
            assert!(!leaves, "{file} leaves its room by {path}");
            let Some(used) = path.strip_prefix("crate::") else {
                continue;
            };
            let module = used.split("::").next().unwrap_or(used);
            if module != room && !serves_all(module) {
                uses.push((room.to_owned(), file.clone(), used.to_owned()));
            }
        }
    }
    assert!(uses.len() > 30, "the rooms were found");
    uses
}

/// Whether a path is this or below it.
fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn rooms_of_the_sandbox_use_only_what_they_may() {
    let rooms = rooms();
    let mut wrong = Vec::new();
    for (room, file, used) in uses_of_rooms() {
        let allowed = rooms
            .iter()
            .find(|(name, _)| *name == room)
            .map(|(_, allowed)| allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{file}: `{room}` is not on the map"));
        if !allowed.iter().any(|allowed| is_below(&used, allowed)) {
            wrong.push(format!("{file} uses {used}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_arrow_between_rooms_is_used() {
    let uses = uses_of_rooms();
    let mut unused = Vec::new();
    for (room, allowed) in rooms() {
        for arrow in allowed {
            if !uses
                .iter()
                .any(|(name, _, used)| *name == room && is_below(used, &arrow))
            {
                unused.push(format!("{room} -> {arrow}"));
            }
        }
    }
    assert!(unused.is_empty(), "{unused:#?}");
}

#[test]
fn rooms_use_whole_rooms_only_from_above() {
    let rooms = rooms();
    for (position, (room, allowed)) in rooms.iter().enumerate() {
        for arrow in allowed {
            let is_room = rooms[position..].iter().any(|(name, _)| name == arrow);
            assert!(!is_room, "{room} -> {arrow} points up");
        }
    }
}

#[test]
fn every_crate_and_module_of_the_dashboard_states_its_invariant() {
    let mut files: Vec<_> = fs::read_dir(runtime())
        .expect("the crates are there")
        .map(|entry| entry.expect("a readable folder").path().join("src/lib.rs"))
        .filter(|file| file.exists())
        .collect();
    for (module, _) in DASHBOARD.iter().filter(|(module, _)| *module != "app") {
        let folder = runtime().join("dashboard/src").join(module);
        let file = folder.join("mod.rs");
        files.push(if file.exists() {
            file
        } else {
            folder.with_extension("rs")
        });
    }
    for file in files {
        let text = fs::read_to_string(&file).expect("a source is text");
        assert!(
            text.contains("//! **Invariant:**"),
            "{} states no invariant",
            file.display()
        );
    }
}
