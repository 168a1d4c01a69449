//! `portcullis user`: the users of `builtin:basic` in the file that the setting `users_file` names.

use super::{OutputFormat, UsageError, new_password, table};
use anyhow::Result;
use clap::{Args, Subcommand};
use person_text::{TextError, check_identifier, shown, user_name};
use portcullis_dashboard::users_file::{self, UserEntry, UsersFileError};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user, with a password from a hidden prompt or from standard input
    Add(AddArgs),
    /// Change a user's password, from a hidden prompt or from standard input. Ends the user's
    /// sessions
    Passwd(UserArgs),
    /// Remove a user. Ends the user's sessions
    Remove(UserArgs),
    /// List the users, without their password hashes
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(super) struct UserArgs {
    /// The user name
    name: String,
    /// Users file, YAML or JSON
    #[arg(long, value_name = "PATH")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    #[command(flatten)]
    user: UserArgs,
    /// Identifier of the user for other programs, which stays when the user name changes [default:
    /// the user name]
    #[arg(long)]
    user_id: Option<String>,
    /// E-mail address of the user
    #[arg(long)]
    email: Option<String>,
    /// Name of the user as shown to people
    #[arg(long)]
    display_name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Users file, YAML or JSON
    #[arg(long, value_name = "PATH")]
    file: PathBuf,
    /// Format of the list
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

pub(super) fn run(command: UserCommand) -> Result<ExitCode> {
    match command {
        UserCommand::Add(arguments) => add(&arguments),
        UserCommand::Passwd(arguments) => passwd(&arguments),
        UserCommand::Remove(arguments) => remove(&arguments),
        UserCommand::List(arguments) => list(&arguments),
    }
}

fn add(arguments: &AddArgs) -> Result<ExitCode> {
    let AddArgs {
        user,
        user_id,
        email,
        display_name,
    } = arguments;
    let name = name_of(user)?;
    for (flag, text) in [("--user-id", user_id), ("--email", email)] {
        if let Some(text) = text {
            check_identifier(text).map_err(|error| wrong(flag, error))?;
        }
    }

    let display_name = display_name.as_deref().map(shown);
    let mut entry = UserEntry::new();
    entry.insert("username".to_owned(), name.clone().into());

    for (key, text) in [
        ("user_id", user_id),
        ("email", email),
        ("display_name", &display_name),
    ] {
        if let Some(text) = text {
            entry.insert(key.to_owned(), text.clone().into());
        }
    }

    // Before the password is asked for. The change itself checks it again.
    users_file::check_unknown(&user.file, &entry).map_err(failure)?;
    entry.insert(
        "password_hash".to_owned(),
        new_password::read_and_hash()?.into(),
    );
    users_file::add(&user.file, entry).map_err(failure)?;
    out!("added {name}");

    Ok(ExitCode::SUCCESS)
}

fn passwd(arguments: &UserArgs) -> Result<ExitCode> {
    let name = name_of(arguments)?;
    // Before the password is asked for. The change itself checks it again.
    users_file::find(&arguments.file, &name).map_err(failure)?;
    let hash = new_password::read_and_hash()?;
    users_file::set_password_hash(&arguments.file, &name, hash).map_err(failure)?;
    out!("changed the password of {name}");
    Ok(ExitCode::SUCCESS)
}

fn remove(arguments: &UserArgs) -> Result<ExitCode> {
    let name = name_of(arguments)?;
    users_file::remove(&arguments.file, &name).map_err(failure)?;
    out!("removed {name}");
    Ok(ExitCode::SUCCESS)
}

const SHOWN: [&str; 4] = ["username", "user_id", "email", "display_name"];

fn list(arguments: &ListArgs) -> Result<ExitCode> {
    let entries = read(&arguments.file)?;
    match arguments.format {
        OutputFormat::Json => {
            let user = |entry: &UserEntry| -> Value {
                let known = SHOWN
                    .into_iter()
                    .filter_map(|key| Some((key.to_owned(), entry.get(key)?.clone())));
                Value::Object(known.collect())
            };
            let users: Vec<Value> = entries.iter().map(user).collect();
            out!("{}", Value::Array(users));
        }
        OutputFormat::Text => {
            let header = SHOWN
                .map(|key| key.replace('_', " ").to_uppercase())
                .to_vec();
            let row = |entry: &UserEntry| {
                SHOWN
                    .map(|key| cell(users_file::text_of(entry, key)))
                    .to_vec()
            };
            let rows: Vec<Vec<String>> = [header]
                .into_iter()
                .chain(entries.iter().map(row))
                .collect();
            out!("{}", table::render(&rows));
        }
    }

    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<Vec<UserEntry>> {
    users_file::read(file).map_err(failure)
}

/// The file may be made by hand, so nothing of it reaches the terminal unchecked.
fn cell(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        shown(text)
    }
}

fn name_of(arguments: &UserArgs) -> Result<String> {
    Ok(user_name(&arguments.name)
        .map_err(|error| wrong("the user name", error))?
        .into_owned())
}

fn wrong(what: &str, error: TextError) -> anyhow::Error {
    UsageError(format!("{what} {error}")).into()
}

fn failure(error: UsersFileError) -> anyhow::Error {
    if error.is_usage() {
        UsageError(error.to_string()).into()
    } else {
        error.into()
    }
}
