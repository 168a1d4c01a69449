//! Whether the home can be used by this user, and by no other.

use super::Finding;
use rustix::process::geteuid;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const CHECK: &str = "home";
/// What others than the owner may not do with the home: who writes it can replace the
/// configuration.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The folders that the processes make in the home.
const FOLDERS: &[&str] = &["logs", "cache", "keyvalue"];

pub(super) fn check(home: &Path) -> Vec<Finding> {
    let shown = home.display();
    let found = match fs::metadata(home) {
        Ok(found) if found.is_dir() => found,
        Ok(_) => return vec![Finding::error(CHECK, format!("{shown} is no folder"))],
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let missing = Finding::error(CHECK, format!("{shown} does not exist"));
            return vec![missing.mended_by(format!("mkdir -m 700 {shown}, or `portcullis up`"))];
        }
        Err(error) => {
            return vec![
                Finding::error(CHECK, format!("{shown} cannot be looked at")).because(error),
            ];
        }
    };

    let mut findings = vec![owner(home, &found), mode(home, &found), writable(home)];
    findings.extend(FOLDERS.iter().filter_map(|name| no_folder(home, name)));
    findings
}

/// Complains about what stands in the place of a folder. A folder that is missing is made when it is
/// needed.
fn no_folder(home: &Path, name: &str) -> Option<Finding> {
    let path = home.join(name);
    let found = fs::symlink_metadata(&path).ok()?;
    if found.is_dir() || path.is_dir() {
        return None;
    }
    let shown = path.display();
    Some(
        Finding::error(CHECK, format!("{shown} is no folder"))
            .because("nothing can be written below it")
            .mended_by(format!("mv {shown} {shown}.old: the folder is then made")),
    )
}

fn owner(home: &Path, found: &Metadata) -> Finding {
    let user = geteuid();
    let (owner, shown) = (found.uid(), home.display());
    if owner == user.as_raw() {
        return Finding::ok(CHECK, format!("{shown} belongs to this user ({owner})"));
    }

    let other = format!("{shown} belongs to the user {owner}");
    match user.is_root() {
        true => Finding::warn(CHECK, other)
            .because("root may do what the service may not")
            .mended_by(format!("sudo -u '#{owner}' portcullis doctor")),
        false => Finding::error(CHECK, other)
            .because(format!("this is the user {}", user.as_raw()))
            .mended_by(format!("run it as the user {owner}, or use another --home")),
    }
}

fn mode(home: &Path, found: &Metadata) -> Finding {
    let (mode, shown) = (found.mode() & 0o7777, home.display());
    match mode & WRITABLE_BY_OTHERS {
        0 => Finding::ok(CHECK, format!("{shown} has mode {mode:04o}")),
        _ => Finding::error(CHECK, format!("{shown} has mode {mode:04o}"))
            .because("users other than its owner may replace the configuration and the secrets")
            .mended_by(format!("chmod 700 {shown}")),
    }
}

fn writable(home: &Path) -> Finding {
    let shown = home.display();
    match tempfile::Builder::new()
        .prefix(".doctor-")
        .tempfile_in(home)
    {
        Ok(_) => Finding::ok(CHECK, format!("{shown} can be written")),
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
            Finding::warn(CHECK, format!("{shown} is on a read-only file system"))
                .because("no drain can be begun, and nothing is audited")
        }
        Err(error) => Finding::error(CHECK, format!("{shown} cannot be written")).because(error),
    }
}
