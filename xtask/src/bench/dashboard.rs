//! The dashboard as it is measured: the release binary with everything on, over a home of its own.

use super::server::{Server, workspace};
use anyhow::Context;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What the providers here know.
pub(super) const TOKEN: &str = "c2FuZGJveGVkLWFuZC1mYXN0LTAxMjM0NTY3ODk";
/// What opens the drain route.
pub(super) const DRAIN_SECRET: &str =
    "0f8fad5bd9cb469fa16570867728950e7c9e66794c1a4b6f93d2f5a8c0b1e3d7";

pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// A home with `providers` entries of one provider, of which the last knows the token. `more` is
/// among the settings of each.
pub(super) fn home(component: &Path, providers: usize, more: &str) -> anyhow::Result<TempDir> {
    let home = empty_home()?;
    fs::copy(component, home.path().join("provider.wasm"))
        .with_context(|| component.display().to_string())?;
    configure(home.path(), providers, more, |_| "provider.wasm".to_owned())?;
    Ok(home)
}

/// The same with a component for each, whose bytes are no other's: each is compiled, kept and
/// loaded by itself.
pub(super) fn home_of_different(component: &Path, providers: usize) -> anyhow::Result<TempDir> {
    let home = empty_home()?;
    let component = fs::read(component).with_context(|| component.display().to_string())?;
    let file = |number| format!("provider-{number}.wasm");
    for number in 1..=providers {
        fs::write(
            home.path().join(file(number)),
            [&*component, &custom_section(number)].concat(),
        )?;
    }
    configure(home.path(), providers, "", file)?;
    Ok(home)
}

/// A custom section with a name of four bytes and no content.
fn custom_section(number: usize) -> Vec<u8> {
    let name = format!("{number:04}");
    [&[0, 5, 4], name.as_bytes()].concat()
}

fn empty_home() -> anyhow::Result<TempDir> {
    let home = tempfile::tempdir()?;
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700))?;
    Ok(home)
}

fn configure(
    home: &Path,
    providers: usize,
    more: &str,
    component: impl Fn(usize) -> String,
) -> anyhow::Result<()> {
    let mut config = String::from("dashboard:\n  port: 0\n  providers:\n");
    for number in 1..=providers {
        let token = if number == providers {
            TOKEN
        } else {
            "another"
        };
        let component = component(number);
        writeln!(
            config,
            "    - {{name: p{number}, component: {component}, config: {{token: {token}}}{more}}}"
        )?;
    }

    Ok(fs::write(home.join("portcullis.yaml"), config)?)
}

/// Where `cargo build --release` puts it.
pub(super) fn binary() -> PathBuf {
    workspace("target/release/portcullis")
}

/// `portcullis serve`, quiet.
pub(super) fn command(home: &Path) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("--home")
        .arg(home)
        .arg("serve")
        .env("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET);
    command.stderr(Stdio::null());
    command
}

pub(super) fn start(home: TempDir) -> anyhow::Result<Server> {
    Server::start(&mut command(home.path()), Some(home))
}
