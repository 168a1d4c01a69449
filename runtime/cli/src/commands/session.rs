//! `portcullis session`: the sessions of people, by way of the home. The dashboard need not run.

use super::{Common, UsageError, table};
use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args, Subcommand};
use portcullis_auth::{KnownSession, SessionId, Whose, time_of};
use portcullis_dashboard::app::{read_ended_people, read_session_list, record_ended_people};
use portcullis_dashboard::audit::{AuditLog, EventName, Record};
use portcullis_dashboard::config::Environment;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// The principal that the audit log names for ended sessions.
const PRINCIPAL: &str = "command-line";

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// List the sessions of people
    List(ListArgs),
    /// End sessions: one, those of a person, those of a provider, or all. A running dashboard acts
    /// within 2 seconds
    End(EndArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whose").required(true).multiple(true).args(["id", "user", "provider", "all"])))]
pub(super) struct EndArgs {
    /// Session id, as `session list` prints it
    #[arg(value_name = "ID", conflicts_with_all = ["user", "provider", "all"])]
    id: Option<String>,
    /// End the sessions of this person: the user id that `session list` prints
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// End the sessions that this provider opened; with --user, those of that person alone
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// End the sessions of everyone
    #[arg(long, conflicts_with_all = ["user", "provider"])]
    all: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, command: &SessionCommand) -> Result<ExitCode> {
    let home = common.home(&Environment::read())?;
    match command {
        SessionCommand::List(arguments) => list(&home, arguments),
        SessionCommand::End(arguments) => end(common, &home, arguments),
    }
}

fn list(home: &Path, arguments: &ListArgs) -> Result<ExitCode> {
    let Some(list) = read_session_list(home).context("cannot read the list of sessions")? else {
        bail!(
            "no list of sessions in {}: no dashboard that people sign in to has run there",
            home.display()
        );
    };
    let sessions = still_open(home, list.sessions)?;
    let (since, written_at) = (time_of(list.since), time_of(list.written_at));
    if arguments.json {
        let sessions: Vec<_> = sessions.iter().map(KnownSession::to_json).collect();
        out!(
            "{}",
            json!({"sessions": sessions, "since": since, "written_at": written_at})
        );
        return Ok(ExitCode::SUCCESS);
    }

    let heading = [
        "ID",
        "PROVIDER",
        "USER",
        "EMAIL",
        "SINCE",
        "LAST SEEN",
        "ADDRESS",
        "USER AGENT",
    ];

    let rows: Vec<_> = std::iter::once(heading.map(str::to_owned).to_vec())
        .chain(sessions.iter().map(row))
        .collect();
    out!("{}", table::render(&rows));
    let age = now().saturating_sub(list.written_at);
    let since = since.map_or_else(|| "an unknown time".to_owned(), |since| since.to_string());
    tell!("The list is {age} s old. A session that made no request after {since} is not on it.");

    Ok(ExitCode::SUCCESS)
}

/// Leaves out what was ended after the list was written.
fn still_open(home: &Path, sessions: Vec<KnownSession>) -> Result<Vec<KnownSession>> {
    let ended = read_ended_people(home).context("cannot read whose sessions were ended")?;
    Ok(sessions
        .into_iter()
        .filter(|known| !ended.end(&known.facts()))
        .collect())
}

fn row(known: &KnownSession) -> Vec<String> {
    let shown = |seconds| time_of(seconds).map_or_else(|| "-".to_owned(), |time| time.to_string());
    let or_dash = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.to_owned()
        }
    };

    vec![
        known.id.as_str().to_owned(),
        known.provider.clone(),
        known.user_id.clone(),
        or_dash(&known.email),
        shown(known.since),
        shown(known.last_seen),
        or_dash(known.address.as_deref().unwrap_or_default()),
        or_dash(known.user_agent.as_deref().unwrap_or_default()),
    ]
}

/// Seconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn end(common: &Common, home: &Path, arguments: &EndArgs) -> Result<ExitCode> {
    let whose = whose(arguments)?;
    let listed = read_session_list(home).context("cannot read the list of sessions")?;
    let listed = still_open(home, listed.map(|list| list.sessions).unwrap_or_default())?;
    let over: Vec<_> = listed
        .iter()
        .filter(|known| whose.includes(&known.facts()))
        .collect();

    check_user(&whose, &listed)?;
    check_provider(common, &whose, &listed)?;
    // A listed session can have been opened while the clock was ahead.
    let now = over
        .iter()
        .map(|known| known.since)
        .max()
        .unwrap_or_default()
        .max(now());
    record_ended_people(home, |known| known.next(whose.clone(), now)).with_context(|| {
        format!(
            "cannot write whose sessions are ended in {}",
            home.display()
        )
    })?;

    let record = Record::now(EventName::Logout)
        .with("by", PRINCIPAL)
        .with("provider", whose.provider)
        .with("user_id", whose.user_id)
        .with("session", whose.session.as_ref().map(SessionId::as_str))
        .with("ended", over.len());
    audit(home, record);
    match (arguments.json, over.len()) {
        (true, ended) => out!("{}", json!({"ok": true, "ended": ended})),
        (false, 0) => {
            out!("0 listed sessions ended. A session that is not on the list is over as well.");
        }
        (false, 1) => out!("1 listed session ended"),
        (false, ended) => out!("{ended} listed sessions ended"),
    }
    // The list may have gaps, and its writer may have been killed.
    if whose.session.is_some() && over.is_empty() {
        tell!("No such session is listed. If it is open, it is over as well.");
    }
    Ok(ExitCode::SUCCESS)
}

fn whose(arguments: &EndArgs) -> Result<Whose> {
    let EndArgs {
        id, user, provider, ..
    } = arguments;
    if [user, provider].into_iter().flatten().any(String::is_empty) {
        return Err(UsageError("--user and --provider must have a value".to_owned()).into());
    }

    let session = match id {
        Some(id) => {
            let mistake = || {
                UsageError(format!(
                    "{id:?} is no session: see `portcullis session list`"
                ))
            };
            // As the host writes them: another spelling would name no session.
            Some(SessionId::written(&id.to_ascii_lowercase()).ok_or_else(mistake)?)
        }
        None => None,
    };

    Ok(Whose {
        provider: provider.clone(),
        user_id: user.clone(),
        session,
    })
}

/// Refuses an e-mail address in the place of a user id: it would end no session, and look as if it
/// had.
fn check_user(whose: &Whose, listed: &[KnownSession]) -> Result<(), UsageError> {
    let Some(user) = &whose.user_id else {
        return Ok(());
    };
    if listed.iter().any(|known| known.user_id == *user) {
        return Ok(());
    }

    match listed.iter().find(|known| known.email == *user) {
        Some(known) => Err(UsageError(format!(
            "{user} is an e-mail address: give the user id, as --user {}",
            known.user_id
        ))),
        None => Ok(()),
    }
}

/// Refuses a name that neither the configuration nor a listed session has: it would end no session,
/// and look as if it had.
fn check_provider(
    common: &Common,
    whose: &Whose,
    listed: &[KnownSession],
) -> Result<(), UsageError> {
    let Some(name) = &whose.provider else {
        return Ok(());
    };
    // A provider may have been removed from the configuration before its sessions are.
    if listed.iter().any(|known| known.provider == *name) {
        return Ok(());
    }
    // Sessions must end also while the configuration has a mistake.
    let Ok(config) = common.load() else {
        return Ok(());
    };

    let providers = &config.dashboard.providers;
    match providers.iter().any(|known| known.name.as_str() == name) {
        true => Ok(()),
        false => Err(UsageError(format!(
            "no provider is named `{name}` in the configuration, and no listed session is of it"
        ))),
    }
}

/// The sessions are ended by now: a log that cannot be written does not change that.
fn audit(home: &Path, record: Record) {
    match AuditLog::start(home) {
        Ok(log) => {
            log.write(record);
            log.close();
        }
        Err(error) => tracing::error!(%error, "the end of the sessions is not in the audit log"),
    }
}
