//! `portcullis provider hash-password`: what `builtin:basic` wants as a user's `password_hash`.

use anyhow::{Context, Result, bail};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use zeroize::Zeroizing;

pub(super) fn run() -> Result<ExitCode> {
    let password = if io::stdin().is_terminal() { ask()? } else { read()? };
    if password.is_empty() {
        bail!("the password is empty");
    }
    let hash: Result<PasswordHash, _> = Argon2::default().hash_password(password.as_bytes());
    out!("{}", hash.context("the system gives no random numbers")?);
    Ok(ExitCode::SUCCESS)
}

/// Twice, since nobody sees what is typed.
fn ask() -> Result<Zeroizing<String>> {
    let first = Zeroizing::new(rpassword::prompt_password("Password: ")?);
    let second = Zeroizing::new(rpassword::prompt_password("Once more: ")?);
    if *first != *second {
        bail!("the two passwords differ");
    }
    Ok(first)
}

/// The first line: `echo` ends it with a newline, which is no part of a password.
fn read() -> Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    io::stdin().read_line(&mut line).context("cannot read the password from standard input")?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
