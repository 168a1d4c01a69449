//! `provider link`: the same component with fewer core modules, in a file that is loaded as it is.

use super::UsageError;
use anyhow::{Context, Result};
use clap::Args;
use portcullis_module_linker::{NotLinked, link, modules};
use portcullis_sandbox::ComponentSource;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a tool gives a file that it makes, before the umask.
const MODE: u32 = 0o666;

#[derive(Debug, Args)]
pub(super) struct LinkArgs {
    /// A .wasm file
    component: PathBuf,
    /// File for the linked component. It is replaced whole, or not at all
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Writes the linked component; a copy, where there is nothing to link.
pub(super) fn link_modules(arguments: &LinkArgs) -> Result<ExitCode> {
    let LinkArgs { component, output } = arguments;
    if is_same_file(component, output) {
        let same = format!(
            "{} would be overwritten: name another file with --output",
            component.display()
        );
        return Err(UsageError(same).into());
    }
    let bytes = ComponentSource::File(component.clone()).read()?;
    let linked = match link(&bytes) {
        Ok(linked) => Some(linked),
        Err(NotLinked::OneModule) => None,
        Err(why) => return Err(refusal(component, &why)),
    };
    write(output, linked.as_deref().unwrap_or(&bytes))?;

    let (before, made) = (described(&bytes)?, output.display());
    match &linked {
        Some(linked) => {
            out!(
                "Linked {} ({before}) into {made} ({})",
                component.display(),
                described(linked)?
            );
        }
        None => out!(
            "There is nothing to link in {} ({before}): {made} is a copy",
            component.display()
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn refusal(component: &Path, why: &NotLinked) -> anyhow::Error {
    let component = component.display();
    match why {
        NotLinked::NotAComponent | NotLinked::Invalid(_) => anyhow::anyhow!("{component}: {why}"),
        _ => anyhow::anyhow!(
            "{component} cannot be linked: {why}. Use it as it is: the dashboard loads it"
        ),
    }
}

/// Modules and size, in words.
fn described(component: &[u8]) -> Result<String> {
    let modules = modules(component)?;
    let noun = if modules == 1 { "module" } else { "modules" };
    Ok(format!("{modules} {noun}, {} bytes", component.len()))
}

/// Returns whether both paths lead to one file.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path| fs::canonicalize(path).ok();
    real(one).is_some_and(|path| Some(path) == real(other))
}

/// Replaces a file whole. Unlike the files of the home, others may read it.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    // A rename would put the file in the place of a link or a device.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(UsageError(format!("{} is not a file", path.display())).into());
    }

    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || {
        let permissions = Permissions::from_mode(MODE);
        let mut file = tempfile::Builder::new()
            .permissions(permissions)
            .tempfile_in(folder)?;
        file.write_all(content)?;
        file.persist(path).map_err(|refused| refused.error)?;
        Ok::<_, std::io::Error>(())
    };

    write().with_context(|| format!("cannot write {}", path.display()))
}
