//! Reading a new password, and hashing it as `builtin:basic` checks it.

use super::UsageError;
use anyhow::{Context, Result};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use person_text::MAX_TYPED_PASSWORD_BYTES;
use std::io::{self, IsTerminal, Read};
use zeroize::Zeroizing;

/// Room for the longest password, a byte order mark and a newline.
const MAX_INPUT_BYTES: usize = MAX_TYPED_PASSWORD_BYTES + 16;
/// Some editors and shells write it at the start of UTF-8 text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Asks for a password at a hidden prompt, or reads it from standard input, and hashes it with
/// argon2id: 19 MiB, two passes.
pub(super) fn read_and_hash() -> Result<String> {
    let typed = if io::stdin().is_terminal() {
        ask()?
    } else {
        read(io::stdin().lock())?
    };
    let password =
        person_text::password(&typed).map_err(|error| usage(format!("the password {error}")))?;
    let password = Zeroizing::new(password.into_owned());
    let hash: Result<PasswordHash, _> = Argon2::default().hash_password(password.as_bytes());
    Ok(hash
        .context("the system gives no random numbers")?
        .to_string())
}

/// Twice, since it is not shown while it is typed.
fn ask() -> Result<Zeroizing<String>> {
    let first = Zeroizing::new(rpassword::prompt_password("Password: ")?);
    let second = Zeroizing::new(rpassword::prompt_password("Once more: ")?);
    if *first != *second {
        return Err(usage("the two passwords differ"));
    }
    Ok(first)
}

/// All of the input but for a byte order mark at its start and one newline at its end.
fn read(input: impl Read) -> Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_INPUT_BYTES + 1));
    input
        .take(MAX_INPUT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .context("cannot read the password from standard input")?;
    if bytes.len() > MAX_INPUT_BYTES {
        return Err(usage("the password on standard input is too long"));
    }

    let text = std::str::from_utf8(&bytes)
        .map_err(|_| usage("the password on standard input is not UTF-8 text"))?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let text = text
        .strip_suffix('\n')
        .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.contains(['\r', '\n']) {
        return Err(usage(
            "the password on standard input has more than one line, which no password field can send",
        ));
    }

    Ok(Zeroizing::new(text.to_owned()))
}

fn usage(why: impl Into<String>) -> anyhow::Error {
    UsageError(why.into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_mark_and_one_newline_are_no_part_of_a_password() {
        for (input, password) in [
            ("lovelace\n", "lovelace"),
            ("lovelace\r\n", "lovelace"),
            ("lovelace", "lovelace"),
            ("\u{feff}lovelace\n", "lovelace"),
            (" love lace \n", " love lace "),
            ("", ""),
        ] {
            assert_eq!(
                read(input.as_bytes()).unwrap().as_str(),
                password,
                "{input:?}"
            );
        }
    }

    #[test]
    fn input_that_no_one_can_type_is_refused() {
        for input in [
            "love\nlace",
            "lovelace\n\n",
            "lovelace\r",
            &"x".repeat(MAX_INPUT_BYTES + 1),
        ] {
            assert!(
                read(input.as_bytes()).unwrap_err().is::<UsageError>(),
                "{input:?}"
            );
        }
        assert!(read(&b"lovelace\xff\n"[..]).is_err());
    }
}
